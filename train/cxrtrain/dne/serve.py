"""A run's backbone behind HTTP on this machine: `python -m cxrtrain.dne.serve RUN --port 8765`.

It shows the protocol of `api`, and nothing more: it is bound to 127.0.0.1, answers one request at a time and knows no users.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from cxrdata.errors import CxrError, Exit
from cxrtrain.dne.api import NPY, array_of, npy_of
from cxrtrain.dne.black_box import BlackBox, LocalBackbone
from cxrtrain.run_folder import open_run

HERE = "127.0.0.1"
_MOST = 1 << 28  # bytes of a request


class Served(ThreadingHTTPServer):
    """A black box being served. side: of the images it takes."""

    daemon_threads = True

    def __init__(self, box: BlackBox, *, side: int, port: int = 0) -> None:
        self.box, self.side, self.one_at_a_time = box, side, threading.Lock()
        super().__init__((HERE, port), Handler)

    @property
    def url(self) -> str:
        return f"http://{HERE}:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers GET with who it is, POST of an .npy of images with one of embeddings."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = (
        True  # head and body are two writes: the second would wait for the first to be acknowledged
    )
    server: Served

    def do_GET(self) -> None:
        about = {"name": self.server.box.name, "width": self.server.box.width, "side": self.server.side}
        self.answer(200, json.dumps(about).encode(), "application/json")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MOST:
            self.close_connection = True  # what follows was not read
            self.answer(413, b"the request says no length, or is too long", "text/plain")
            return
        images = array_of(self.rfile.read(int(length)))
        problem = self._problem(images)
        if problem:
            self.answer(400, problem.encode(), "text/plain")
            return
        assert images is not None
        with self.server.one_at_a_time:
            made = self.server.box(images.astype(np.float32))
        self.answer(200, npy_of(made), NPY)

    def _problem(self, images: NDArray[Any] | None) -> str:
        side = self.server.side
        if images is None:
            return "the request is no .npy file"
        if images.ndim != 3 or images.shape[1:] != (side, side):
            return f"images must be of shape (n, {side}, {side})"
        if images.dtype.kind != "f" or not (
            np.isfinite(images).all() and 0 <= images.min(initial=0) <= images.max(initial=0) <= 1
        ):
            return "images must be floating-point numbers from 0 to 1"
        return ""

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing of a request is written down."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0: any that is free.")
def main(run: Path, port: int) -> None:
    """Serve the backbone of RUN, a folder of `cxrdata train`, on this machine alone."""
    try:
        box = LocalBackbone.of_run(open_run(run))
        server = Served(box, side=box.side, port=port)
    except (CxrError, OSError) as error:
        fix = "name another with --port"
        told = error if isinstance(error, CxrError) else CxrError("CXR-605", f"port {port}: {error.strerror}", fix=fix)
        click.echo(told.block(), err=True)
        sys.exit(told.exit)
    with server:
        click.echo(f"{box.name} ({box.width} numbers, images of {box.side} pixels a side): {server.url}", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            sys.exit(Exit.INTERRUPTED)


if __name__ == "__main__":
    main()
