"""One file over HTTP from servers as they are: they drop connections, ignore ranges, answer with login pages and lie.

What came is kept in NAME.part, with what the server said of the file in NAME.part.json, and gone on with. Nothing that a
server says is believed in the end: the file takes its name only when its checksum is the published one.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cxrdata.errors import CxrError
from cxrdata.stages import make_private, sync_path
from cxrdata.store.publish import writing

if TYPE_CHECKING:
    import urllib3

CHUNK = 1 << 18
_HEAD = 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_WAIT_AT_MOST = 60.0
RETRIED = {408, 425, 429, 500, 502, 503, 504}
# Attempts to reach a server that has not answered at all: most often this machine has no network.
_UNANSWERED = 3
_LOGIN_PAGE = "the server answers with a web page instead of the file, usually that of a login"
_AGAIN = "run the same command again: it goes on with what has come"
_WEB_PAGE = re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE)


@dataclass(frozen=True)
class Wanted:
    """A file to get. bytes, md5, sha256: as published, or null; seen_first: the sha256 is that of the file that was
    fetched here before, since none is published. starts_with: what its first bytes must be."""

    name: str
    url: str
    bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None
    seen_first: bool = False
    starts_with: str = ""

    @property
    def has_checksum(self) -> bool:
        return self.md5 is not None or self.sha256 is not None


@dataclass(frozen=True)
class Manners:
    """How patient a download is. attempts: in a row without a byte gained; pause: seconds before the second, doubled
    after each; timeout: seconds to connect, and without a byte."""

    attempts: int = 8
    pause: float = 1.0
    timeout: float = 30.0


class Stopped(Exception):  # noqa: N818 - no error: someone asked for it
    """The download was told to stop; what came is kept."""


@dataclass
class Download:
    """One file being fetched to `target`. gained: told how many bytes came, or were given up (negative)."""

    wanted: Wanted
    target: Path
    pool: urllib3.PoolManager
    manners: Manners = Manners()
    stop: threading.Event = field(default_factory=threading.Event)
    gained: Callable[[int], None] = lambda _: None
    _answered: bool = field(default=False, init=False)

    def run(self) -> dict[str, Any]:
        """Get the file, or what is missing of it; {bytes, md5, sha256} of what lies at `target` then.

        Raises CxrError: CXR-134 the server does not give it, CXR-135 it is not the published file (even when fetched
        anew), CXR-602 disk; Stopped.
        """
        with writing(self.target, option="--to"):
            make_private(self.target.parent)
            for anew in (False, True):
                if anew:
                    self._forget()
                self._receive()
                seen = digests(self._part)
                problem = self._not_the_kind() or difference(self.wanted, seen)
                if problem is None:
                    sync_path(self._part)
                    self._part.replace(self.target)
                    self._said.unlink(missing_ok=True)
                    sync_path(self.target.parent)
                    return seen
            self._forget()
        if self.wanted.seen_first:
            raise CxrError(
                "CXR-136",
                f"{self.wanted.name} is not the file that was fetched here before: {problem}",
                where=self.wanted.url,
                fix="if it was published anew, remove its entry from fetched.json and fetch it again",
            )
        raise CxrError(
            "CXR-135",
            f"what the server gives is not the published file, twice: {problem}",
            where=self.wanted.url,
            fix="try later or from another network; if it stays so, the published file has changed: report it",
        )

    @property
    def _part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def _said(self) -> Path:
        return self.target.with_name(self.target.name + ".part.json")

    def _have(self) -> int:
        try:
            return self._part.stat().st_size
        except FileNotFoundError:
            return 0

    def _forget(self) -> None:
        self.gained(-self._have())
        self._part.unlink(missing_ok=True)
        self._said.unlink(missing_ok=True)

    def _receive(self) -> None:
        """Until the part is as long as the file is said to be."""
        failures, last, fix, most = 0, "", _AGAIN, self._have()
        while failures < (self.manners.attempts if self._answered else min(self.manners.attempts, _UNANSWERED)):
            if failures:
                self._sleep(self.manners.pause * 2 ** (failures - 1) * random.uniform(0.75, 1.25))  # noqa: S311
            try:
                if self._request():
                    return
                last = "the connection ended early"
            except _Refused as refusal:
                last = refusal.problem
                if refusal.is_final:
                    break
                self._sleep(refusal.wait)
            except http_errors() as error:
                last = told(error)
                if not self._answered:
                    fix = (
                        f"see whether this machine has a network, and whether it needs a proxy ($https_proxy); {_AGAIN}"
                    )
            # More than ever: a server that ignores ranges and drops every connection must not keep us for ever.
            failures = 0 if self._have() > most else failures + 1
            most = max(most, self._have())
        raise CxrError(
            "CXR-134",
            f"{self.wanted.name} cannot be fetched: {last}",
            where=self.wanted.url,
            fix=fix,
        )

    def _sleep(self, seconds: float) -> None:
        if self.stop.wait(min(seconds, _WAIT_AT_MOST)):
            raise Stopped

    def _request(self) -> bool:
        """One request for what is missing; whether the file is complete now."""
        have = self._have()
        # Without a checksum two halves of different editions would not be noticed.
        if have and (not self.wanted.has_checksum or have > (self.wanted.bytes or have)):
            self._forget()
            have = 0
        if have and have == (self.wanted.bytes or self._remembered().get("bytes")):
            return True
        headers = {"Accept-Encoding": "identity", "User-Agent": "cxrdata"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if tag := self._remembered().get("tag"):
                headers["If-Range"] = tag
        answer = self.pool.request(
            "GET", self.wanted.url, headers=headers, preload_content=False, redirect=True, retries=_redirects(),
            timeout=self.manners.timeout, decode_content=False,
        )  # fmt: skip
        self._answered = True
        try:
            total = self._begin(answer, have)
            self._write(answer)
        finally:
            answer.close()
        have = self._have()
        complete = have == self.wanted.bytes or (total is not None and have == total)
        return complete or (total is None and self.wanted.bytes is None)

    def _begin(self, answer: urllib3.BaseHTTPResponse, have: int) -> int | None:
        """Check the head of an answer, and clear the part away where the answer starts anew; the file's length, if said."""
        if answer.status == 416:
            self._forget()  # longer than the file is now
            raise _Refused("the server has less than what came before")
        if answer.status not in {200, 206}:
            wait = answer.headers.get("Retry-After", "")
            raise _Refused(
                f"the server answers {answer.status}",
                is_final=answer.status not in RETRIED,
                wait=float(wait) if wait.isdigit() else 0.0,
            )
        if "text/html" in answer.headers.get("Content-Type", "").lower():
            raise _Refused(_LOGIN_PAGE, is_final=True)
        length = answer.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        if answer.status == 206:
            match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
            total = int(match[3]) if match and match[3].isdigit() else None
            changed = total is not None and total != self._remembered().get("bytes", total)
            if match is None or int(match[1]) != have or changed:
                self._forget()
                raise _Refused("the server answers with another part than was asked for")
        elif have:
            self._forget()  # the range was ignored, or the file has changed: all of it comes
        if total is not None and self.wanted.bytes is not None and total < self.wanted.bytes:
            if not have and _WEB_PAGE.match(answer.read(_HEAD, decode_content=False)):
                raise _Refused(_LOGIN_PAGE, is_final=True)
            raise _Refused(f"the server has {total:,} bytes of it, {self.wanted.bytes:,} are published", is_final=True)
        tag = answer.headers.get("ETag", "")
        self._said.write_text(
            json.dumps({"bytes": total, "tag": "" if tag.startswith("W/") else tag}), encoding="utf-8"
        )
        return total

    def _write(self, answer: urllib3.BaseHTTPResponse) -> None:
        """What comes to the end of the part; more than the file has is not written."""
        room = self.wanted.bytes - self._have() if self.wanted.bytes is not None else None
        with self._part.open("ab") as part:
            for chunk in answer.stream(CHUNK, decode_content=False):
                piece = chunk if room is None else chunk[:room]
                part.write(piece)
                self.gained(len(piece))
                if room is not None:
                    room -= len(piece)
                    if room <= 0:
                        return
                if self.stop.is_set():
                    raise Stopped

    def _remembered(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            found = json.loads(self._said.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return {name: value for name, value in found.items() if value is not None}
        return {}

    def _not_the_kind(self) -> str | None:
        with self._part.open("rb") as file:
            head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf")
        if _WEB_PAGE.match(head):
            return "it is a web page, usually that of a login"
        begins = head.startswith(self.wanted.starts_with.encode())
        return None if begins else f"it does not begin with {self.wanted.starts_with!r}"


class _Refused(Exception):  # noqa: N818
    """An answer that is not the file. is_final: asking again is no use. wait: seconds that the server asks for."""

    def __init__(self, problem: str, *, is_final: bool = False, wait: float = 0.0) -> None:
        super().__init__(problem)
        self.problem, self.is_final, self.wait = problem, is_final, wait


def http_pool(url: str) -> urllib3.PoolManager:
    """Connections to a server, through the proxy that the environment names. Raises CxrError CXR-604 without urllib3."""
    try:
        import urllib3
    except ImportError as error:
        raise CxrError("CXR-604", "fetching needs urllib3", fix="pip install urllib3") from error
    from urllib.request import getproxies, proxy_bypass

    address = urlsplit(url)
    proxy = getproxies().get(address.scheme)
    if proxy and not proxy_bypass(address.hostname or ""):
        return urllib3.ProxyManager(proxy)
    return urllib3.PoolManager()


def http_errors() -> tuple[type[Exception], ...]:
    import urllib3

    return (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError)


def _redirects() -> urllib3.Retry:
    import urllib3

    return urllib3.Retry(total=None, redirect=10, connect=0, read=0, status=0, other=0)


def told(error: Exception) -> str:
    """What an error of the network means, without the words of the library."""
    from urllib3 import exceptions

    cause: Exception = error
    while isinstance(cause, exceptions.MaxRetryError | exceptions.ProxyError):
        inner = cause.reason if isinstance(cause, exceptions.MaxRetryError) else cause.original_error
        if not isinstance(inner, Exception):
            break
        cause = inner
    system = re.search(r"\[Errno -?\d+\] ([^)\]]+)", str(cause))
    if isinstance(cause, exceptions.NameResolutionError):
        return "there is no connection: the server's name is not found"
    if isinstance(cause, exceptions.NewConnectionError):
        return f"there is no connection to the server{f': {system[1]}' if system else ''}"
    if isinstance(cause, exceptions.ConnectTimeoutError):
        return "there is no connection to the server: it does not answer"
    if isinstance(cause, exceptions.SSLError):
        return "there is no safe connection to the server: its certificate is not accepted"
    if isinstance(cause, exceptions.ReadTimeoutError | TimeoutError):
        return "the server has gone silent"
    return "the connection broke"


def digests(path: Path) -> dict[str, Any]:
    """bytes, md5 and sha256 of a file, read once."""
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            md5.update(chunk)
            sha256.update(chunk)
            size += len(chunk)
    return {"bytes": size, "md5": md5.hexdigest(), "sha256": sha256.hexdigest()}


def difference(wanted: Wanted, seen: dict[str, Any]) -> str | None:
    """How a file differs from what is published, or None."""
    for name, published in (("sha256", wanted.sha256), ("md5", wanted.md5), ("bytes", wanted.bytes)):
        if published is not None and published != seen[name]:
            return f"{name} {seen[name]}, published {published}"
    return None


class Rate:
    """Bytes so far and the rate, in words; fed from several threads. already: bytes there before."""

    def __init__(self, total: int | None, say: Callable[[str], None], already: int = 0) -> None:
        self._total, self._say, self._lock = total, say, threading.Lock()
        self._bytes, self._already, self._begun = already, already, time.monotonic()

    def __call__(self, gained: int) -> None:
        with self._lock:
            self._bytes += gained
            seconds = max(time.monotonic() - self._begun, 1e-3)
            rate = max(self._bytes - self._already, 0) / seconds
            of = f" of {self._total / 1e9:,.2f}" if self._total else ""
            left = ""
            if self._total and rate > 0:
                minutes = int((self._total - self._bytes) / rate / 60)
                left = f", {minutes} min left"
            self._say(f"{self._bytes / 1e9:,.2f}{of} GB, {rate / 1e6:,.1f} MB/s{left}")
