"""Probe, noise, fine-tuning and evaluation on pictures whose mark one noise can hide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from dne_ground import MARK, backbone, experiment, opened, write_ground

from cxrdata.errors import CxrError
from cxrtrain.dne.config import ATTRIBUTE
from cxrtrain.dne.data import DneData
from cxrtrain.dne.fairness import ERM
from cxrtrain.dne.ground import Ground
from cxrtrain.dne.heads import Labelled, fit_disease, fit_probe, loss_of, read_head
from cxrtrain.dne.noise import Noise
from cxrtrain.dne.steps import evaluate_step, finetune_step, fit_step, given_step, probe_step, read_fitted
from cxrtrain.dne.ways import Way, ways_of
from cxrtrain.dne.white_box import Problem, fit_white

WISH = experiment()


def quiet(_: str) -> None:
    """Says nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ground(tmp_path_factory.mktemp("dne"))


@pytest.fixture(scope="module")
def ground(folder: Path) -> Ground:
    return opened(folder, WISH)


@pytest.fixture(scope="module")
def done(ground: Ground, folder: Path) -> Path:
    """All four steps of both objectives: folders probe, one a way, heads, judged."""
    for name in ("probe", "heads", "judged"):
        (folder / name).mkdir()
    probe_step(ground, folder / "probe")
    noises = {}
    for way in ways_of(WISH, given=False):
        (folder / way.name).mkdir()
        fit_step(ground, way, folder / "probe", folder / way.name, folder, tell=quiet, say=quiet)
        noises[way] = read_fitted(folder / way.name, ground.images.side)
    finetune_step(ground, noises, folder / "heads")
    evaluate_step(ground, noises, folder / "probe", folder / "heads", folder / "judged", synthetic=True, tell=quiet)
    return folder


def value(path: Path, **said: str) -> float:
    row = pl.read_csv(path, infer_schema_length=None).filter(**said)
    assert row.height == 1
    return float(row["estimate"][0])


def test_erm_is_unfair_and_the_noise_halves_the_gap(done: Path) -> None:
    table = done / "judged" / "fairness.csv"
    erm, edited = (value(table, model=model, metric="equalised_odds") for model in (ERM, "DNE white-uniform"))
    assert erm >= 0.2
    assert edited <= erm / 2
    better = value(table, model="DNE white-uniform", metric="accuracy") - value(table, model=ERM, metric="accuracy")
    assert better >= 0
    row = pl.read_csv(table, infer_schema_length=None).filter(model="DNE white-uniform", metric="equalised_odds")
    assert row["difference_from_erm"][0] == pytest.approx(edited - erm)
    assert row["difference_low"][0] <= row["difference_from_erm"][0] <= row["difference_high"][0] < 0


def test_what_is_hidden_no_fresh_probe_finds(done: Path) -> None:
    table = pl.read_csv(done / "judged" / "hiding.csv", infer_schema_length=None)
    assert table["metric"].unique().sort().to_list() == ["accuracy", "auroc", "cross_entropy"]
    assert table.height == 3 * 2 * 3  # clean and two noises, old and fresh probes
    area = {(row["noise"], row["probe"]): row["estimate"] for row in table.filter(metric="auroc").iter_rows(named=True)}
    assert min(area["none", "old"], area["none", "fresh"]) > 0.95
    assert area["white-uniform", "fresh"] < 0.75


def test_the_corner_is_what_is_edited(done: Path) -> None:
    """Pressed to black it is the same with the mark and without."""
    values = read_fitted(done / "white-uniform", 16).values
    corner = np.zeros_like(values, dtype=bool)
    corner[MARK] = True
    assert values[corner].mean() < -0.1
    assert abs(values[~corner].mean()) < 0.05


def test_pictures_and_published(done: Path) -> None:
    pictures = pl.read_csv(done / "judged" / "pictures.csv")
    assert pictures["noise"].to_list() == ["white-uniform", "white-negative_ce"]
    assert (pictures["largest"] <= 0.5 + 1e-6).all()
    assert pictures.select(pl.col("psnr_mean").is_between(5, 60) & pl.col("ssim_mean").is_between(0, 1))[
        "psnr_mean"
    ].all()
    published = pl.read_csv(done / "judged" / "published.csv")
    assert published["published"].to_list() == [0.69, 0.485, 0.575, 0.593, *([0.7425, 0.25, 0.23, 0.267] * 2)]
    assert published["reason"].unique().to_list() == ["made-up data: nothing of them is comparable"]
    assert (published["here"] - published["published"] - published["difference"]).abs().max() < 1e-9


