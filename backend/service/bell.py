"""A socket that other threads make readable, so that one loop can wait for them and for the network at once."""

import contextlib
import socket
import threading


class Bell:
    """Rung from any thread, heard by the one that waits for `fileno` to be readable. Rings add up to one."""

    def __init__(self) -> None:
        self._hearing, self._ringing = socket.socketpair()  # not a pipe: Windows waits for sockets only
        self._lock = threading.Lock()
        self._rung = False

    def fileno(self) -> int:
        return self._hearing.fileno()

    def ring(self) -> None:
        """Make it readable. After `close` nothing happens."""
        with self._lock, contextlib.suppress(OSError):
            if not self._rung:
                self._ringing.send(b"\0")
                self._rung = True

    def hush(self) -> None:
        """Make it silent again; what is asked for must be looked at after that."""
        with self._lock:
            if self._rung:
                self._hearing.recv(1)
                self._rung = False

    def close(self) -> None:
        with self._lock:
            self._hearing.close()
            self._ringing.close()
