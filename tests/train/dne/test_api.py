"""A black box behind HTTP against a real server that fails as services do, and where images may be sent at all."""

from __future__ import annotations

import importlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
import urllib3
from click.testing import CliRunner
from faulty_service import (
    SIDE,
    WIDTH,
    Fault,
    Service,
    body,
    cut_short,
    dripping,
    dropped,
    embedded,
    honest,
    npy,
    pictures,
    running,
    silent,
    status,
)
from made_run import make_run

from cxrdata.errors import CxrError
from cxrdata.licences import kept_from_third_parties
from cxrdata.resources import data_folder
from cxrtrain.dne import api
from cxrtrain.dne.address import Address, address_of, refuse_third_parties
from cxrtrain.dne.answers import Remembered
from cxrtrain.dne.api import TOKEN, Manners, open_api
from cxrtrain.dne.black_box import BudgetSpent, LocalBackbone
from cxrtrain.dne.gezo import Batches, Result, Settings, State, gezo
from cxrtrain.dne.serve import Served, main
from cxrtrain.run_folder import open_run

QUICK = Manners(batch=4, pause=0.0, timeout=0.3, attempts=3)
KEPT = "chexpert"  # a dataset whose terms keep images on this machine


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    for name in (TOKEN, "http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with running() as served:
        yield served


def opened(service: Service, folder: Path, *, budget: int | None = None, manners: Manners = QUICK) -> Remembered:
    return open_api(service.url, datasets=[KEPT], journal=folder, budget=budget, manners=manners)


def test_images_go_there_and_embeddings_come_back(service: Service, tmp_path: Path) -> None:
    with opened(service, tmp_path) as box:
        assert (box.name, box.width) == ("the box", WIDTH)
        assert np.array_equal(box(pictures(10)), embedded(pictures(10)))
        assert [method for method, _ in service.seen] == ["GET", "POST", "POST", "POST"]  # four images a request
        assert (box.counted.queries, box.counted.calls) == (10, 3)
        assert "Authorization" not in service.seen[-1][1]


PASSING: dict[str, Fault] = {
    "500": status(500, b"oh"),
    "502 of a proxy": status(502, b"<html>bad gateway</html>"),
    "429": status(429),
    "silence": silent,
    "connection closed": dropped,
    "answer cut short": cut_short,
}


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_tried_again(service: Service, tmp_path: Path, fault: str) -> None:
    service.faults = [PASSING[fault]] * 2
    service.get_faults = [PASSING["500"]]
    with opened(service, tmp_path) as box:
        assert np.array_equal(box(pictures(3)), embedded(pictures(3)))
        assert service.posts == 3 and box.counted.queries == 3


LASTING: dict[str, tuple[Fault, str, str]] = {
    "500": (status(500), "CXR-165", "gives no answer: it answers 500"),
    "503": (status(503, b"busy"), "CXR-165", "gives no answer: it answers 503"),
    "silence": (silent, "CXR-165", "gives no answer: the server has gone silent"),
    "connection closed": (dropped, "CXR-165", "gives no answer: the connection broke"),
    "answer cut short": (cut_short, "CXR-165", "gives no answer: the connection broke"),
    "400": (status(400, b"images must be 512 a side"), "CXR-166", "refuses: 400, images must be 512 a side"),
    "401": (status(401), "CXR-166", "refuses: 401\n"),
    "404": (status(404, b"<html><b>no</b>\x1b[31m such</html>"), "CXR-166", "refuses: 404, no \\[31m such\n"),
    "redirect": (
        status(307, Location="http://evil.test/x?secret=1"),
        "CXR-166",
        "answers 307 and points to evil.test, which",
    ),
    "width": (
        body(lambda images: npy(embedded(images)[:, :2])),
        "CXR-167",
        "of the box is 2 numbers wide, and 3 was said",
    ),
    "count": (body(lambda images: npy(embedded(images)[1:])), "CXR-167", r"is of shape \(3, 3\) for 4 images"),
    "nan": (body(lambda images: npy(embedded(images) * np.nan)), "CXR-167", "is not finite for 4 of 4 images"),
    "integers": (body(lambda images: npy(np.ones((4, 3), int))), "CXR-167", "is of type int64"),
    "a web page": (body(lambda _: b"<html>log in</html>"), "CXR-167", "is no .npy file"),
    "nothing": (body(lambda _: b""), "CXR-167", "is no .npy file"),
    "cut without a length": (body(lambda images: npy(embedded(images))[:-4]), "CXR-167", "is no .npy file"),
    "pickle": (body(lambda _: npy(np.array([{}]), allow_pickle=True)), "CXR-167", "is no .npy file"),
    "a lie of a shape": (
        body(lambda images: npy(embedded(images)).replace(b"(4, 3), }         ", b"(4, 3000000000), }")),
        "CXR-167",
        "is no .npy file",
    ),
    "a broken head": (body(lambda images: npy(embedded(images)).replace(b"}", b" ")), "CXR-167", "is no .npy file"),
    "without end": (body(lambda _: b"x" * 200_000), "CXR-167", "is longer than 65,632 bytes"),
}


@pytest.mark.parametrize("fault", LASTING)
def test_what_lasts_is_one_block_and_afterwards_it_goes_on(service: Service, tmp_path: Path, fault: str) -> None:
    wrong, code, told = LASTING[fault]
    service.faults = [honest, *[wrong] * QUICK.attempts]
    images = pictures(12)
    with opened(service, tmp_path) as box, pytest.raises(CxrError, match=f"{code}.*{told}") as failed:
        box(images)
    block = failed.value.block()
    assert [line[:6] for line in block.splitlines()[1:]] == ["  at: ", "  fix:"] and service.url in block
    assert ("goes on" in block) == (fault != "redirect")
    service.faults.clear()
    with opened(service, tmp_path) as box:
        assert box.counted.queries == 4
        assert np.array_equal(box(images), embedded(images))
        assert box.counted.queries == 12 == len(service.images) == len(set(service.images))  # none paid twice


def test_a_budget_that_is_spent_goes_on_with_a_larger_one(service: Service, tmp_path: Path) -> None:
    images = pictures(12)
    with opened(service, tmp_path, budget=9) as box, pytest.raises(BudgetSpent):
        box(images)
    assert len(service.images) == 8
    with opened(service, tmp_path, budget=12) as box:
        assert np.array_equal(box(images), embedded(images))
    assert len(service.images) == 12 == len(set(service.images))


def timed(service: Service, manners: Manners) -> tuple[api.Service, list[float]]:
    """The client on a clock that only its own sleep moves on."""
    slept: list[float] = []
    box = api.Service(address_of(service.url), manners, sleep=slept.append, clock=lambda: sum(slept))
    slept.clear()
    return box, slept


def test_waits_grow_and_the_service_may_ask_for_longer_ones(service: Service) -> None:
    manners = Manners(batch=4, pause=1.0, attempts=5)
    box, slept = timed(service, manners)
    service.faults = [status(500)] * 4
    box(pictures(1))
    waits = [one for one in slept if one]
    assert len(waits) == 4 and all(0.75 * 2**at <= one <= 1.25 * 2**at for at, one in enumerate(waits))
    slept.clear()
    later = formatdate(4_000_000_000, usegmt=True)
    service.faults = [status(429, Retry_After="17"), status(503, Retry_After="nonsense")]
    box(pictures(1))
    assert 17.0 in slept
    service.faults = [status(429, Retry_After=later)]
    with pytest.raises(CxrError, match=r"CXR-165.*answers 429 and asks to wait for [\d,]{7,} s"):
        box(pictures(1))
    assert service.faults == []


def test_no_more_requests_a_second_than_asked(service: Service) -> None:
    box, slept = timed(service, Manners(batch=1, per_second=4.0, pause=0.0))
    service.faults = [honest, status(500)]
    box(pictures(5))
    assert service.posts == 6
    assert sum(slept) == pytest.approx(6 / 4)  # attempts count too; the first request was that of the opening


def test_what_drips_is_not_waited_for_for_ever(service: Service, tmp_path: Path) -> None:
    service.faults = [dripping]
    once = Manners(attempts=1, timeout=0.3)
    with opened(service, tmp_path, manners=once) as box, pytest.raises(CxrError, match=r"CXR-165.*has gone silent"):
        box(pictures(1))


ABOUTS: dict[str, object] = {
    "no name": {"width": 3},
    "no width": {"name": "x"},
    "a width of 0": {"name": "x", "width": 0},
    "true as width": {"name": "x", "width": True},
    "text as side": {"name": "x", "width": 3, "side": "8"},
    "a list": [1],
}


@pytest.mark.parametrize("about", ABOUTS)
def test_a_service_must_say_who_it_is(service: Service, tmp_path: Path, about: str) -> None:
    service.about = ABOUTS[about]
    with pytest.raises(CxrError, match=r"CXR-167.*the answer of GET is not who answers"):
        opened(service, tmp_path)
    service.get_faults = [body(lambda _: b"\xff\xfe<html>")]
    with pytest.raises(CxrError, match="CXR-167"):
        opened(service, tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_model_at_the_same_address_is_noticed(service: Service, tmp_path: Path) -> None:
    with opened(service, tmp_path) as box:
        box(pictures(2))
    service.about = {"name": "newer", "width": WIDTH}
    with pytest.raises(CxrError, match=r"CXR-167.*asked of the box, not of newer"):
        opened(service, tmp_path)


def test_images_of_another_size_are_not_sent(service: Service, tmp_path: Path) -> None:
    with opened(service, tmp_path) as box, pytest.raises(CxrError, match=r"CXR-502.*takes 8 a side(.|\n)*--size 8"):
        box(np.zeros((1, 16, 16), np.float32))
    assert service.posts == 0
    service.about = {"name": "the box", "width": WIDTH, "side": None}
    with opened(service, tmp_path) as box:
        box(pictures(1))


def test_a_token_is_sent_and_never_shown(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service.token = secret = "very-secret-4711"
    with opened(service, tmp_path) as box, pytest.raises(CxrError, match=r"CXR-166.*401.*\n.*\n.*\(it is not set\)"):
        box(pictures(1))
    monkeypatch.setenv(TOKEN, secret)
    service.faults = [status(403, f"token {secret} has no rights".encode())]
    with opened(service, tmp_path) as box:
        with pytest.raises(CxrError) as failed:
            box(pictures(1))
        assert (
            secret not in failed.value.block() + repr(failed.value.args) and "set, and refused" in failed.value.block()
        )
        assert np.array_equal(box(pictures(1)), embedded(pictures(1)))
        assert service.seen[-1][1]["Authorization"] == f"Bearer {secret}"
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or secret.encode() not in file.read_bytes()
    far = Address("http", "far.test", 80, "/", ("192.0.2.1",))
    with pytest.raises(CxrError, match=r"CXR-502.*readable for everyone"):
        api.Service(far, QUICK, token=secret)


def gezo_over(box: Callable[[np.ndarray], np.ndarray], state: State | None = None, **to: object) -> Result:
    images = pictures(8)

    def loss(values: np.ndarray, rows: np.ndarray) -> float:
        return float(np.square(box(np.clip(images[rows] + values, 0, 1))).sum())

    settings = Settings(6, directions=2, scale=0.1, every=2)
    zeros = np.zeros((SIDE, SIDE), np.float32)
    return gezo(loss, zeros, Batches(np.arange(8), 4), settings, state=state, **to)  # type: ignore[arg-type]


@pytest.mark.parametrize("good", [1, 9, 20])
def test_gezo_over_a_service_that_breaks_ends_with_the_same_noise(service: Service, tmp_path: Path, good: int) -> None:
    """And with the same bill, although answers are forgotten whenever a state is saved."""
    with opened(service, tmp_path / "whole") as box:
        wanted = gezo_over(box, checkpoint=lambda _: box.forget())
    bill = len(service.images)
    service.images.clear()
    saved: list[State] = []

    def save(state: State) -> None:
        saved.append(state)
        box.forget()

    service.faults = [*[honest] * good, *[status(500)] * QUICK.attempts]
    with opened(service, tmp_path / "broken") as box, pytest.raises(CxrError, match="CXR-165"):
        gezo_over(box, checkpoint=save)
    with opened(service, tmp_path / "broken") as box:
        found = gezo_over(box, saved[-1], checkpoint=save)
    assert found.values.tobytes() == wanted.values.tobytes() and found.trace == wanted.trace
    assert box.counted.queries == len(service.images) <= bill


# Where images may go


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


# Servers


def test_the_backbone_of_a_run_is_served(tmp_path: Path) -> None:
    made = make_run(tmp_path / "made")
    inner = LocalBackbone.of_run(open_run(made.run.folder.path))
    images = np.random.default_rng(0).random((5, inner.side, inner.side), dtype=np.float32)
    with Served(inner, side=inner.side) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        with open_api(server.url, datasets=[KEPT], journal=tmp_path / "journal", manners=Manners(timeout=20.0)) as box:
            assert np.array_equal(box(images), inner(images)) and box.name == inner.name
        assert server.server_address[0] == "127.0.0.1"
        for wrong, told in (
            (npy(images[:, :4]), b"of shape"), (npy(images + 1), b"from 0 to 1"), (b"hello", b"no .npy file"),
            (npy(images.astype(int)), b"from 0 to 1"),
        ):  # fmt: skip
            answer = urllib3.request("POST", server.url, body=wrong, timeout=20.0)
            assert answer.status == 400 and told in answer.data
        server.shutdown()
        thread.join()


def test_serving_what_is_no_run_is_one_block(tmp_path: Path) -> None:
    found = CliRunner().invoke(main, [str(tmp_path)])
    assert found.exit_code == 1 and found.stderr.startswith("error CXR-155: there is no run here\n  at: ")
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0


def test_the_server_of_the_docs_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "studies" / "dne_black_box.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    own = type(sys)("my_model")
    own.embed = lambda images: np.tile(embedded(images), (1, 256))  # 768 wide, as the page says
    monkeypatch.setitem(sys.modules, "my_model", own)
    http = importlib.import_module("http.server")
    made: list[socket.socket] = []
    ready = threading.Event()

    class Noted(http.HTTPServer):  # type: ignore[name-defined,misc]
        def serve_forever(self, poll_interval: float = 0.01) -> None:
            made.append(self)
            ready.set()
            super().serve_forever(poll_interval)

    monkeypatch.setattr(http, "HTTPServer", Noted)
    monkeypatch.setattr(http.BaseHTTPRequestHandler, "log_message", lambda *_: None)
    quick = code.replace("8765", "0").replace("224", str(SIDE))
    thread = threading.Thread(target=exec, args=(quick, {}), daemon=True)
    thread.start()
    assert ready.wait(20)
    port = made[0].server_address[1]
    with open_api(f"http://127.0.0.1:{port}", datasets=[KEPT], journal=tmp_path, manners=Manners(timeout=20.0)) as box:
        assert np.array_equal(box(pictures(3)), np.tile(embedded(pictures(3)), (1, 256)))
    made[0].shutdown()
    thread.join()
    made[0].server_close()
