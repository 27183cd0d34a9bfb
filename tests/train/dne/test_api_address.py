"""Where images may be sent at all: what the terms of datasets allow, and what an address leads to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import urllib3
from faulty_service import Service, embedded, pictures, running

from cxrdata.errors import CxrError
from cxrdata.licences import kept_from_third_parties
from cxrdata.resources import data_folder
from cxrtrain.dne import api
from cxrtrain.dne.address import Address, address_of, refuse_third_parties
from cxrtrain.dne.api import TOKEN, Manners, open_api

KEPT = "chexpert"  # a dataset whose terms keep images on this machine
QUICK = Manners(batch=4, pause=0.0, timeout=0.3, attempts=3)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    for name in (TOKEN, "http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with running() as served:
        yield served


def test_every_dataset_says_whether_third_parties_may_have_it() -> None:
    datasets = sorted(path.stem for path in data_folder("catalog").glob("*.toml"))
    kept = kept_from_third_parties(datasets)
    assert sorted(kept) == ["chexpert", "mimic_cxr", "padchest", "vindr_cxr", "vindr_pcxr"] and "nih_cxr14" in datasets
    assert kept["mimic_cxr"] == "PhysioNet Credentialed Health Data License 1.5.0"
    assert kept_from_third_parties(["our_own"]) == {"our_own": "no licence is known"}


def test_a_dataset_of_an_overlay_says_so_itself(tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    for name, may in (("open", "true"), ("closed", "false"), ("silent", None)):
        text = f'name = "{name}"\n[licence]\nname = "L"\n' + (f"third_parties = {may}\n" if may else "")
        (tmp_path / "catalog" / f"{name}.toml").write_text(text)
    assert kept_from_third_parties(["open", "closed", "silent"], tmp_path) == {"closed": "L", "silent": "L"}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What names lead to, by name; a number leads to itself; no other name is known, and none is ever really looked up."""
    found: dict[str, list[str]] = {"localhost": ["::1", "127.0.0.1"], "evil.test": ["192.0.2.1"]}

    def look_up(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host not in found and not host.replace(".", "").isdigit() and ":" not in host:
            raise socket.gaierror(-2, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in found.get(host, [host])
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return found


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1",
        "http://LOCALHOST",
        "http://127.0.0.1/embed",
        "http://127.9.8.7",
        "https://[::1]:8443/",
        "http://[::ffff:127.0.0.1]",
    ],
)
def test_this_machine_may_be_asked_about_everything(names: dict[str, list[str]], url: str) -> None:
    address = address_of(url)
    assert address.is_local
    refuse_third_parties(address, ["chexpert", "nih_cxr14", "our_own"])


@pytest.mark.parametrize(
    "url",
    ["http://evil.test", "https://evil.test", "http://192.0.2.1", "http://10.0.0.5:8765", "http://0.0.0.0", "http://localhost.evil.test",
     "http://here.test", "http://both.test", "http://[2001:db8::1]", "http://[::ffff:192.0.2.1]", "http://169.254.1.1"],
)  # fmt: skip
def test_elsewhere_only_datasets_go_whose_terms_allow_it(names: dict[str, list[str]], tmp_path: Path, url: str) -> None:
    names |= {"localhost.evil.test": ["192.0.2.1"], "here.test": ["192.0.2.1"], "both.test": ["127.0.0.1", "192.0.2.1"]}
    with pytest.raises(CxrError) as refused:
        open_api(url, datasets=["nih_cxr14", "chexpert", "chexpert", "vindr_cxr"], journal=tmp_path / "journal")
    assert refused.value.code == "CXR-169" and not list(tmp_path.iterdir())
    assert refused.value.problem == (
        "the terms do not allow sending images to third parties: chexpert (Stanford University Dataset Research Use "
        "Agreement); vindr_cxr (PhysioNet Credentialed Health Data License)"
    )
    refuse_third_parties(address_of(url), ["nih_cxr14"])


def test_localhost_that_leads_elsewhere_is_elsewhere(names: dict[str, list[str]]) -> None:
    names["localhost"] = ["127.0.0.1", "192.0.2.1"]
    with pytest.raises(CxrError, match=r"CXR-169(.|\n)*http://localhost:80, which is 127\.0\.0\.1, 192\.0\.2\.1"):
        refuse_third_parties(address_of("http://localhost"), [KEPT])


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://localhost@evil.test", "CXR-502"),
        ("http://user:hunter2@localhost", "CXR-502"),
        ("http://localhost:80@evil.test", "CXR-502"),
        ("http://evil.test\\@localhost", "CXR-502"),
        ("http://localhost\\.evil.test", "CXR-502"),
        ("http://localhost\t.evil.test", "CXR-502"),
        ("http://localhost/?key=hunter2", "CXR-502"),
        ("http://localhost/#hunter2", "CXR-502"),
        ("ftp://localhost", "CXR-502"),
        ("file:///etc/passwd", "CXR-502"),
        ("localhost:8765", "CXR-502"),
        ("http://", "CXR-502"),
        ("http://localhost:99999", "CXR-502"),
        ("http://[::1", "CXR-502"),
        ("http://nowhere.test", "CXR-165"),
    ],
)
def test_an_address_that_is_none_or_says_more_is_refused(names: dict[str, list[str]], url: str, code: str) -> None:
    with pytest.raises(CxrError) as refused:
        address_of(url)
    assert refused.value.code == code and refused.value.fix and "hunter2" not in refused.value.block()


def test_a_name_that_leads_elsewhere_later_leads_nowhere(
    service: Service, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked up once: connections go to the number, past the proxy of the environment. ::1, which the name leads to first, takes
    none here."""
    monkeypatch.setenv("http_proxy", "http://192.0.2.9:9")
    box = api.Service(address_of(f"http://localhost:{service.port}"), QUICK)
    names["localhost"] = ["192.0.2.1"]
    assert np.array_equal(box(pictures(2)), embedded(pictures(2)))
    assert service.seen[-1][1]["Host"] == f"localhost:{service.port}"
    assert all(isinstance(pool, urllib3.HTTPConnectionPool) for pool in box._pools)


def test_a_far_service_is_asked_through_the_proxy(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The faulty service as the proxy: it is asked for the whole address."""
    monkeypatch.setenv("http_proxy", service.url)
    far = Address("http", "far.test", 80, "/embed/", ("192.0.2.1",))
    box = api.Service(far, QUICK)
    assert np.array_equal(box(pictures(1)), embedded(pictures(1)))
    assert service.seen[-1][1]["Host"] == "far.test:80"
