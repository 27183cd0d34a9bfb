"""Predictions of the case study's models as one frame, whoever wrote them. Which model, and which blend of histogram matching,
the path says; whom each row is of, the file itself or the catalog.

    [hm-0.25/]MODEL/…/NAME.csv|parquet      MODEL names the dataset trained on, as vindr_cxr, nih, age-bias-padchest do (`files`);
    MODEL[.hm-0.25].csv|parquet             files beside each other

ped_vs_adults-cxr: [hm-BLEND/]exp_cardiomegaly-TRAINED-…/DATASET/SPLIT/best/predictions.csv, with dset, split, image_id, age or
    age_years, view, Cardiomegaly, No Finding, Has Finding, class_probs. Its probability of the finding is the second of class_probs.
ours: dataset, image_id, prob_cardiomegaly (`cxrdata predict`), and either split, cardiomegaly, healthy, age_years and, if known,
    patient_id, view, support_devices, box_cardiomegaly; or a catalog with the split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.annotate.tabular import read_table
from cxrdata.errors import CxrError, nearest
from cxrdata.harmonise.age import harmonise_age
from cxrdata.interop.predictions import Column, find_scores, scores_of
from cxrdata.splits.from_file import FileRows
from cxrdata.wording import counted
from cxrtrain.studies.case_study.design import (
    ADULT_TEST,
    CALIBRATION,
    CHILD_TEST,
    CHILDREN,
    DATASETS,
    FINDING,
    NAMES,
)
from cxrtrain.studies.case_study.files import LAYOUTS, File, check_models, dataset_of, find_files

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

KEY = ["dataset", "image_id"]
SPLIT = "age-bias"
SCHEMA = {
    "trained_on": pl.String, "blend": pl.Float64, "dataset": pl.String, "image_id": pl.String, "unit": pl.String,
    "part": pl.String, "probability": pl.Float64, "positive": pl.Boolean, "healthy": pl.Boolean, "age_years": pl.Float64,
    "age_low_years": pl.Float64, "age_high_years": pl.Float64, "view": pl.String, "devices": pl.Boolean,
    "boxed": pl.Boolean,
}  # fmt: skip
_PARTS = {
    "test_adult_calib": CALIBRATION, "calibration": CALIBRATION, "test_healthy_adult": ADULT_TEST, "test_peds": CHILD_TEST,
    "test_pediatric": CHILD_TEST, "train": None, "valid": None, "val": None,
}  # fmt: skip
_AGES = {"age_low_years": pl.Float64, "age_high_years": pl.Float64, "age_years": pl.Float64}
_OLDEST = 125  # years; a higher number is a mistake, as in the published code
_TRUE, _FALSE = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


@dataclass(frozen=True)
class Cases:
    """All predictions, of `SCHEMA`; sorted by model, blend, dataset and image. notes: what a reader must know."""

    frame: pl.DataFrame
    notes: list[str] = field(default_factory=list)


def read_cases(folder: Path, catalog: Catalog | None = None, *, split: str = SPLIT) -> Cases:
    """Everything that is predicted below a folder.

    catalog, split: who the images are, where the files do not tell. Raises CxrError: those of `find_files` and of reading a
    table; CXR-107 a column is missing; CXR-116 an unknown part; CXR-120 to CXR-123 scores; CXR-501 an unknown dataset;
    CXR-502 files that need a catalog.
    """
    frames, tested = [], []
    files, notes = find_files(folder)
    for file in files:
        with _told(file):
            table, said = read_table(file.path)
            theirs = "dset" in table.columns
            rows = _theirs(file, table) if theirs else _ours(file, table, catalog, split)
        notes += [f"{file.told}: {one}" for one in said]
        if theirs:
            tested.append((file, set(rows["dataset"])))
        frames.append(
            rows.with_columns(trained_on=pl.lit(file.trained_on), blend=pl.lit(file.blend)).select(
                pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()
            )
        )
    check_models(tested)
    whole = _with_truth(pl.concat(frames).sort("trained_on", "blend", *KEY), notes)
    _check_once(whole)
    if catalog is not None:
        whole = _with_boxes(whole, catalog)
    passed = whole.filter(pl.col("part").is_null() & ~pl.col("boxed").fill_null(value=False))
    if not passed.is_empty():
        notes.append(f"{counted(passed.height, 'prediction')} of images in no part that is judged, passed over")
    return Cases(whole.join(passed, on=["trained_on", "blend", *KEY], how="anti", maintain_order="left"), notes)


@contextmanager
def _told(file: File) -> Iterator[None]:
    """Errors name the file by its path below the folder: dozens may be called predictions.csv."""
    try:
        yield
    except CxrError as error:
        where = (error.where or file.told).replace(str(file.path), file.told)
        if not where.startswith(file.told):
            where = (
                f"{file.told.removesuffix(file.path.name)}{where}"
                if where.startswith(file.path.name)
                else f"{file.told}: {where}"
            )
        raise CxrError(error.code, error.problem, where=where, fix=error.fix) from error


def _with_truth(whole: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Whoever is healthy does not have the finding, also where that is left blank, as CheXpert's labeler leaves it. Of an image
    that is said to be healthy and to have it, neither is known."""
    both = pl.col("healthy").fill_null(value=False) & pl.col("positive").fill_null(value=False)
    if n := whole.filter(both).select(KEY).n_unique():
        notes.append(f"{counted(n, 'image')} said to be healthy and to have {FINDING}, left out")
    known = pl.when(~both).then(pl.col("healthy", "positive")).name.keep()
    return whole.with_columns(known).with_columns(
        positive=pl.when("healthy").then(pl.lit(value=False)).otherwise("positive")
    )