def test_validation_is_told_apart_from_the_test(done: Path) -> None:
    rows = pl.read_csv(done / "heads" / "validation.csv")
    assert rows["model"].to_list() == [ERM, "DNE white-uniform", "DNE white-negative_ce"]
    assert rows["images"].unique().to_list() == [60]


def test_steps_before_the_last_never_see_a_test_image(folder: Path, tmp_path: Path) -> None:
    """Not the pixels: a ground whose images are those of training and validation alone does for them; and what is made of the
    test changes nothing."""
    wish = experiment(noise={"epochs": 2})
    ground = opened(folder, wish, parts=("train", "valid"))
    spoilt = DneData(**{**vars(ground.data), "test": ground.data.test[:0]})
    way = Way("white", "uniform")
    for at, on in enumerate((ground, replace(ground, data=spoilt))):
        for name in ("probe", "noise", "heads"):
            (tmp_path / f"{name}-{at}").mkdir()
        probe_step(on, tmp_path / f"probe-{at}")
        fit_step(on, way, tmp_path / f"probe-{at}", tmp_path / f"noise-{at}", tmp_path, tell=quiet, say=quiet)
        finetune_step(on, {way: read_fitted(tmp_path / f"noise-{at}", 16)}, tmp_path / f"heads-{at}")
    for name, file in (("noise", "noise.safetensors"), ("heads", "validation.csv")):
        first, second = ((tmp_path / f"{name}-{at}" / file).read_bytes() for at in (0, 1))
        assert first == second


def test_the_backbone_does_not_move(ground: Ground, done: Path) -> None:
    eye = backbone()
    before = {name: one.clone() for name, one in eye.net.state_dict().items()}
    problem = Problem(
        ground.images, read_head(done / "probe", "probe"), ground.data.attribute, ground.data.train, ground.data.valid
    )
    fitted = fit_white(eye, problem, experiment(noise={"epochs": 2}).noise, "uniform", penalty=0.0, seed=0)
    assert np.abs(fitted.values).max() > 0
    assert not eye.net.training
    for name, one in eye.net.state_dict().items():
        assert torch.equal(one, before[name]), name
    assert all(one.grad is None for one in eye.net.parameters())


def test_the_epoch_that_validation_likes_best_is_kept(ground: Ground, done: Path) -> None:
    problem = Problem(
        ground.images, read_head(done / "probe", "probe"), ground.data.attribute, ground.data.train, ground.data.valid
    )
    # A step so large that each epoch is worse than none.
    wild = fit_white(
        backbone(), problem, experiment(noise={"epochs": 3, "lr": 50.0, "limit": 0.01, "weight": 1e-9}).noise, "uniform",
        penalty=1e-12, seed=0,
    )  # fmt: skip
    judged = [one.valid_objective for one in wild.trace]
    assert wild.valid_objective == min(judged)
    assert wild.trace[wild.epoch].valid_objective == min(judged)
    if wild.epoch == 0:
        assert not wild.values.any()


def test_of_several_penalties_the_one_that_hides(ground: Ground, done: Path, tmp_path: Path) -> None:
    on = replace(ground, experiment=experiment(noise={"penalty": [50.0, 0.001]}))
    fit_step(on, Way("white", "uniform"), done / "probe", tmp_path, tmp_path, tell=quiet, say=quiet)
    trace = pl.read_csv(tmp_path / "trace.csv")
    assert trace["penalty"].unique().sort().to_list() == [0.001, 50.0]
    assert trace.filter(pl.col("kept"))["penalty"].unique().to_list() == [0.001]
    left = dict(trace.select("penalty", "fresh_probe_valid").unique().iter_rows())
    assert left[0.001] < left[50.0]


