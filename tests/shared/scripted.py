"""A backend that does what a test says, over real sockets with CURVE."""

import threading
from collections.abc import Callable
from typing import Any

import zmq
from zmq.utils import z85

from shared.assets import Asset
from shared.jobs import Generation, JobState, new_job_id
from shared.messages import Jobs, Message, decode, encode
from shared.pairing import Pairing

Script = Callable[[Message], Message | None]
JOB, BOOT = new_job_id(), new_job_id()
DEADLINE = 120.0
"""Seconds after which something that is waited for will not come."""


def state(name: str = "queued", number: int = 1, job: str = JOB, results: tuple[Asset, ...] = ()) -> JobState:
    return JobState(
        job, number, job, name, 0, Generation("a mug"), (), 1.0, None, None, None, None, results, acknowledged=False
    )


class Backend:
    """A ROUTER in a thread that answers by `script`; None is silence. heard: all that was asked."""

    def __init__(self, port: int = 0) -> None:
        self.script: Script = lambda message: Jobs(())
        self.heard: list[Message] = []
        self.before: list[list[bytes]] = []  # frames to send before the next answer
        self._context: zmq.Context[Any] = zmq.Context()
        self._public, self._secret = zmq.curve_keypair()
        self._client_secret = zmq.curve_keypair()[1]
        self._thread: threading.Thread | None = None
        self.port = port

    @property
    def pairing(self) -> Pairing:
        return Pairing("127.0.0.1", self.port, z85.decode(self._public), z85.decode(self._client_secret))

    def start(self) -> None:
        self._stop = threading.Event()
        router = self._context.socket(zmq.ROUTER)
        router.curve_server, router.curve_secretkey = True, self._secret
        router.zap_domain = b"tests"
        router.linger = 0
        if self.port:
            router.bind(f"tcp://127.0.0.1:{self.port}")
        else:
            self.port = router.bind_to_random_port("tcp://127.0.0.1")
        self._thread = threading.Thread(target=self._serve, args=(router,))
        self._thread.start()

    def stop(self) -> None:
        if self._thread:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        self.stop()
        self._context.term()

    def _serve(self, router: Any) -> None:
        while not self._stop.is_set():
            if router.poll(20):
                peer, *frames = router.recv_multipart()
                number, message = decode(frames)
                self.heard.append(message)
                for more in self.before:
                    router.send_multipart([peer, *more])
                self.before = []
                answer = self.script(message)
                if answer:
                    router.send_multipart([peer, *encode(answer, number)])
        router.close()