def _check_once(whole: pl.DataFrame) -> None:
    name = ["trained_on", "blend", *KEY]
    twice = whole.filter(~pl.struct(name).is_first_distinct())
    if not twice.is_empty():
        one = twice.row(0, named=True)
        more = f" ({twice.height - 1:,} more like it)" if twice.height > 1 else ""
        raise CxrError(
            "CXR-123",
            f"{one['dataset']}:{one['image_id']} is predicted twice by the model trained on {one['trained_on']}{more}",
            where=f"blend {one['blend']:g}",
            fix="leave one file of each model, dataset, part and blend in the folder",
        )


def _scores(file: File, table: pl.DataFrame) -> pl.Series:
    """The probability of the finding, of every row."""
    place = FileRows(file.path, table).place
    found = find_scores(table, lambda name: FINDING if name.lower() == FINDING else None, place).columns
    said: list[Column] = [one for one in found if one.said.lower() in (FINDING, "1")]
    if not said:
        raise CxrError(
            "CXR-120",
            f"no column of scores is of {FINDING}",
            where=file.told,
            fix=f"call it prob_{FINDING}; of class_probs the second is taken",
        )
    return scores_of(said[0], place, [])[0].alias("probability")


def _theirs(file: File, table: pl.DataFrame) -> pl.DataFrame:
    """A file of ped_vs_adults-cxr."""
    _need(file, table, ("split", "image_id", "class_probs"))
    named = {name.lower(): name for name in reversed(table.columns)}
    _need(file, table, ("age_years",) if "age" not in named else ())
    dataset = _datasets(file, table["dset"])
    years = table["age_years"].cast(pl.String) if "age_years" in table.columns else pl.Series([None] * table.height)
    said = table[named["age"]].cast(pl.String) if "age" in named else years
    # VinDr's ages are of DICOM (`004M`), more precise than the years that were made of them.
    ages = _ages(pl.select(pl.coalesce(said, years.cast(pl.String))).to_series())
    healthy = _flag(table, named, "no finding")
    if "has finding" in named:
        healthy = pl.select(pl.coalesce(healthy, ~_flag(table, named, "has finding"))).to_series()
    patient = next((named[one] for one in ("patientid", "patient_id") if one in named), None)
    unit = table[patient].cast(pl.String) if patient else table["image_id"].cast(pl.String)
    return pl.DataFrame(
        {
            "dataset": dataset,
            "image_id": table["image_id"].cast(pl.String),
            "part": _parts(file, table["split"], dataset),
            "probability": _scores(file, table.select("class_probs")),
            "positive": _flag(table, named, FINDING),
            "healthy": healthy,
            "view": table[named["view"]].cast(pl.String) if "view" in named else [None] * table.height,
            "devices": _flag(table, named, "support devices"),
            "boxed": pl.Series([None] * table.height, dtype=pl.Boolean),
        }
    ).with_columns(
        *ages, unit=pl.concat_str(pl.lit(dataset), pl.coalesce(unit, pl.col("image_id")), separator=":")
    )  # fmt: skip


def _ours(file: File, table: pl.DataFrame, catalog: Catalog | None, split: str) -> pl.DataFrame:
    """A file of `cxrdata predict`, or of anyone who calls the columns as it does."""
    _need(file, table, KEY)
    keyed = pl.DataFrame(
        {
            "dataset": _datasets(file, table["dataset"]),
            "image_id": table["image_id"].cast(pl.String),
            "probability": _scores(file, table.drop(FINDING, strict=False)),
        }
    )
    if "split" not in table.columns:
        if catalog is None:
            raise CxrError(
                "CXR-502",
                "the file says neither split nor truth, so a catalog is needed",
                where=file.told,
                fix="-c CATALOG --split NAME; or add the columns split, cardiomegaly, healthy, age_years",
            )
        return _of_catalog(keyed, catalog, split)
    _need(file, table, (FINDING, "healthy", "age_years"))
    named = {name: name for name in table.columns}
    ages = _ages(table["age_years"].cast(pl.String))
    patient = table["patient_id"].cast(pl.String) if "patient_id" in named else keyed["image_id"]
    return keyed.with_columns(
        *ages,
        part=_parts(file, table["split"], keyed["dataset"]),
        positive=_flag(table, named, FINDING),
        healthy=_flag(table, named, "healthy"),
        view=table["view"].cast(pl.String) if "view" in named else pl.lit(None, pl.String),
        devices=_flag(table, named, "support_devices"),
        boxed=_flag(table, named, "box_cardiomegaly"),
        unit=pl.concat_str("dataset", pl.coalesce(pl.lit(patient), pl.col("image_id")), separator=":"),
    )


