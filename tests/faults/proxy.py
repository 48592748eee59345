"""A TCP proxy that misbehaves when told to: cuts, stalls, delays, slices and garbles connections, or refuses them."""

import contextlib
import random
import socket
import struct
import threading
import time

_CHUNK = 1 << 16


class Proxy:
    """Forwards connections to `port`, from `self.port`."""

    def __init__(self, port: int, seed: int) -> None:
        self.target = port
        self.refusing = False
        self.sliced = False
        self.delay = 0.0
        self._draw = random.Random(seed)
        self._flowing = threading.Event()
        self._flowing.set()
        self._garble = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset all connections in the middle of whatever they carry."""
        with self._lock:
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    def garble(self) -> None:
        """Flip a byte of what passes next."""
        self._garble = 1

    def heal(self) -> None:
        """Forward faithfully again."""
        self.refusing, self.sliced, self.delay, self._garble = False, False, 0.0, 0
        self.flow()

    def _accept(self) -> None:
        while True:
            near, _ = self._listening.accept()
            if self.refusing:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                self._flowing.wait()
                if self.delay:
                    time.sleep(self.delay)
                if self._garble:
                    self._garble = 0
                    changed = bytearray(data)
                    changed[self._draw.randrange(len(data))] ^= 0xFF
                    data = bytes(changed)
                self._forward(sink, data)
        with self._lock:
            self._open -= {source, sink}
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _forward(self, sink: socket.socket, data: bytes) -> None:
        if not self.sliced:
            sink.sendall(data)
            return
        for start in range(0, len(data), 1 + len(data) // 20):
            sink.sendall(data[start : start + 1 + len(data) // 20])
            time.sleep(0.001)
