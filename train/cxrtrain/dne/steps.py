"""The four steps: attribute probe, noise, fine-tuning, evaluation. Test images are looked at in the last one alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from cxrdata.small_cells import MIN_CELL
from cxrdata.wording import counted
from cxrtrain.dne.black_box import BudgetSpent
from cxrtrain.dne.black_fit import fit_black
from cxrtrain.dne.config import ATTRIBUTE, BLACK, GIVEN
from cxrtrain.dne.data import head_of
from cxrtrain.dne.fairness import ERM, Scores, fairness_rows, short_table
from cxrtrain.dne.ground import Ground
from cxrtrain.dne.heads import Fitted, fit_disease, fit_probe, read_head, write_head
from cxrtrain.dne.hiding import CLEAN, EDITED, FRESH, OLD, Reading, fresh_probe, hiding_rows
from cxrtrain.dne.noise import NOISE_FILE, Noise, edited, read_noise, write_noise
from cxrtrain.dne.pictures import psnr, ssim
from cxrtrain.dne.published import comparison
from cxrtrain.dne.ways import Way
from cxrtrain.dne.white_box import FittedNoise, Problem, fit_white
from cxrtrain.evaluate import auroc

PROBE = "probe"
PREDICTIONS = "predictions"
_AS_WELL = 0.05  # AUROCs that differ by less hide about as well
_AT_ONCE = 256
Tell = Callable[[str], None]


def probe_step(on: Ground, folder: Path) -> None:
    """The attribute's head on clean embeddings."""
    data = on.data
    train, valid = (on.labelled(rows, data.attribute) for rows in (data.train, data.valid))
    found = fit_probe(train, valid, on.experiment.probe, classes=len(data.classes), seed=on.experiment.seed)
    write_head(found, folder, PROBE)
    said = {"epoch": found.epoch, "valid_loss": found.valid_loss, "classes": list(data.classes)}
    (folder / "probe.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def fit_step(
    on: Ground, way: Way, probe: Path, folder: Path, scratch: Path, *, tell: Tell, say: Tell, most: int | None = None
) -> None:
    """A noise; of several penalties the largest whose noise hides, on validation images, about as well as any. most: queries of
    one search without gradients (see `share_of`)."""
    experiment = on.experiment
    problem = Problem(on.images, read_head(probe, PROBE), on.data.attribute, on.data.train, on.data.valid)
    tried: list[tuple[float, float, FittedNoise]] = []
    for penalty in experiment.noise.penalty:
        tell(f"penalty {penalty:g}")
        found = _fitted(on, way, problem, penalty, scratch, most=most, tell=tell, say=say)
        left = _left(on, Noise(found.values)) if len(experiment.noise.penalty) > 1 else float("nan")
        tried.append((left, penalty, found))
    left, penalty, found = _mildest(tried)
    noise = Noise(
        found.values,
        {
            "experiment": experiment.name, "access": way.access, "space": way.space, "objective": way.objective, "penalty": penalty,
            "limit": experiment.noise.limit, "bundle": on.data.bundle.digest, "eye": on.eye.digest, "epoch": found.epoch,
            "valid_objective": found.valid_objective,
        },
    )  # fmt: skip
    write_noise(noise, folder)
    pl.DataFrame(
        [{"penalty": one, "kept": one == penalty, "fresh_probe_valid": left, **vars(epoch)} for left, one, fitted in tried for epoch in fitted.trace]
    ).fill_nan(None).write_csv(folder / "trace.csv")  # fmt: skip
    if way.access == BLACK:
        (folder / "steps.csv").write_bytes((_scratch(scratch, penalty) / "trace.csv").read_bytes())


def _fitted(
    on: Ground,
    way: Way,
    problem: Problem,
    penalty: float,
    scratch: Path,
    *,
    tell: Tell,
    say: Tell,
    most: int | None = None,
) -> FittedNoise:
    experiment = on.experiment
    assert way.objective is not None
    if way.access == BLACK:
        assert way.space is not None
        place = _scratch(scratch, penalty)
        place.mkdir(parents=True, exist_ok=True)
        budgets = [one for one in (experiment.black.budget, most) if one is not None]
        black = replace(experiment.black, budget=min(budgets, default=None))
        return fit_black(
            on.asked(place), problem, experiment.noise, black, way.objective, space=way.space, penalty=penalty,
            seed=experiment.seed, scratch=place, tell=tell, say=say,
        )  # fmt: skip
    assert on.backbone is not None
    return fit_white(
        on.backbone, problem, experiment.noise, way.objective, penalty=penalty, seed=experiment.seed, tell=tell
    )


