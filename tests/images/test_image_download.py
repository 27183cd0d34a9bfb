"""A file comes whole or not at all, whatever the server does."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from lying_server import Handler, Manner, Site, serving

from cxrdata.errors import CxrError
from cxrdata.images import download as download_module
from cxrdata.images.download import Download, Manners, Rate, Stopped, Wanted

CONTENT = random.Random(0).randbytes(50_000)
OTHER = random.Random(1).randbytes(50_000)
QUICK = Manners(attempts=4, pause=0.001, timeout=5)
PATH = "/images_001.tar.gz"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as running:
        running.content[PATH] = CONTENT
        yield running


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def wanted(site: Site, **published: object) -> Wanted:
    published = published or {"bytes": len(CONTENT), "md5": md5(CONTENT)}
    return Wanted("images_001.tar.gz", site.url + PATH, **published)  # type: ignore[arg-type]


def get(site: Site, folder: Path, **published: object) -> Path:
    """The file, fetched with little patience."""
    target = folder / "images_001.tar.gz"
    with urllib3.PoolManager() as pool:
        seen = Download(wanted(site, **published), target, pool, QUICK).run()
    assert seen["md5"] == md5(target.read_bytes())
    assert not list(folder.glob("*.part*"))
    return target


def refused(site: Site, folder: Path, **published: object) -> CxrError:
    with pytest.raises(CxrError) as caught:
        get(site, folder, **published)
    assert not (folder / "images_001.tar.gz").exists()
    return caught.value


def _drops(handler: Handler, content: bytes, number: int) -> None:
    handler.part(content, send=9_000 if number < 6 else None)


def _drops_and_ignores_ranges(handler: Handler, content: bytes, number: int) -> None:
    handler.answer(200, content, send=None if number == 3 else 9_000)


def _fails_at_first(handler: Handler, content: bytes, number: int) -> None:
    if number < 3:
        handler.answer(503, b"busy", {"Retry-After": "0"})
    else:
        handler.part(content)


def _says_too_long(handler: Handler, content: bytes, _: int) -> None:
    start = handler.asked_from()
    handler.answer(200, content[start:], {"Content-Length": str(len(content) + 500)}, send=len(content))


def _sends_too_much(handler: Handler, content: bytes, _: int) -> None:
    handler.answer(200, content + b"and more")


def _other_part(handler: Handler, content: bytes, number: int) -> None:
    if number == 1:
        handler.part(content, send=9_000)
    elif number == 2:
        said = {"Content-Range": f"bytes 0-{len(content) - 1}/{len(content)}"}
        handler.answer(206, content, said)
    else:
        handler.part(content)


def _no_content_range(handler: Handler, content: bytes, number: int) -> None:
    handler.part(content, send=9_000) if number == 1 else handler.answer(
        206, content[handler.asked_from() :]
    ) if number == 2 else handler.part(content)


def _lies_about_the_tag(handler: Handler, content: bytes, number: int) -> None:
    """The file changes after the first bytes, under the same ETag."""
    handler.part(OTHER, send=9_000) if number == 1 else handler.part(content)


def _says_all_is_there(handler: Handler, content: bytes, number: int) -> None:
    if number == 1:
        handler.part(content, send=9_000)
    elif number == 2:
        handler.answer(416, b"")
    else:
        handler.part(content)


def _chunked(handler: Handler, content: bytes, _: int) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for start in range(0, len(content), 7_000):
        piece = content[start : start + 7_000]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    handler.wfile.write(b"0\r\n\r\n")


def _elsewhere(handler: Handler, content: bytes, _: int) -> None:
    handler.answer(302, b"", {"Location": "/signed"})


LIES: dict[str, Manner] = {
    "drops the connection five times": _drops,
    "ignores ranges and drops": _drops_and_ignores_ranges,
    "is busy at first": _fails_at_first,
    "says that the file is longer": _says_too_long,
    "sends more than the file": _sends_too_much,
    "sends another part": _other_part,
    "does not say which part": _no_content_range,
    "changes the file under one ETag": _lies_about_the_tag,
    "says that nothing is left": _says_all_is_there,
    "does not say the length": _chunked,
}


@pytest.mark.parametrize("lie", LIES)
def test_the_file_comes_although_the_server(site: Site, tmp_path: Path, lie: str) -> None:
    site.manners[PATH] = LIES[lie]
    assert get(site, tmp_path).read_bytes() == CONTENT


def test_what_came_is_not_asked_for_again(site: Site, tmp_path: Path) -> None:
    site.manners[PATH] = _drops
    get(site, tmp_path)
    assert site.asked(PATH) == [(None, None), *((f"bytes={n * 9_000}-", '"one"') for n in range(1, 6))]


def test_a_redirect_is_followed_anew_each_time(site: Site, tmp_path: Path) -> None:
    """Box redirects to addresses that soon expire."""
    site.manners[PATH] = _elsewhere
    site.content["/signed"] = CONTENT
    site.manners["/signed"] = _drops
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert len(site.asked(PATH)) == len(site.asked("/signed")) == 6


def test_a_later_run_goes_on(site: Site, tmp_path: Path) -> None:
    site.manners[PATH] = lambda handler, content, _: handler.part(content, send=0 if handler.asked_from() else 20_000)
    assert refused(site, tmp_path).code == "CXR-134"
    assert (tmp_path / "images_001.tar.gz.part").stat().st_size == 20_000
    site.requests.clear()
    del site.manners[PATH]
    get(site, tmp_path)
    assert site.asked(PATH) == [("bytes=20000-", '"one"')]


def test_a_file_that_changed_is_fetched_from_its_start(site: Site, tmp_path: Path) -> None:
    site.manners[PATH] = lambda handler, _, number: handler.part(OTHER, send=20_000 if number == 1 else 0, tag='"old"')
    refused(site, tmp_path)
    site.manners[PATH] = lambda handler, content, _: handler.part(content, tag='"new"')
    site.requests.clear()
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.asked(PATH) == [("bytes=20000-", '"old"')]


def test_what_is_not_the_published_file_is_refused(site: Site, tmp_path: Path) -> None:
    site.content[PATH] = OTHER
    error = refused(site, tmp_path)
    assert error.code == "CXR-135"
    assert f"md5 {md5(OTHER)}, published {md5(CONTENT)}" in error.problem
    assert len(site.requests) == 2  # once more, from its start
    assert not list(tmp_path.iterdir())


def test_a_part_from_elsewhere_is_not_believed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "images_001.tar.gz.part").write_bytes(OTHER[:30_000])
    assert get(site, tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_dropped(site: Site, tmp_path: Path) -> None:
    (tmp_path / "images_001.tar.gz.part").write_bytes(CONTENT + b"more")
    assert get(site, tmp_path).read_bytes() == CONTENT


def test_a_file_shorter_than_published_is_refused_at_once(site: Site, tmp_path: Path) -> None:
    site.content[PATH] = CONTENT[:40_000]
    error = refused(site, tmp_path)
    assert (error.code, len(site.requests)) == ("CXR-134", 1)
    assert "40,000 bytes of it, 50,000 are published" in error.problem


@pytest.mark.parametrize(("status", "requests"), [(403, 1), (404, 1), (500, 4), (429, 4)])
def test_errors_that_may_pass_are_waited_for(site: Site, tmp_path: Path, status: int, requests: int) -> None:
    site.manners[PATH] = lambda handler, _, __: handler.answer(status, b"")
    error = refused(site, tmp_path)
    assert (error.code, len(site.requests)) == ("CXR-134", requests)
    assert f"the server answers {status}" in error.problem


def test_a_login_page_is_not_the_file(site: Site, tmp_path: Path) -> None:
    page = b"<!DOCTYPE html><html>Please log in</html>"
    site.manners[PATH] = lambda handler, _, __: handler.answer(200, page, {"Content-Type": "text/html; charset=utf-8"})
    assert "a web page instead of the file, usually that of a login" in refused(site, tmp_path).problem
    site.requests.clear()
    for manner in (None, lambda handler, _, __: handler.answer(200, page + bytes(60_000))):
        site.content[PATH] = page  # not said to be one: an archive whose length or checksum would be wrong
        site.manners.pop(PATH, None)
        if manner:
            site.manners[PATH] = manner
        assert "a web page" in refused(site, tmp_path).problem
    site.manners[PATH] = lambda handler, _, __: handler.answer(200, page, {"Content-Type": "text/csv"})
    error = refused(site, tmp_path, starts_with="Image Index")
    assert (error.code, "it is a web page" in error.problem) == ("CXR-135", True)


def test_without_a_checksum_nothing_is_pieced_together(site: Site, tmp_path: Path) -> None:
    site.manners[PATH] = lambda handler, content, number: handler.part(
        OTHER if number == 1 else content, send=9_000 if number == 1 else None
    )
    assert get(site, tmp_path, starts_with="").read_bytes() == CONTENT
    assert [ranged for ranged, _ in site.asked(PATH)] == [None, None]


def test_a_server_that_never_gives_it_all_is_given_up(site: Site, tmp_path: Path) -> None:
    site.manners[PATH] = lambda handler, content, _: handler.answer(200, content, send=9_000)
    error = refused(site, tmp_path)
    assert error.code == "CXR-134"
    assert len(site.requests) <= 2 * QUICK.attempts


def test_nobody_listening(tmp_path: Path) -> None:
    with serving() as site:
        pass
    error = refused(site, tmp_path)
    assert error.code == "CXR-134"
    assert error.problem.endswith(f"there is no connection to the server: {os.strerror(errno.ECONNREFUSED)}")
    assert "whether this machine has a network" in str(error.fix)


@pytest.mark.parametrize("waits", [1, 8])
def test_a_machine_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: int) -> None:
    asked: list[str] = []

    def unknown(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(CxrError) as error, urllib3.PoolManager() as pool:
        Download(Wanted("a.csv", "https://files.example/a.csv"), tmp_path / "a.csv", pool, Manners(waits, 0.001)).run()
    assert error.value.problem == "a.csv cannot be fetched: there is no connection: the server's name is not found"
    assert len(asked) == min(waits, 3)  # who has never answered is not waited for long


def test_a_server_that_goes_silent(site: Site, tmp_path: Path) -> None:
    site.manners[PATH] = lambda handler, *_: time.sleep(0.2)
    with pytest.raises(CxrError, match="the server has gone silent"), urllib3.PoolManager() as pool:
        Download(wanted(site), tmp_path / "images_001.tar.gz", pool, Manners(2, 0.001, timeout=0.05)).run()


def test_a_stop_keeps_what_came(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "CHUNK", 5_000)
    stop = threading.Event()
    target = tmp_path / "images_001.tar.gz"
    with urllib3.PoolManager() as pool, pytest.raises(Stopped):
        Download(wanted(site), target, pool, QUICK, stop, lambda _: stop.set()).run()
    came = (tmp_path / "images_001.tar.gz.part").read_bytes()
    assert 0 < len(came) < len(CONTENT) and CONTENT.startswith(came)


def test_a_full_disk_is_told(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Download, "_write", full)
    error = refused(site, tmp_path)
    assert (error.code, "No space left" in error.problem) == ("CXR-602", True)


def test_the_rate_is_of_what_came_now() -> None:
    said: list[str] = []
    rate = Rate(4_000_000_000, said.append, already=1_000_000_000)
    rate(1_000_000_000)
    assert said[0].startswith("2.00 of 4.00 GB, ")
    rate(-2_000_000_000)  # given up
    assert said[1].startswith("0.00 of 4.00 GB, 0.0 MB/s")