def _of_catalog(keyed: pl.DataFrame, catalog: Catalog, split: str) -> pl.DataFrame:
    """Who the images are, from a catalog; an image of no part has none."""
    from cxrdata.splits.attributes import with_attributes

    parts = pl.DataFrame(catalog.split(split).select(*KEY, pl.col("split").alias("part"))).with_columns(
        pl.col("part").replace_strict(_PARTS, default=None, return_dtype=pl.String)
    )
    images = (
        catalog.table("images").select(*KEY, "patient_id", "age_years", "age_low_years", "age_high_years").collect()
    )
    rows = with_attributes(catalog, keyed, [FINDING, "healthy", "view", "support_devices"])
    rows = rows.join(parts, on=KEY, how="left", maintain_order="left").join(
        images, on=KEY, how="left", maintain_order="left"
    )
    return rows.with_columns(
        positive=pl.col(FINDING) == "positive",
        healthy=pl.col("healthy") == "healthy",
        devices=pl.col("support_devices") == "positive",
        boxed=pl.lit(None, pl.Boolean),
        unit=pl.concat_str("dataset", pl.coalesce("patient_id", "image_id"), separator=":"),
    )


def _with_boxes(whole: pl.DataFrame, catalog: Catalog) -> pl.DataFrame:
    """Children of VinDr-PCXR whose boxes name cardiomegaly: it has no such image label."""
    boxes = catalog.sql(
        "SELECT DISTINCT dataset, image_id, true AS _box FROM boxes WHERE dataset = $dataset AND finding = $finding",
        {"dataset": CHILDREN, "finding": FINDING},
    )
    drawn = pl.when(pl.col("dataset") == CHILDREN).then(pl.col("_box").fill_null(value=False))
    joined = whole.join(boxes, on=KEY, how="left", maintain_order="left")
    return joined.with_columns(boxed=pl.coalesce("boxed", drawn)).drop("_box")


def _need(file: File, table: pl.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        if name not in table.columns:
            raise CxrError(
                "CXR-107",
                f"the column {name!r} is missing{nearest(name, table.columns)}",
                where=file.told,
                fix=LAYOUTS,
            )


def _datasets(file: File, said: pl.Series) -> pl.Series:
    words = said.cast(pl.String)
    known = {one: dataset_of(str(one)) for one in words.unique().to_list()}
    strange = sorted((one for one, dataset in known.items() if dataset is None), key=str)
    if strange:
        raise CxrError(
            "CXR-501", f"no dataset of the study is called {strange[0]!r}", where=file.told, fix=", ".join(DATASETS)
        )
    return words.replace_strict(known, return_dtype=pl.String).alias("dataset")


def _parts(file: File, said: pl.Series, dataset: pl.Series) -> pl.Series:
    """The part of each row; VinDr-PCXR's `test` is the children's."""
    words = said.cast(pl.String)
    words = pl.select(
        pl.when((words == "test") & (dataset == CHILDREN)).then(pl.lit(CHILD_TEST)).otherwise(words)
    ).to_series()
    strange = sorted({one for one in words.drop_nulls().unique().to_list() if one not in _PARTS})
    if strange:
        raise CxrError(
            "CXR-116",
            f"the word {strange[0]!r} names no part of the study's split",
            where=f"{file.told} split",
            fix=f"parts: {', '.join(_PARTS)}; `test` for {NAMES[CHILDREN]} alone",
        )
    return words.replace_strict(_PARTS, default=None, return_dtype=pl.String).alias("part")


def _flag(table: pl.DataFrame, named: dict[str, str], name: str) -> pl.Series:
    """A column of yes and no; what is blank, -1 or anything else is not known, and never becomes positive."""
    if name not in named:
        return pl.Series(name, [None] * table.height, dtype=pl.Boolean)
    words = table[named[name]].cast(pl.String).str.strip_chars().str.to_lowercase()
    known = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
    return words.replace_strict(known, default=None, return_dtype=pl.Boolean).alias(name)


def _ages(said: pl.Series) -> list[pl.Series]:
    """Age and its range from words such as `004M`, `50`, `50.0`: a whole number is a completed age."""
    words = said.cast(pl.String).str.strip_chars().alias("age_raw").to_frame()
    dicom, years = (harmonise_age(words, form, {"maximum_years": _OLDEST}) for form in ("dicom", "years"))
    return [
        pl.select(pl.coalesce(dicom[name], years[name])).to_series().cast(dtype).alias(name)
        for name, dtype in _AGES.items()
    ]
