"""A black box behind HTTP on this machine that does to requests what it is told to: answers, fails, lies, falls silent."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

SIDE, WIDTH = 8, 3
_WEIGHTS = np.random.default_rng(0).standard_normal((SIDE * SIDE, WIDTH)).astype(np.float32)


def embedded(images: np.ndarray) -> np.ndarray:
    """What the box makes of images: each for itself, the same in any company."""
    return np.stack([np.tanh(image.reshape(-1) @ _WEIGHTS) for image in images]).astype(np.float32)


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, SIDE, SIDE), dtype=np.float32)


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    body = io.BytesIO()
    np.save(body, array, allow_pickle=allow_pickle)
    return body.getvalue()


class Service(ThreadingHTTPServer):
    """faults: what the next POSTs meet, one each, then honest answers. get_faults: the same of GETs. seen: method and headers
    of each request; images: all that were embedded in answers that were sent whole."""

    daemon_threads = True

    def __init__(self) -> None:
        self.about: Any = {"name": "the box", "width": WIDTH, "side": SIDE}
        self.faults: list[Fault] = []
        self.get_faults: list[Fault] = []
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.images: list[bytes] = []
        self.token: str | None = None
        self.quiet = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def posts(self) -> int:
        return sum(method == "POST" for method, _ in self.seen)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Service

    def do_GET(self) -> None:
        self.server.seen.append(("GET", dict(self.headers)))
        if self.server.get_faults:
            self.server.get_faults.pop(0)(self, np.empty(0))
            return
        self.answer(200, json.dumps(self.server.about).encode())

    def do_POST(self) -> None:
        self.server.seen.append(("POST", dict(self.headers)))
        images = np.load(io.BytesIO(self.rfile.read(int(self.headers["Content-Length"]))))
        assert images.dtype == np.float32 and 0 <= images.min() <= images.max() <= 1
        if self.server.token and self.headers["Authorization"] != f"Bearer {self.server.token}":
            self.answer(401, b"who are you?")
        elif self.server.faults:
            self.server.faults.pop(0)(self, images)
        else:
            self.answer(200, npy(embedded(images)))
            self.server.images += [image.tobytes() for image in images]

    def answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, said: int | None = None
    ) -> None:
        """said: the length that is told, of a body that breaks off before."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(said or len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = said is not None

    def log_message(self, *_: object) -> None:
        """Not to the terminal."""


Fault = Callable[[Handler, np.ndarray], None]


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.answer(code, body, named)


def body(make: Callable[[np.ndarray], bytes]) -> Fault:
    """A good answer but for its body."""
    return lambda handler, images: handler.answer(200, make(images))


def honest(handler: Handler, images: np.ndarray) -> None:
    handler.answer(200, npy(embedded(images)))
    handler.server.images += [image.tobytes() for image in images]


def silent(handler: Handler, _: np.ndarray) -> None:
    """No answer until the service ends."""
    handler.server.quiet.wait(20)
    handler.close_connection = True


def dripping(handler: Handler, _: np.ndarray) -> None:
    """A byte now and then, until the service ends or nobody listens."""
    handler.answer(200, b"x", said=100_000)
    with suppress(OSError):
        while not handler.server.quiet.wait(0.02):
            handler.wfile.write(b"x")


def dropped(handler: Handler, _: np.ndarray) -> None:
    """The connection is closed without a word."""
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def cut_short(handler: Handler, images: np.ndarray) -> None:
    whole = npy(embedded(images))
    handler.answer(200, whole[:-5], said=len(whole))


@contextmanager
def running() -> Iterator[Service]:
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield service
        service.quiet.set()
        service.shutdown()
        thread.join()
