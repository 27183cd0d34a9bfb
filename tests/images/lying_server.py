"""An HTTP server on this machine that does what real ones do: drops connections, ignores ranges, lies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What a path does with a request: (handler, content, the number of this request, from 1).
Manner = Callable[["Handler", bytes, int], None]


@dataclass
class Site:
    """What is served: content and manner by path; `requests` are noted: path, Range, If-Range."""

    content: dict[str, bytes] = field(default_factory=dict)
    manners: dict[str, Manner] = field(default_factory=dict)
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def asked(self, path: str) -> list[tuple[str | None, str | None]]:
        return [(ranged, tag) for name, ranged, tag in self.requests if name == path]


class Handler(BaseHTTPRequestHandler):
    """Answers by the site's manners; the well-behaved one where none is named."""

    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site = self.site
        with site.lock:
            site.requests.append((self.path, self.headers["Range"], self.headers["If-Range"]))
            number = len(site.asked(self.path))
        content = site.content.get(self.path)
        if content is None:
            self.answer(404, b"no such file")
        else:
            site.manners.get(self.path, honest)(self, content, number)

    def asked_from(self) -> int:
        ranged = self.headers["Range"]
        return int(ranged.removeprefix("bytes=").rstrip("-")) if ranged else 0

    def answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, send: int | None = None
    ) -> None:
        """An answer; `send`: break off after so many bytes of the body."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if send is None else body[:send])
        if send is not None:
            self.wfile.flush()
            self.close_connection = True

    def part(self, content: bytes, *, send: int | None = None, tag: str = '"one"') -> None:
        """What was asked for, as the standard says, or its first bytes."""
        start = self.asked_from()
        if start and start >= len(content):
            self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        elif start and self.headers["If-Range"] in {None, tag}:
            said = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}", "ETag": tag}
            self.answer(206, content[start:], said, send=send)
        else:
            self.answer(200, content, {"ETag": tag}, send=send)

    def log_message(self, *_: object) -> None:
        """Not to the terminal."""


def honest(handler: Handler, content: bytes, _: int) -> None:
    handler.part(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no matter here."""


@contextmanager
def serving() -> Iterator[Site]:
    """A site on a free port, until the end."""
    site = Site()
    server = _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"site": site}))
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
