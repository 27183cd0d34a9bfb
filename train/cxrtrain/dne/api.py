"""A black box behind an HTTP address.

    GET  URL   → JSON {"name": …, "width": …, "side": …}      who answers; side null: any
    POST URL   .npy float32 (n, side, side), values 0 to 1    → .npy floating point (n, width)

docs/studies/dne_black_box.md has a server of 20 lines; `python -m cxrtrain.dne.serve RUN` is another. What is answered is
kept (`answers`), so whatever ends the work, the same command pays for nothing twice.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from cxrdata.errors import CxrError
from cxrdata.images.download import RETRIED, http_errors, told
from cxrtrain.dne.address import Address, address_of, refuse_third_parties
from cxrtrain.dne.answers import Remembered
from cxrtrain.dne.black_box import Counted, Embeddings, Images, checked, unusable

if TYPE_CHECKING:
    import urllib3

TOKEN = "CXRDATA_API_TOKEN"  # noqa: S105 - the name of a variable
NPY = "application/x-npy"
_SPARE = 1 << 16  # bytes that an answer may be longer than its numbers
_SHOWN = 160
_AGAIN = "the same command goes on from what was answered"


@dataclass(frozen=True)
class Manners:
    """How a service is asked. batch: images a request. per_second: requests a second at most. attempts: of a request; pause:
    seconds before the second, doubled after each; timeout: seconds for one; longest_wait: seconds that a service may ask us to
    wait (Retry-After)."""

    batch: int = 64
    per_second: float | None = None
    attempts: int = 6
    pause: float = 1.0
    timeout: float = 60.0
    longest_wait: float = 300.0

    def __post_init__(self) -> None:
        least = min(self.batch, self.attempts) >= 1 and min(self.timeout, self.longest_wait) > 0 and self.pause >= 0
        if not least or (self.per_second is not None and self.per_second <= 0):
            raise CxrError("CXR-502", f"a service cannot be asked with {self}", fix="positive numbers")


def open_api(
    url: str,
    *,
    datasets: Iterable[str],
    journal: Path,
    budget: int | None = None,
    manners: Manners | None = None,
    overlays: Path | None = None,
) -> Remembered:
    """The black box at `url`: its answers kept and its queries counted in the folder `journal`. datasets: those whose images it
    will be asked about.

    Raises CxrError: CXR-169 the terms of a dataset forbid it, before anything is sent; CXR-165 … CXR-167; CXR-502 the address.
    """
    address = address_of(url)
    refuse_third_parties(address, datasets, overlays)
    manners = manners or Manners()
    box = Service(address, manners, token=os.environ.get(TOKEN) or None)
    counted = Counted(box, budget=budget, journal=journal / "queries.json")
    return Remembered(counted, journal / "answers", batch=manners.batch)


class Service:
    """The service at an address. name, width and side are what it says of itself."""

    def __init__(
        self,
        address: Address,
        manners: Manners,
        *,
        token: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if token and not re.fullmatch(r"[!-~]+", token):  # not shown
            raise CxrError(
                "CXR-502", f"${TOKEN} holds no token", fix="printable ASCII characters without blanks or line ends"
            )
        if token and address.scheme == "http" and not address.is_local:
            problem = f"${TOKEN} would cross the network readable for everyone"
            raise CxrError("CXR-502", problem, where=address.origin, fix="an https:// address")
        self._address, self._manners, self._token = address, manners, token
        self._sleep, self._clock = sleep, clock
        self._pools = address.pools()
        self._next = clock()
        self.name, self.width, self.side = self._about()

    def __call__(self, images: Images, /) -> Embeddings:
        """Raises CxrError: CXR-165 it does not answer, CXR-166 it refuses, CXR-167 the answer is no such embeddings, CXR-502
        images of another side than it takes."""
        if self.side is not None and images.shape[1:] != (self.side, self.side):
            problem = (
                f"images of {images.shape[2]} x {images.shape[1]} pixels, and {self.name} takes {self.side} a side"
            )
            fix = f"an image store of that size: cxrdata images build --size {self.side}"
            raise CxrError("CXR-502", problem, where=self._address.url, fix=fix)
        step = self._manners.batch
        made = [self._embedded(images[start : start + step]) for start in range(0, len(images), step)]
        return np.concatenate(made) if made else np.empty((0, self.width), dtype=np.float32)

    def _embedded(self, images: Images) -> Embeddings:
        answer = self._ask("POST", npy_of(images), most=len(images) * self.width * 8 + _SPARE)
        where = self._address.url
        array = array_of(answer)
        if array is None:
            wanted = f"the bytes of an .npy file of shape ({len(images)}, {self.width})"
            raise unusable(self.name, "no .npy file", wanted, where)
        return checked(array, len(images), self.width, self.name, where=where)

    def _about(self) -> tuple[str, int, int | None]:
        answer = self._ask("GET", None, most=_SPARE)
        try:
            said = json.loads(answer)
            name, width, side = said["name"], said["width"], said.get("side")
            fits = isinstance(name, str) and _is_count(width) and (side is None or _is_count(side))
        except (ValueError, KeyError, TypeError, AttributeError):
            fits = False
        if not fits:
            wanted = 'JSON such as {"name": "my backbone", "width": 768, "side": 224}'
            raise unusable("GET", "not who answers", wanted, self._address.url)
        return self._shown(name) or self._address.origin, width, side

    def _ask(self, method: str, body: bytes | None, *, most: int) -> bytes:
        """The body of a good answer, after as many attempts as it takes."""
        problem = ""
        for attempt in range(self._manners.attempts):
            if attempt:
                self._sleep(self._manners.pause * 2 ** (attempt - 1) * random.uniform(0.75, 1.25))  # noqa: S311
            self._take_turn()
            try:
                return self._attempt(method, body, most)
            except _Later as later:
                problem = later.problem
                if later.wait > self._manners.longest_wait:
                    problem += f" and asks to wait for {later.wait:,.0f} s"
                    break
                if attempt + 1 < self._manners.attempts:
                    self._sleep(later.wait)
            except http_errors() as error:
                problem = told(error)
        fix = f"see whether the service runs and is well; {_AGAIN}"
        raise CxrError("CXR-165", f"the black box gives no answer: {problem}", where=self._address.url, fix=fix)

    def _take_turn(self) -> None:
        """Wait until the next request may be sent."""
        if self._manners.per_second is None:
            return
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + 1 / self._manners.per_second

    def _attempt(self, method: str, body: bytes | None, most: int) -> bytes:
        answer = self._send(method, body)
        try:
            if answer.status in RETRIED or answer.status >= 500:
                raise _Later(f"it answers {answer.status}", _wait(answer.headers.get("Retry-After", "")))
            if answer.status != 200:
                raise self._refused(answer)
            return self._read(answer, most)
        finally:
            answer.close()

    def _send(self, method: str, body: bytes | None) -> urllib3.BaseHTTPResponse:
        """To the first of its numbers that takes the connection."""
        import urllib3

        headers = {"Accept-Encoding": "identity", "User-Agent": "cxrdata", "Host": self._address.host_header}
        if body is not None:
            headers |= {"Content-Type": NPY, "Accept": NPY}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        for pool in self._pools:
            # One of a single host is given the path alone: nothing in an address can lead it elsewhere.
            target = self._address.path if self._address.is_local else self._address.url
            try:
                return pool.request(
                    method, target, body=body, headers=headers, redirect=False, retries=False, preload_content=False,
                    timeout=self._manners.timeout, decode_content=False,
                )  # fmt: skip
            except urllib3.exceptions.NewConnectionError:
                if pool is self._pools[-1]:
                    raise
        raise AssertionError

    def _read(self, answer: urllib3.BaseHTTPResponse, most: int) -> bytes:
        """The body, if it is no longer than `most` bytes and comes in time."""
        end = self._clock() + self._manners.timeout
        parts, size = [], 0
        # What is there now, not so many bytes: they might come one by one.
        while part := answer.read1(1 << 16, decode_content=False):
            parts.append(part)
            size += len(part)
            if size > most:
                wanted = f"{self.width} numbers an image" if hasattr(self, "width") else "a line of JSON"
                raise unusable("the service", f"longer than {most:,} bytes", wanted, self._address.url)
            if self._clock() > end:
                raise TimeoutError
        said = answer.headers.get("Content-Length", "")
        if said.isdigit() and size < int(said):  # read1 ends quietly when the connection does
            raise ConnectionError
        return b"".join(parts)

    def _refused(self, answer: urllib3.BaseHTTPResponse) -> CxrError:
        """CXR-166, with what the service says, but never the token."""
        where = self._address.url
        if 300 <= answer.status < 400:
            other = self._shown(_host(answer.headers.get("Location", "")))
            problem = f"the black box answers {answer.status} and points to {other}, which is not followed"
            return CxrError("CXR-166", problem, where=where, fix="name the address that answers itself with --api")
        said = self._shown(self._read(answer, _SPARE * 16).decode("utf-8", "replace"))
        fix = f"see what the service wants; {_AGAIN}"
        if answer.status in {401, 403}:
            state = "set, and refused" if self._token else "not set"
            fix = f"put the service's token into ${TOKEN} (it is {state}); {_AGAIN}"
        elif answer.status == 413:
            fix = f"fewer images a request than {self._manners.batch}; {_AGAIN}"
        problem = f"the black box refuses: {answer.status}" + (f", {said}" if said else "")
        return CxrError("CXR-166", problem, where=where, fix=fix)

    def _shown(self, text: str) -> str:
        """What a server said, as it can be shown: one short line without control characters, the marks of HTML, or the token."""
        text = text.replace(self._token, f"${TOKEN}") if self._token else text
        text = re.sub(r"<[^>]*>", " ", text)
        text = " ".join("".join(one if one.isprintable() else " " for one in text).split())
        return text[:_SHOWN] + ("…" if len(text) > _SHOWN else "")


def npy_of(array: NDArray[np.float32]) -> bytes:
    """The bytes of an .npy file."""
    body = io.BytesIO()
    np.save(body, np.ascontiguousarray(array, dtype="<f4"), allow_pickle=False)
    return body.getvalue()


def array_of(said: bytes) -> NDArray[Any] | None:
    """The array that the bytes of an .npy file hold; None where they are no such file, or hold what could run."""
    try:
        found = np.load(io.BytesIO(said), allow_pickle=False)
    except Exception:  # noqa: BLE001 - a stranger's bytes: numpy raises ValueError, EOFError, TokenError, MemoryError and others
        return None
    return found if isinstance(found, np.ndarray) else None


class _Later(Exception):  # noqa: N818
    """An answer that asks to try again. wait: seconds, 0 where it does not say."""

    def __init__(self, problem: str, wait: float) -> None:
        super().__init__(problem)
        self.problem, self.wait = problem, wait


def _wait(said: str) -> float:
    """Seconds of a Retry-After: a number, or a date."""
    if re.fullmatch(r"\d{1,9}", said.strip()):
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _host(url: str) -> str:
    """The host that an address names, and nothing else of it: the rest may be a secret."""
    try:
        return urlsplit(url).hostname or "itself"
    except ValueError:
        return "no address"