def test_without_gradients(ground: Ground, done: Path, tmp_path: Path) -> None:
    """GeZO on the same backbone, through which no gradient goes: better than no noise, its queries counted, the same again."""
    way = Way("black", "uniform", "grid")
    for at in (0, 1):
        (tmp_path / f"s{at}").mkdir()
        (tmp_path / f"f{at}").mkdir()
        fit_step(ground, way, done / "probe", tmp_path / f"f{at}", tmp_path / f"s{at}", tell=quiet, say=quiet)
    trace = pl.read_csv(tmp_path / "f0" / "trace.csv")
    assert trace["epoch"].to_list() == [0, 3, 6]
    assert trace["valid_objective"].min() < trace["valid_objective"][0]
    steps = pl.read_csv(tmp_path / "f0" / "steps.csv")
    assert steps.height == 6
    assert steps["queries"].is_sorted()
    assert (tmp_path / "f0" / "noise.safetensors").read_bytes() == (tmp_path / "f1" / "noise.safetensors").read_bytes()


def test_a_given_noise_is_resampled_where_that_is_asked(ground: Ground, tmp_path: Path) -> None:
    np.save(tmp_path / "theirs.npy", np.full((1, 3, 32, 32), -0.1, np.float32))
    with pytest.raises(CxrError, match="CXR-161"):
        given_step(ground, tmp_path / "theirs.npy", tmp_path, resample=False, say=quiet)
    said: list[str] = []
    given_step(ground, tmp_path / "theirs.npy", tmp_path, resample=True, say=said.append)
    assert "resampled from 32 to 16" in said[0]
    assert np.allclose(read_fitted(tmp_path, 16).values, -0.1)


def test_clean_embeddings_are_made_once(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ground.embeddings.of(ground.data.train)
    noise = Noise(np.full((16, 16), 0.1, np.float32))
    changed = ground.embeddings.of(ground.data.train, noise)
    assert not torch.allclose(first, changed)

    def never(_: object, images: torch.Tensor) -> torch.Tensor:
        raise AssertionError(images.shape)

    monkeypatch.setattr(type(ground.eye), "embed", never)
    assert torch.equal(ground.embeddings.of(ground.data.train), first)
    assert torch.equal(ground.embeddings.of(ground.data.train, Noise(noise.values.copy())), changed)
    with pytest.raises(AssertionError):
        ground.embeddings.of(ground.data.train, Noise(noise.values * 2))


def test_heads_keep_the_best_epoch_and_repeat() -> None:
    random = np.random.default_rng(0)
    truth = np.arange(80) % 2
    features = torch.from_numpy(random.normal(size=(80, 5)).astype(np.float32) + 2 * truth[:, None].astype(np.float32))
    train, valid = Labelled(features[:60], truth[:60]), Labelled(features[60:], truth[60:])
    for fit in (
        lambda seed: fit_probe(train, valid, WISH.probe, classes=2, seed=seed),
        lambda seed: fit_disease(train, valid, WISH.finetune, seed=seed),
    ):
        found = fit(0)
        assert found.valid_loss == min(found.losses) == pytest.approx(loss_of(found.head, valid))
        assert found.losses[found.epoch - 1] == found.valid_loss < 0.5
        assert torch.equal(fit(0).head.weight, found.head.weight)
        assert not torch.equal(fit(1).head.weight, found.head.weight)


def test_a_test_without_one_of_the_cells_is_refused(tmp_path: Path) -> None:
    folder = write_ground(tmp_path, n=40, n_valid=10, n_test=20)
    data = DneData.read(folder / "bundle", WISH)
    narrowed = DneData(
        **{**vars(data), "test": data.test[(data.attribute[data.test] == 0) | (data.disease[data.test] == 0)]}
    )
    with pytest.raises(CxrError, match="CXR-162") as told:
        narrowed.check()
    assert told.value.problem == "the test part has no image of M with the finding"
    # What is learnt from may lack a cell, as at a correlation of 1, but no value and no state.
    lacking = DneData(**{**vars(data), "train": data.train[data.attribute[data.train] == data.disease[data.train]]})
    lacking.check()
    with pytest.raises(CxrError, match="CXR-162"):
        DneData(**{**vars(data), "train": data.train[data.attribute[data.train] == 0]}).check()
    assert data.classes == ("F", "M")
    assert data.bundle.heads[1].name == ATTRIBUTE
