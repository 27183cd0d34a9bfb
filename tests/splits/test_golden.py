"""Same seed, same split: files that hold the splits of a small population, whatever the threads, row order or other data.

CXRDATA_UPDATE_EXPECTED=1 writes them anew: only where a rule was changed on purpose, and said so in the changelog.
"""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from cxrdata.splits.balance import balance
from cxrdata.splits.limits import at_most
from cxrdata.splits.placement import place_by_hash, place_exact, place_folds, strata_of_units, units_of
from cxrdata.splits.ratios import Ratios
from cxrdata.splits.resample import resample
from cxrdata.splits.spurious import Design, spurious

GOLDEN = Path(__file__).parent / "golden"
RATIOS = Ratios.parse("0.6,0.1,0.3")
UNIT = ["dataset", "unit"]
RACES = ("White", "White", "White", "Black", "Asian", None)


def population() -> pl.DataFrame:
    """Three datasets of 60 patients with 1 to 3 images each; `anonymous` has no patient ids."""
    rng = random.Random(20261121)
    rows = []
    for dataset in ("alpha", "anonymous", "beta"):
        for patient in range(60):
            race, sex = rng.choice(RACES), rng.choice("FM")
            for image in range(rng.randint(1, 3)):
                name = f"{patient:03d}_{image}.png"
                rows.append(
                    (
                        dataset,
                        name,
                        None if dataset == "anonymous" else f"{patient}",
                        race,
                        sex,
                        rng.choice(["No Finding", "Other"]),
                    )
                )
    frame = pl.DataFrame(rows, schema=["dataset", "image_id", "patient_id", "race", "sex", "disease"], orient="row")
    return frame.with_columns(unit=pl.coalesce("patient_id", "image_id")).sort("dataset", "image_id")


def plain(members: pl.DataFrame) -> pl.DataFrame:
    return members.join(place_by_hash(units_of(members, 0), RATIOS), on=UNIT, how="left")


def exact(members: pl.DataFrame) -> pl.DataFrame:
    return members.join(place_exact(units_of(members, 0), RATIOS, weigh="image", strata=()), on=UNIT, how="left")


def stratified(members: pl.DataFrame) -> pl.DataFrame:
    units = units_of(members, 0).join(strata_of_units(members, ["race", "sex"]), on=UNIT, how="left")
    return members.join(place_exact(units, RATIOS, weigh="patient", strata=["race", "sex"]), on=UNIT, how="left")


def folds(members: pl.DataFrame) -> pl.DataFrame:
    return plain(members).join(place_folds(units_of(members, 0), 4, 0), on=UNIT, how="left")


def one_image_a_patient(members: pl.DataFrame) -> pl.DataFrame:
    return plain(at_most(members, 1, seed=0, keep="hash"))


def balanced(members: pl.DataFrame) -> pl.DataFrame:
    return balance(members, ["race"], RATIOS, seed=0).rows


def weighted(members: pl.DataFrame) -> pl.DataFrame:
    return balance(members, ["sex"], RATIOS, seed=0, mode="weights").rows


def drawn(members: pl.DataFrame) -> pl.DataFrame:
    return resample(
        plain(members).filter(split="train"), balance=["race"], match=["disease"], factor=3, seed=0, exact=False
    ).rows


def with_sex(members: pl.DataFrame) -> pl.DataFrame:
    """A disease that goes with a sex."""
    label = pl.when(pl.col("disease") == "Other").then(pl.lit("positive")).otherwise(pl.lit("healthy"))
    design = Design(finding="other", attribute="sex", values=("F", "M"), correlation=0.75, per_cell=4)
    return spurious(members.with_columns(label=label, value="sex"), design, seed=0).rows


DESIGNS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "plain": plain, "exact": exact, "stratified": stratified, "folds": folds, "one_image_a_patient": one_image_a_patient,
    "balanced": balanced, "weighted": weighted, "drawn": drawn, "spurious": with_sex,
}  # fmt: skip


def text_of(frame: pl.DataFrame) -> str:
    """The split as CSV: keys and what the design says, by key."""
    said = [name for name in ("split", "fold", "n_draws", "weight") if name in frame.columns]
    return frame.select("dataset", "image_id", *said).sort("dataset", "image_id").write_csv(float_precision=12)


@pytest.mark.parametrize("name", DESIGNS)
def test_the_split_is_the_golden_one(name: str) -> None:
    path = GOLDEN / f"{name}.csv"
    text = text_of(DESIGNS[name](population()))
    if os.environ.get("CXRDATA_UPDATE_EXPECTED"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", DESIGNS)
def test_row_order_has_no_part_in_it(name: str) -> None:
    shuffled = population().sample(fraction=1, shuffle=True, seed=7)
    assert text_of(DESIGNS[name](shuffled)) == (GOLDEN / f"{name}.csv").read_text()


@pytest.mark.parametrize("name", DESIGNS)
def test_other_datasets_have_no_part_in_it(name: str) -> None:
    alone = DESIGNS[name](population().filter(dataset="alpha"))
    golden = pl.read_csv(io.StringIO((GOLDEN / f"{name}.csv").read_text()), infer_schema=False).filter(dataset="alpha")
    assert text_of(alone) == golden.write_csv()


@pytest.mark.parametrize("name", ["plain", "exact", "one_image_a_patient", "spurious"])
def test_plain_patients_stay_when_others_come(name: str) -> None:
    """Adding patients moves nobody; quotas may."""
    few = population().filter(pl.col("unit").str.slice(0, 1) != "1")
    golden = pl.read_csv(io.StringIO((GOLDEN / f"{name}.csv").read_text()), infer_schema=False)
    placed = DESIGNS[name](few).select("dataset", "image_id", before="split").join(golden, on=["dataset", "image_id"])
    moved = placed.filter(pl.col("before") != pl.col("split")).height
    assert placed.height > 0
    assert (moved == 0) == (name not in {"exact", "spurious"})


def test_threads_hash_seed_and_locale_have_no_part_in_it() -> None:
    code = "import test_golden as g; print(''.join(g.text_of(g.DESIGNS[n](g.population())) for n in g.DESIGNS), end='')"
    expected = "".join((GOLDEN / f"{name}.csv").read_text() for name in DESIGNS)
    for settings in (
        {"POLARS_MAX_THREADS": "1", "PYTHONHASHSEED": "1", "LC_ALL": "C"},
        {"POLARS_MAX_THREADS": "4", "PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo"},
    ):
        path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **settings, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == expected
