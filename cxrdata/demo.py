"""The demonstration: the commands a newcomer would type, typed for them."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from cxrdata.errors import CxrError, Exit

LEAKY_FILE = "my_split.csv"
_CHILDREN = "children"
# What the experiment `quick` trains on.
QUICK_SPLIT = ("split", "--dataset", "nih,vindr", "--ratios", "0.7,0.1,0.2", "--name", "quick")
SIZE = ("--size", "32")
EPOCHS = 4


def run_demo(folder: Path, *, scale: float, train: bool = False) -> None:
    """Run every step, showing each command before its output. train: the road goes on to a model and its audit.

    Raises CxrError: CXR-604 training without its extra, before anything is done; any if a step does not end as it should
    (annotate must find the planted leak).
    """
    if train:
        _require_training()
    data, catalog = folder / "data", folder / "cxr-catalog"
    _say("Six chest X-ray datasets, written from random numbers in their official formats.")
    _run("synth", str(data), "--scale", f"{scale:g}")
    _say("All of them into one validated catalog.")
    _run("build-catalog", "--root", str(data), "-c", str(catalog), "--quiet")
    _run("describe", "-c", str(catalog))
    _say("How many images does each dataset have?")
    _run("sql", "SELECT dataset, view, count(*) AS images FROM images GROUP BY ALL ORDER BY ALL", "-c", str(catalog))
    _say("Where are the children? Certain: under 18 whatever the precision of the age. Possible: it leaves both open.")
    _run("sql", "--named", _CHILDREN, "-c", str(catalog))
    _say("How often is cardiomegaly reported, by race and sex, patient by patient?")
    _run("sql", "--named", "label_prevalence", "--param", "finding=cardiomegaly", "-c", str(catalog))
    _say("Now a file from somebody's notebook: a random row split, which most published code uses.")
    leaky = folder / LEAKY_FILE
    plant_leak(catalog, leaky)
    _run("annotate", str(leaky), "-c", str(catalog), expect=Exit.DATA)
    _say(
        "annotate ended with exit code 1: patients stand on both sides of that split. A split by patient, with as many images of each race:"
    )
    _run("split", "--balance", "race", "-c", str(catalog))
    _say("And one that trains on adults and asks what the model does to children:")
    _run("split", "--pediatric-vs-adult", "-c", str(catalog))
    _say("Both can be shared without data: `cxrdata split recipe`.")
    if train:
        train_on_phantoms(folder, scale=scale)
    _say(f"Everything is in {folder}.")


def train_on_phantoms(folder: Path, *, scale: float, epochs: int = EPOCHS) -> None:
    """From the data and the catalog of the demonstration to a model, its predictions and their audit. Raises CxrError."""
    data, catalog = folder / "data", ("-c", str(folder / "cxr-catalog"))
    store, run, predictions = (str(folder / name) for name in ("store", "runs/quick", "predictions.parquet"))
    _say("Pictures for the rows of NIH and VinDr: drawn chests, whose hearts are as wide as the labels say.")
    _run("synth", str(data), "--only", "nih,vindr", "--scale", f"{scale:g}", "--images", "--workers", "2", "--quiet")
    roots = ("--root", f"nih={data / 'nih_cxr14'}", "--root", f"vindr={data / 'vindr_cxr'}")
    _run("images", "build", *roots, "--dataset", "nih,vindr", *SIZE, "--out", store, *catalog)
    _say("A small net learns cardiomegaly from the patients of the training part.")
    _run(*QUICK_SPLIT, *catalog)
    _run("train", "quick", "--set", f"loop.epochs={epochs}", "--store", store, "--skip-missing", "--out", run, *catalog)
    _say("What does it say of patients that it has not seen, and is that as good for women as for men?")
    _run("predict", run, "--split", "quick:test", "--store", store, "--skip-missing", "--out", predictions, *catalog)
    _run("audit", predictions, "--split", "quick:test", "--by", "sex", "--metrics", "auroc", *catalog)
    _say("So few patients have cardiomegaly here that the intervals by sex say little. They are drawn, not ill.")


def _require_training() -> None:
    """Raises CxrError CXR-604 where the extra [train] is not installed."""
    if missing := [name for name in ("torch", "safetensors", "cxrtrain") if find_spec(name) is None]:
        fix = "pip install 'cxrdata[train]'; or leave --train out"
        raise CxrError("CXR-604", f"training needs {missing[0]}, which is not installed", fix=fix)


def plant_leak(catalog: Path, target: Path) -> None:
    """Write a file with an image key, an age and a split by row, so that patients leak."""
    import cxrdata

    with cxrdata.open(catalog) as opened:
        rows = opened.sql(
            "SELECT image_id, age_years AS age, sex FROM images WHERE dataset = 'nih_cxr14' ORDER BY image_id"
        )
    part = pl.int_range(pl.len()) % 5
    rows.with_columns(split=pl.when(part == 0).then(pl.lit("test")).otherwise(pl.lit("train"))).write_csv(target)


def _say(text: str) -> None:
    sys.stdout.write(f"\n# {text}\n")


def _run(*arguments: str, expect: int = Exit.DONE) -> None:
    from cxrdata.cli.main import run

    sys.stdout.write(f"$ cxrdata {shlex.join(arguments)}\n")
    sys.stdout.flush()
    code = run(arguments)
    sys.stdout.flush()
    if code != expect:
        raise CxrError(
            "CXR-699",
            f"the step ended with exit code {code}, not {int(expect)}",
            where=arguments[0],
            fix="please report it",
        )
