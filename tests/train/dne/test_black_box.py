"""Black boxes on this machine: counted, remembered, without gradients."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from faulty_service import SIDE, WIDTH, embedded, pictures
from made_run import Made, make_run

from cxrdata.errors import CxrError
from cxrdata.stages import sha256_file
from cxrtrain.dne.answers import Remembered
from cxrtrain.dne.black_box import BudgetSpent, Counted, Function, LocalBackbone, NoBackward, checked, named_function
from cxrtrain.dne.gezo import BUDGET, Batches, Settings, gezo
from cxrtrain.forward import outputs_of
from cxrtrain.pixels import Pixels, PixelStore
from cxrtrain.predict import FEATURES, load
from cxrtrain.run_folder import open_run


class Box:
    """The embeddings of `faulty_service`, and what was asked."""

    def __init__(self, name: str = "the box") -> None:
        self.name, self.width = name, WIDTH
        self.asked: list[int] = []
        self.error: BaseException | None = None

    def __call__(self, images: np.ndarray, /) -> np.ndarray:
        self.asked.append(len(images))
        if self.error is not None:
            raise self.error
        return embedded(images)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_run(tmp_path_factory.mktemp("black-box"))


def test_queries_are_images_and_counted(tmp_path: Path) -> None:
    journal = tmp_path / "dne" / "queries.json"
    box = Counted(Box(), journal=journal)
    assert np.array_equal(box(pictures(5)), embedded(pictures(5)))
    box(pictures(2))
    assert (box.queries, box.calls, box.width) == (7, 2, WIDTH)
    again = Counted(Box(), journal=journal)
    again(pictures(1))
    assert (again.queries, again.calls) == (8, 3)
    assert json.loads(journal.read_text()) == {"box": "the box", "queries": 8, "calls": 3}
    assert journal.stat().st_mode & 0o077 == 0


def test_beyond_the_budget_nothing_is_asked(tmp_path: Path) -> None:
    inner = Box()
    box = Counted(inner, budget=10, journal=tmp_path / "queries.json")
    box(pictures(6))
    with pytest.raises(BudgetSpent) as spent:
        box(pictures(5))
    assert inner.asked == [6] and box.queries == 6
    assert spent.value.block() == (
        "error CXR-168: the budget is spent: of 10 queries 6 were asked of the box, and 5 more would be next\n"
        "  fix: the same command with a larger budget goes on from here"
    )
    box(pictures(4))  # what it just suffices for
    larger = Counted(inner, budget=20, journal=tmp_path / "queries.json")
    larger(pictures(10))
    assert larger.queries == 20


@pytest.mark.parametrize(("error", "counts"), [(CxrError("CXR-165", "no answer"), 0), (KeyboardInterrupt(), 3)])
def test_what_is_not_answered_counts_only_if_nobody_knows(tmp_path: Path, error: BaseException, counts: int) -> None:
    inner = Box()
    inner.error = error
    with pytest.raises(type(error)):
        Counted(inner, journal=tmp_path / "queries.json")(pictures(3))
    assert Counted(Box(), journal=tmp_path / "queries.json").queries == counts


def test_a_count_of_another_box_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "queries.json"
    Counted(Box(), journal=journal)(pictures(1))
    with pytest.raises(CxrError, match=r"CXR-167.*asked of the box, not of another"):
        Counted(Box("another"), journal=journal)
    journal.write_text("{")
    with pytest.raises(CxrError, match="CXR-155"):
        Counted(Box(), journal=journal)


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    inner, images = Box(), pictures(10)
    with Remembered(Counted(inner), tmp_path, batch=4) as box:
        first = box(images[[0, 1, 2, 3, 4, 1]])
        assert inner.asked == [4, 1]  # an image that comes twice is asked about once
        assert np.array_equal(first, embedded(images[[0, 1, 2, 3, 4, 1]]))
        assert np.array_equal(box(images[[4, 0]]), embedded(images[[4, 0]])) and inner.asked == [4, 1]
    with Remembered(Counted(inner), tmp_path, batch=4) as box:
        assert np.array_equal(box(images), embedded(images))
        assert inner.asked == [4, 1, 4, 1] and box.counted.queries == 5
        assert box(images[:0]).shape == (0, WIDTH)


def test_what_was_asked_for_of_late_is_not_forgotten(tmp_path: Path) -> None:
    inner, images = Box(), pictures(6)
    with Remembered(Counted(inner), tmp_path) as box:
        box(images)
        box.forget()
        box(images[:2])  # so these are asked for again after it
        box.forget()
        assert np.array_equal(box(images), embedded(images)) and inner.asked == [6, 4]
        box.forget()
    with Remembered(Counted(inner), tmp_path) as box:
        assert np.array_equal(box(images), embedded(images)) and inner.asked == [6, 4]
        for _ in range(2):
            box.forget()
        assert (tmp_path / "before.bin").stat().st_size == (tmp_path / "now.bin").stat().st_size < 100


@pytest.mark.parametrize("left", [1, 20, 36])
def test_a_record_that_was_cut_short_is_asked_anew(tmp_path: Path, left: int) -> None:
    inner, images = Box(), pictures(6)
    with Remembered(Counted(inner), tmp_path) as box:
        box(images)
    file = tmp_path / "now.bin"
    record = 32 + 4 + 4 * WIDTH
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - record + left)
    with Remembered(Counted(inner), tmp_path) as box:
        assert np.array_equal(box(images), embedded(images)) and inner.asked == [6, 1]
    with Remembered(Counted(inner), tmp_path) as box:
        assert np.array_equal(box(images), embedded(images)) and inner.asked == [6, 1]


def test_damage_is_not_taken_for_an_answer(tmp_path: Path) -> None:
    inner, images = Box(), pictures(3)
    with Remembered(Counted(inner), tmp_path) as box:
        box(images)
    whole = bytearray((tmp_path / "now.bin").read_bytes())
    whole[-2] ^= 255
    (tmp_path / "now.bin").write_bytes(whole)
    with Remembered(Counted(inner), tmp_path) as box:
        assert np.array_equal(box(images), embedded(images)) and inner.asked == [3, 1]


def test_answers_of_another_box_are_not_taken(tmp_path: Path) -> None:
    Remembered(Counted(Box()), tmp_path).close()
    with pytest.raises(CxrError, match=r'CXR-167.*another black box answered before: .*"the box".*now it is another'):
        Remembered(Counted(Box("another")), tmp_path)
    with Remembered(Counted(Box()), tmp_path), pytest.raises(CxrError, match="CXR-603"):
        Remembered(Counted(Box()), tmp_path)


def test_a_run_as_black_box_says_what_the_run_says(made: Made) -> None:
    run = open_run(made.run.folder.path)
    box = LocalBackbone.of_run(run)
    store = PixelStore(made.store, made.bundle, side=box.side)
    rows = np.arange(8)
    pixels = np.empty((8, box.side, box.side), dtype=np.uint8)
    store.read(rows, pixels)
    place = torch.device("cpu")
    from cxrtrain.distributed import Place

    net, inputs = load(run, Place(0, 1, place))
    theirs = outputs_of(
        net, lambda images: {FEATURES: net.features(images)}, Pixels(store, rows, place), rows,
        inputs=inputs, batch=3, precision="fp32", place=Place(0, 1, place),
    )[FEATURES].numpy()  # fmt: skip
    ours = box(pixels.astype(np.float32) / 255)
    assert ours.dtype == np.float32 and ours.shape == (8, box.width)
    assert np.allclose(ours, theirs, atol=1e-5) and np.ptp(ours) > 0
    assert run.run_id in box.name
    assert box(np.empty((0, box.side, box.side), np.float32)).shape == (0, box.width)


def test_gezo_never_touches_a_gradient(made: Made) -> None:
    """The same backbone: a gradient through it raises, and GeZO makes its embeddings go where they should."""
    from cxrtrain.distributed import Place

    net, inputs = load(open_run(made.run.folder.path), Place(0, 1, torch.device("cpu")))
    net.backbone = NoBackward(net.backbone)
    noise = torch.zeros(16, 16, requires_grad=True)
    said = net.features(inputs(torch.rand(2, 1, 16, 16) + noise))
    with pytest.raises(RuntimeError, match="a gradient was asked of a black box"):
        said.sum().backward()
    assert noise.grad is None
    box = LocalBackbone(net, inputs, "no gradients", side=16)
    images = np.random.default_rng(0).random((6, 16, 16), dtype=np.float32)
    goal = box(np.clip(images + 0.1, 0, 1)).mean(axis=0)

    def loss(values: np.ndarray, rows: np.ndarray) -> float:
        return float(((box(np.clip(images[rows] + values, 0, 1)).mean(axis=0) - goal) ** 2).sum())

    found = gezo(loss, np.zeros((16, 16), np.float32), Batches(np.arange(6), 6), Settings(15, space="grid", grid=4))
    assert found.trace[-1].loss < 0.7 * found.trace[0].before


def test_the_net_is_in_eval_mode_whoever_trained_it_since(made: Made) -> None:
    from cxrtrain.distributed import Place

    net, inputs = load(open_run(made.run.folder.path), Place(0, 1, torch.device("cpu")))
    net.backbone = torch.nn.Sequential(net.backbone, torch.nn.Dropout(0.5))
    box = LocalBackbone(net, inputs, "dropping", side=16)
    images = np.random.default_rng(0).random((4, 16, 16), dtype=np.float32)
    first = box(images)
    net.train()
    assert np.array_equal(box(images), first)


def test_a_spent_box_ends_gezo_and_its_count_goes_on(tmp_path: Path) -> None:
    images, inner = pictures(8), Box()

    def run(budget: int | None) -> tuple[object, Counted]:
        box = Counted(inner, budget=budget, journal=tmp_path / "queries.json")

        def loss(values: np.ndarray, rows: np.ndarray) -> float:
            return float(box(np.clip(images[rows] + values, 0, 1)).sum())

        zeros = np.zeros((SIDE, SIDE), np.float32)
        return gezo(loss, zeros, Batches(np.arange(8), 4), Settings(10, directions=2), state=state), box

    state = None
    found, box = run(100)
    assert found.stopped == BUDGET and box.queries <= 100 < box.queries + 4 and sum(inner.asked) == box.queries
    state = found.state
    again, larger = run(None)
    assert again.state.step == 10 and again.state.queries == state.queries + larger.queries - box.queries


def test_a_function_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_model.py").write_text(
        "import numpy as np\nNUMBER = 3\ndef embed(images):\n    return images.mean(axis=2)[:, :4].astype('float64')\n"
        "def flat(images):\n    return images.sum()\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    box = named_function("own_model:embed", side=SIDE)
    monkeypatch.delitem(sys.modules, "own_model")
    code = sha256_file(tmp_path / "own_model.py")[:12]
    assert (box.name, box.width) == (f"own_model:embed (code {code})", 4) and sys.path == before
    assert np.allclose(box(pictures(3)), pictures(3).mean(axis=2)[:, :4])
    with pytest.raises(CxrError, match=r"CXR-167.*own_model:flat \(code .*\) is of shape \(\), not \(1, width\)"):
        named_function("own_model:flat", side=SIDE)
    for wrong, told in {
        "own_model": "names no function", "own_model:": "names no function", "own_model:absent": "no function own_model:absent",
        "no_such_module:f": "No module named", "own_model:NUMBER": "is no function",
    }.items():  # fmt: skip
        with pytest.raises(CxrError, match=f"CXR-501.*{told}"):
            named_function(wrong, side=SIDE)
    monkeypatch.delitem(sys.modules, "own_model")


UNUSABLE: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "count": (lambda made: made[:-1], r"of shape \(2, 3\) for 3 images"),
    "shape": (lambda made: made[:, :, None], r"of shape \(3, 3, 1\) for 3 images"),
    "width": (lambda made: made[:, :2], "2 numbers wide, and 3 was said"),
    "type": (lambda made: made.astype(np.int64), "of type int64"),
    "nan": (lambda made: np.where(np.eye(3, dtype=bool)[:1].T, np.nan, made), "not finite for 1 of 3 images"),
    "too large": (lambda made: made.astype(np.float64) * 1e300, "not finite for 3 of 3 images"),
}


@pytest.mark.parametrize("wrong", UNUSABLE)
def test_an_answer_that_is_no_embedding_is_refused(wrong: str) -> None:
    spoil, told = UNUSABLE[wrong]
    with pytest.raises(CxrError, match=f"CXR-167.*the answer of it is {told}"):
        checked(spoil(embedded(pictures(3))), 3, WIDTH, "it")
    box = Function(embedded, "it", side=SIDE)
    box._function = lambda images: spoil(embedded(images))
    with pytest.raises(CxrError, match="CXR-167"):
        box(pictures(3))
