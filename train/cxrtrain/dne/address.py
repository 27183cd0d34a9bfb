"""The address of a black box behind HTTP, and whether it is this machine and nobody else.

What is said of an address is decided once: names are looked up here, and where images may not leave the machine the
connection is made to the very numbers that were looked up, through no proxy. A name that leads elsewhere later leads nowhere.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cxrdata.errors import CxrError
from cxrdata.images.download import http_pool
from cxrdata.licences import kept_from_third_parties

if TYPE_CHECKING:
    import urllib3

_PORTS = {"http": 80, "https": 443}
_STRANGE = re.compile(r"[\x00-\x20\x7f\\]")  # what programs that read addresses disagree about
_FIX = "an address such as http://127.0.0.1:8765 or https://example.org/embed"


@dataclass(frozen=True)
class Address:
    """scheme, host, port and path of a service; `numbers`: the addresses of the host when it was looked up."""

    scheme: str
    host: str
    port: int
    path: str
    numbers: tuple[str, ...]

    @property
    def url(self) -> str:
        return f"{self.origin}{self.path}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host_header}"

    @property
    def host_header(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether each number of the host is of the loopback of this machine (127.0.0.0/8, ::1)."""
        return bool(self.numbers) and all(map(_is_loopback, self.numbers))

    def pools(self) -> list[urllib3.connectionpool.HTTPConnectionPool | urllib3.PoolManager]:
        """Connections to it: one a number where it is local, in which no other host can be asked; else one, through the proxy
        that the environment names."""
        import urllib3

        if not self.is_local:
            return [http_pool(self.url)]
        if self.scheme == "http":
            return [urllib3.HTTPConnectionPool(number, self.port) for number in self.numbers]
        return [
            urllib3.HTTPSConnectionPool(number, self.port, server_hostname=self.host, assert_hostname=self.host)
            for number in self.numbers
        ]


def address_of(url: str) -> Address:
    """An address taken apart and looked up. Raises CxrError: CXR-502 it is none, or says more; CXR-165 no such host."""
    if _STRANGE.search(url):
        raise CxrError(
            "CXR-502", "the address of the black box has blanks, control characters or backslashes", fix=_FIX
        )
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError as error:
        raise CxrError("CXR-502", "this is no address of a service", where=url, fix=_FIX) from error
    if "@" in parts.netloc:  # not shown: it may hold a password
        problem = "the address of the black box names a user; what stands before an @ is not its host"
        raise CxrError("CXR-502", problem, fix="leave it out; a token goes into $CXRDATA_API_TOKEN")
    if parts.query or parts.fragment:
        problem = (
            "the address of the black box has a ? or #; what stands there may be a secret and would be written down"
        )
        raise CxrError("CXR-502", problem, fix="leave it out; a token goes into $CXRDATA_API_TOKEN")
    if parts.scheme not in _PORTS or not host:
        raise CxrError("CXR-502", "this is no address of a service", where=url, fix=_FIX)
    chosen = port if port is not None else _PORTS[parts.scheme]
    return Address(parts.scheme, host, chosen, parts.path.rstrip("/") + "/", _numbers(host, chosen))


def refuse_third_parties(address: Address, datasets: Iterable[str], overlays: Path | None = None) -> None:
    """Raises CxrError CXR-169 where the terms of a dataset forbid sending its images there. overlays: a user's folder with
    `catalog/` entries of further datasets."""
    if address.is_local:
        return
    if kept := kept_from_third_parties(datasets, overlays):
        names = "; ".join(f"{name} ({licence})" for name, licence in kept.items())
        raise CxrError(
            "CXR-169",
            f"the terms do not allow sending images to third parties: {names}",
            where=f"{address.origin}, which is {', '.join(address.numbers)}",
            fix="serve the black box on this machine: --api http://127.0.0.1:PORT",
        )


def _numbers(host: str, port: int) -> tuple[str, ...]:
    """The host's addresses, in the order in which the system would try them."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        fix = "see whether the address is right, and whether this machine has a network"
        raise CxrError("CXR-165", f"the host {host!r} is not found", fix=fix) from error
    return tuple(dict.fromkeys(str(one[4][0]) for one in found))


def _is_loopback(number: str) -> bool:
    try:
        address = ipaddress.ip_address(number)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
