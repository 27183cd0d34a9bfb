"""A black box behind HTTP against a real server that fails as services do, and where images may be sent at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
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

from cxrdata.errors import CxrError
from cxrtrain.dne import api
from cxrtrain.dne.address import Address, address_of
from cxrtrain.dne.answers import Remembered
from cxrtrain.dne.api import TOKEN, Manners, open_api
from cxrtrain.dne.black_box import BudgetSpent
from cxrtrain.dne.gezo import Batches, Result, Settings, State, gezo

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


def test_a_broken_redirect_and_a_connection_that_is_not_safe(service: Service, tmp_path: Path) -> None:
    service.faults = [status(302, Location="http://[::1")]
    with opened(service, tmp_path) as box, pytest.raises(CxrError, match=r"CXR-166.*points to no address"):
        box(pictures(1))
    safe = service.url.replace("http:", "https:")
    with pytest.raises(CxrError, match=r"CXR-165.*no safe connection"):
        open_api(safe, datasets=[KEPT], journal=tmp_path / "safe", manners=Manners(attempts=1, timeout=5.0))


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
    service.about = {"name": f"the box of {secret}", "width": WIDTH, "side": SIDE}
    service.faults = [status(403, b"x" * 150 + f" {secret} has no rights".encode())]
    with opened(service, tmp_path / "again") as box:
        with pytest.raises(CxrError) as failed:
            box(pictures(1))
        assert (
            secret not in failed.value.block() + repr(failed.value.args) and "set, and refused" in failed.value.block()
        )
        assert np.array_equal(box(pictures(1)), embedded(pictures(1)))
        assert service.seen[-1][1]["Authorization"] == f"Bearer {secret}"
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or secret.encode() not in file.read_bytes()
    with pytest.raises(CxrError, match=r"CXR-502.*holds no token") as failed:
        api.Service(address_of(service.url), QUICK, token=f"{secret}\n")
    assert secret not in failed.value.block()
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