def share_of(on: Ground, budget: int, ways: int) -> int:
    """Queries that one search may ask of a black box with a budget for all: equal shares of what is left beside embeddings of all
    clean images, of all images under each noise, and the looks at validation images. Raises CxrError CXR-168 where that is
    not enough for a single step of each search."""
    data, black, penalties = on.data, on.experiment.black, len(on.experiment.noise.penalty)
    learnt, test = len(data.train) + len(data.valid), len(data.test)
    searches = ways * penalties
    looks = (black.steps // black.judge_every + 2) * min(len(data.valid), black.judge_images)
    held = (1 + searches) * learnt + (1 + ways) * test + searches * looks
    share, step = (budget - held) // searches, (2 * black.directions + 2) * min(black.batch, len(data.train))
    if share < step:
        raise BudgetSpent(
            "CXR-168",
            f"a budget of {budget:,} queries is too small: {held:,} are needed beside the search, and {searches * step:,} for a step "
            f"of {counted(searches, 'search')}",
            fix=f"--budget {held + searches * step:,} or more; or one objective, space and penalty",
        )
    return share


def _mildest(tried: Sequence[tuple[float, float, FittedNoise]]) -> tuple[float, float, FittedNoise]:
    """Of (what a fresh probe finds, penalty, noise). A larger penalty is a smaller noise, which costs images less."""
    least = min(left for left, _, _ in tried)
    return max((one for one in tried if not one[0] > least + _AS_WELL), key=lambda one: one[1])


def _scratch(scratch: Path, penalty: float) -> Path:
    return scratch / f"penalty-{penalty:g}"


def _left(on: Ground, noise: Noise) -> float:
    """How far from a half the AUROC of a fresh probe is on edited validation images, within those with the disease and those
    without: where attribute and disease go together, the disease alone would tell of the attribute."""
    data = on.data
    train, valid = (on.labelled(rows, data.attribute, noise) for rows in (data.train, data.valid))
    head = fresh_probe(train, valid, classes=len(data.classes), seed=on.experiment.seed)
    scores = head.logits(valid.features).diff(dim=1)[:, 0].numpy()
    found = []
    for sick in (0, 1):
        inside = data.disease[data.valid] == sick
        second = (valid.truth[inside] == 1).astype(np.float64)
        if (area := auroc(scores[inside], second)) is not None:
            found.append((area, second.sum() * (1 - second).sum()))
    if not found:
        return float("nan")
    areas, pairs = np.array(found).T
    return float(abs(np.average(areas, weights=pairs) - 0.5))


def given_step(on: Ground, file: Path, folder: Path, *, resample: bool, say: Tell) -> None:
    """A published noise in place of a fitted one."""
    found, notes = read_noise(file, side=on.images.side, resample=resample)
    for note in notes:
        say(note)
    write_noise(Noise(found.values, {**found.about, "access": GIVEN, "file": file.name}), folder)


def finetune_step(on: Ground, noises: Mapping[Way, Noise], folder: Path) -> None:
    """The disease's heads: ERM on clean images, and one for each noise on edited ones."""
    data, wish = on.data, on.experiment.finetune
    rows = []
    for model, noise in {ERM: None, **{way.model: one for way, one in noises.items()}}.items():
        train, valid = (on.labelled(rows, data.disease, noise) for rows in (data.train, data.valid))
        found: Fitted = fit_disease(train, valid, wish, seed=on.experiment.seed)
        write_head(found, folder, model)
        scores = found.head.logits(valid.features).softmax(1)[:, 1].numpy().astype(np.float64)
        said = {"model": model, "epoch": found.epoch, "valid_loss": found.valid_loss, "images": len(valid.truth)}
        rows.append(said | _on_validation(scores, valid.truth, data.attribute[data.valid]))
    pl.DataFrame(rows).write_csv(folder / "validation.csv")


def _on_validation(scores: np.ndarray, truth: np.ndarray, attribute: np.ndarray) -> dict[str, float | None]:
    """What settings are chosen by, at 0.5: point values; the classes as gaps between the attribute's extreme values.
    smallest_cell: images of the combination of disease and attribute that is rarest, which a gap hangs on."""
    right = (scores >= 0.5) == (truth == 1)
    gaps: dict[str, float | None] = {}
    sizes = []
    for name, sick in (("negative", 0), ("positive", 1)):
        cells = [right[(truth == sick) & (attribute == group)] for group in np.unique(attribute)]
        sizes += [len(cell) for cell in cells]
        rates = [float(cell.mean()) for cell in cells if len(cell)]
        gaps[f"equalised_odds_{name}"] = max(rates) - min(rates) if len(rates) == len(cells) else None
    area = auroc(scores, (truth == 1).astype(np.float64))
    return {"smallest_cell": min(sizes), "accuracy": float(right.mean()), "auroc": area, **gaps}


def evaluate_step(
    on: Ground, noises: Mapping[Way, Noise], probe: Path, heads: Path, folder: Path, *, synthetic: bool, tell: Tell
) -> None:
    """audit.csv, fairness.csv, hiding.csv, pictures.csv, published.csv; predictions/, a file a model, as `cxrdata audit` reads."""
    data, judge = on.data, on.experiment.judge
    finding, by = on.experiment.disease.finding, on.experiment.attribute.name
    tell("fairness")
    models = {ERM: None, **{way.model: one for way, one in noises.items()}}
    test, valid = (
        {model: _scores(on, heads, model, noise, rows) for model, noise in models.items()}
        for rows in (data.test, data.valid)
    )
    _write_predictions(on, test, finding, folder / PREDICTIONS)
    rows = fairness_rows(
        test, valid, head_of(data.bundle, ATTRIBUTE), finding=finding, by=by, threshold=judge.threshold,
        bootstrap=judge.bootstrap, min_cell=1 if synthetic else MIN_CELL, seed=on.experiment.seed,
    )  # fmt: skip
    rows.write_csv(folder / "audit.csv")
    short_table(rows).write_csv(folder / "fairness.csv")
    tell("hiding and fooling")
    hiding(on, noises, probe).write_csv(folder / "hiding.csv")
    tell("pictures")
    pictures(on, noises).write_csv(folder / "pictures.csv")
    datasets = sorted(set(data.bundle.dataset))
    comparison(rows, on.experiment, datasets=datasets, synthetic=synthetic).write_csv(folder / "published.csv")


def _write_predictions(on: Ground, test: Mapping[str, Scores], finding: str, folder: Path) -> None:
    bundle, rows = on.data.bundle, on.data.test
    folder.mkdir()
    for model, said in test.items():
        frame = pl.DataFrame(
            {
                "dataset": np.array(bundle.dataset)[rows],
                "image_id": np.array(bundle.image_id)[rows],
                f"prob_{finding}": said.scores,
            }
        )
        frame.sort("dataset", "image_id").write_parquet(folder / f"{model.replace(' ', '-')}.parquet")


def _scores(on: Ground, heads: Path, model: str, noise: Noise | None, rows: np.ndarray) -> Scores:
    found = read_head(heads, model).logits(on.embeddings.of(rows, noise)).softmax(1)[:, 1]
    data = on.data
    return Scores(found.numpy().astype(np.float64), data.disease[rows], data.attribute[rows], data.patients[rows])


def hiding(on: Ground, noises: Mapping[Way, Noise], probe: Path) -> pl.DataFrame:
    """Of clean and edited test images: the old probe, and one trained anew on images of the same kind."""
    data, seed = on.data, on.experiment.seed
    old = read_head(probe, PROBE)
    readings = []
    for way, noise in [(None, None), *noises.items()]:
        train, valid, test = (on.labelled(rows, data.attribute, noise) for rows in (data.train, data.valid, data.test))
        fresh = fresh_probe(train, valid, classes=len(data.classes), seed=seed)
        for name, head in ((OLD, old), (FRESH, fresh)):
            said = {
                "noise": "none" if way is None else way.name, "access": None if way is None else way.access,
                "objective": None if way is None else way.objective, "images": CLEAN if way is None else EDITED, "probe": name,
            }  # fmt: skip
            readings.append(Reading(said, head, test))
    return hiding_rows(readings, data.patients[data.test], bootstrap=on.experiment.judge.bootstrap, seed=seed)


def pictures(on: Ground, noises: Mapping[Way, Noise]) -> pl.DataFrame:
    """PSNR and SSIM of edited test images, and how large the noise is."""
    rows = []
    for way, noise in noises.items():
        found: dict[str, list[torch.Tensor]] = {"psnr": [], "ssim": []}
        plane = noise.tensor(on.images.device)
        orders: Sequence[np.ndarray] = [
            on.data.test[at : at + _AT_ONCE] for at in range(0, len(on.data.test), _AT_ONCE)
        ]
        for images in on.images.batches(orders):
            changed = edited(images, plane)
            found["psnr"].append(psnr(images, changed).cpu())
            found["ssim"].append(ssim(images, changed).cpu())
        row: dict[str, object] = {"noise": way.name, "images": len(on.data.test)}
        for name, parts in found.items():
            values = torch.cat(parts).double().numpy()
            finite = values[np.isfinite(values)]
            row |= {
                f"{name}_mean": float(finite.mean()) if len(finite) else None,
                f"{name}_lowest": float(values.min()),
            }
        row |= {
            "norm": float(np.linalg.norm(noise.values)),
            "largest": float(np.abs(noise.values).max()),
            "note": None
            if noise.values.any()
            else f"no noise at all: nothing differs in {counted(len(on.data.test), 'image')}",
        }
        rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def read_fitted(folder: Path, side: int) -> Noise:
    """The noise that a step left."""
    return read_noise(folder / NOISE_FILE, side=side)[0]
