"""Anyone's test predictions, each model's brought into one form: keys, truth and probabilities in one file.

    dataset, image_id, patient_id, race, <finding> …, prob_<class or finding> …

so that `cxrdata audit FILE --truth-from FILE` judges it, here and anywhere. Truth is the file's own where it brings one along,
else the catalog's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.audit.names import LabelNames
from cxrdata.audit.policies import Policy
from cxrdata.audit.predictions import Predictions, Table, read_predictions
from cxrdata.audit.truth import CatalogTruth
from cxrdata.errors import CxrError
from cxrdata.interop.predictions import Column, Found, find_scores, is_positional, scores_of
from cxrdata.stages import sha256_file
from cxrdata.vocabularies import Vocabularies
from cxrdata.wording import counted
from cxrtrain.probe.rows import SCHEMA as PROBE
from cxrtrain.studies.implicit_attributes.design import ATTRIBUTE, DATASET, LABELER, RACES, Model

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

_SUFFIXES = (".csv", ".csv.gz", ".parquet")
_TRUTH = "_gt"
# Of a study's own folder: what its stages wrote is the same once more.
_STAGES = "stages"
_UNITS = "-units"  # the end of the name of a probe's table
# Names of files that say nothing of the model: then its folder does.
_PLAIN = {"predictions", "predictions.test", "test_predict_probability", "test", "preds"}
_KEYS = ("image_id", "image_uid", "path", "path_preproc", "image", "image index")
_PATIENTS = ("patient_id", "patient", "patientid", "subject_id")
_NOT_TEST = re.compile(r"(?<![a-z])(train|val|valid|validation)(?![a-z])", re.IGNORECASE)
_NO_PREDICTIONS = ("CXR-102", "CXR-111", "CXR-120")  # empty, a header alone, other columns
_POLICY = "zeros"  # as the models are trained


@dataclass(frozen=True)
class Predicted:
    """One model. frame: as this module says; labels: what it predicts, races first in the order of the outputs."""

    model: Model
    frame: pl.DataFrame
    labels: tuple[str, ...]


@dataclass
class Read:
    """What the files hold. probes: rows of `cxrdata probe` with the model's name in front."""

    models: list[Predicted] = field(default_factory=list)
    probes: list[pl.DataFrame] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_files(place: Path) -> dict[str, Path]:
    """The tables of a folder, or the file itself, by the model's name. Raises CxrError: CXR-101 no such place, CXR-120 no table."""
    if not place.exists():
        raise CxrError(
            "CXR-101",
            "this file or folder does not exist",
            where=str(place),
            fix="name the predictions, a file a model",
        )
    files = (
        [place]
        if place.is_file()
        else sorted(
            path for path in place.rglob("*") if path.is_file() and _STAGES not in path.relative_to(place).parts[:-1]
        )
    )
    tables = [path for path in files if path.name.lower().endswith(_SUFFIXES)]
    if not tables:
        raise CxrError(
            "CXR-120",
            "there is no CSV or Parquet file here",
            where=str(place),
            fix="name the predictions: a CSV or Parquet file a model",
        )
    names: dict[str, Path] = {}
    for path in tables:
        stem = _stem(path)
        name = path.parent.name if stem.lower() in _PLAIN and path != place else stem
        if name in names or not name:
            name = str(path.relative_to(place).with_name(stem)).replace("/", "-")
        names[name] = path
    return names


def digests(place: Path, order: Path | None) -> dict[str, str]:
    """SHA-256 of each file, and of that of their order, by name. Raises as `find_files`, CXR-101."""
    found = {name: sha256_file(path) for name, path in find_files(place).items()}
    if order is not None:
        if not order.is_file():
            raise CxrError("CXR-101", "this file does not exist", where=str(order), fix="name the file of --order")
        found["--order"] = sha256_file(order)
    return found


def read_files(
    place: Path,
    order: Path | None = None,
    catalog: Catalog | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Read:
    """Every model. order: the keyed file whose rows those of files without keys are.

    Raises CxrError: CXR-120 no file holds predictions; CXR-121, CXR-122 scores that are none; CXR-124 the truth is nowhere;
    CXR-126 an order of another length; CXR-517 rows that name no image and bring no truth.
    """
    found = Read()
    files = find_files(place)
    keyed = None if order is None else Table.of(order)
    for name, path in files.items():
        tell(name)
        if len(files) > 1 and _NOT_TEST.search(_stem(path)):
            found.notes.append(f"{path.name} passed over: by its name it is of another part than the test")
            continue
        try:
            table = Table.of(path)
            if set(PROBE) <= set(table.frame.columns):
                found.probes.append(_probe(table.frame, name.removesuffix(_UNITS)))
                continue
            one = _model(table, name, keyed, catalog, found.notes)
        except CxrError as error:
            if error.code not in _NO_PREDICTIONS or len(files) == 1:
                raise
            found.notes.append(f"{path.name} passed over: {error.problem}")
            continue
        found.models.append(one)
    if not found.models and not found.probes:
        raise CxrError(
            "CXR-120",
            f"none of {counted(len(files), 'file')} holds predictions of race or findings",
            where=str(place),
            fix="columns White, Asian, Black beside White_gt, …; or prob_White, …, prob_<finding> beside an image key",
        )
    found.models.sort(key=lambda one: one.model.name)
    return found


def _model(table: Table, name: str, order: Table | None, catalog: Catalog | None, notes: list[str]) -> Predicted:
    own = _own_truth(table, order, notes)
    if own is None:
        if catalog is None:
            if is_positional(table.frame):
                raise CxrError(
                    "CXR-517",
                    "the rows name no image and bring no truth along",
                    where=table.name,
                    fix="name the file whose rows these are (--order FILE) and a catalog that has the images (-c CATALOG)",
                )
            raise CxrError(
                "CXR-124",
                "nothing says what is true of the predicted images",
                where=table.name,
                fix="name a catalog that has them (-c CATALOG), or add columns: race, or a finding's 1 and 0, beside its prob_…",
            )
        own = _of_catalog(table, order, catalog, notes)
    labels = [column.removeprefix("prob_") for column in own.columns if column.startswith("prob_")]
    races = [one for one in RACES if one in labels]
    return Predicted(Model.of(name), own, (*races, *(one for one in labels if one not in races)))


def _own_truth(table: Table, order: Table | None, notes: list[str]) -> pl.DataFrame | None:
    """The form of this module, of a file that brings truth along; None where it brings none. Raises CxrError CXR-120."""
    frame, find = table.frame, _names().find
    scored, targets = _scores(table, find)
    labels = {column.said: find(column.said) for column in scored.columns}
    scores = {
        label: scores_of(column, table.place, notes)[0].alias(f"prob_{label}")
        for column in scored.columns
        if (label := labels[column.said]) is not None
    }
    if not scores:
        raise CxrError(
            "CXR-120",
            "no column is called as a race or a finding is",
            where=table.name,
            fix="call the columns White, Asian, Black, or prob_<finding>",
        )
    races = [label for label in scores if label in RACES]
    truth: dict[str, pl.Series] = {}
    for label in scores:
        if label not in races and (known := targets.get(label)) is not None:
            truth[label] = (known.cast(pl.Float64, strict=False).fill_nan(None) == 1).cast(pl.Int8).alias(label)
    if races and (said := _race(frame, races, targets, table.name)) is not None:
        truth = {ATTRIBUTE: said} | truth
    if not truth:
        return None
    if order is not None and order.frame.height != frame.height:
        raise CxrError(
            "CXR-126",
            f"{table.name} has {counted(frame.height, 'row')}, and the file with their order {order.frame.height:,}",
            where=order.name,
            fix="name the very file that was predicted; a filtered one is another order",
        )
    scored_names = {column.name for column in scored.columns}
    bare = [] if not any(name.endswith(_TRUTH) for name in frame.columns) else [name for name in frame.columns if name not in scored_names and find(name) is not None]  # fmt: skip
    unknown = [said for said, label in labels.items() if label is None]
    for names, why in ((bare, "without truth"), (unknown, "neither a race nor a finding")):
        if names:
            notes.append(f"{table.name}: {why}, so not judged: {', '.join(names)}")
    keys = _keys(frame if _column(frame, _KEYS) else frame if order is None else order.frame)
    kept = [label for label in scores if label in truth or (label in races and ATTRIBUTE in truth)]
    if dropped := [label for label in scores if label not in kept]:
        notes.append(f"{table.name}: without truth, so not judged: {', '.join(dropped)}")
    return keys.hstack([*truth.values(), *(scores[label] for label in kept)])


def _scores(table: Table, find: Callable[[str], str | None]) -> tuple[Found, dict[str, pl.Series]]:
    """The columns of scores, and the file's own truth by label."""
    frame = table.frame
    given = [name for name in frame.columns if f"{name}{_TRUTH}" in frame.columns]
    if given:
        columns = [Column(name, name, frame[name], None) for name in given]
        own = {label: frame[f"{name}{_TRUTH}"] for name in given if (label := find(name)) is not None}
        return Found("_gt", columns), own
    found = find_scores(frame, find, table.place)
    targets = {
        label: one.target for one in found.columns if one.target is not None and (label := find(one.said)) is not None
    }
    taken = {column.name for column in found.columns}
    for name in frame.columns:
        label = find(name)
        if label is not None and name not in taken and label not in RACES:
            targets.setdefault(label, frame[name])
    return found, targets


def _race(frame: pl.DataFrame, races: Sequence[str], targets: dict[str, pl.Series], place: str) -> pl.Series | None:
    """The true race by name: of a column `race`, or the one of the races whose truth is 1. Another race is not known here."""
    if (named := _column(frame, (ATTRIBUTE,))) is not None:
        values = frame[named].cast(pl.String)
        return values.set(~values.is_in(races), None).alias(ATTRIBUTE)
    if not all(one in targets for one in races):
        return None
    said = pl.DataFrame({one: targets[one].cast(pl.Float64, strict=False) == 1 for one in races})
    several = said.select(pl.sum_horizontal(races).fill_null(0) > 1).to_series()
    if several.any():
        raise CxrError(
            "CXR-121",
            f"{counted(int(several.sum()), 'row')} with several true races",
            where=f"{place}:{several.arg_true()[0] + 2}",
            fix=f"one of {', '.join(f'{one}{_TRUTH}' for one in races)} is 1, the others are 0",
        )
    first = pl.coalesce(pl.when(pl.col(one)).then(pl.lit(one)) for one in races)
    return said.select(first.alias(ATTRIBUTE)).to_series()


def _keys(frame: pl.DataFrame) -> pl.DataFrame:
    """dataset, image_id, patient_id. Where nothing names the image, its row does; no patient: null."""
    image, patient = _column(frame, _KEYS), _column(frame, _PATIENTS)
    dataset = _column(frame, ("dataset",))
    rows = pl.format("row {}", pl.int_range(1, pl.len() + 1))
    return frame.select(
        (pl.col(dataset).cast(pl.String) if dataset else pl.lit("file")).alias("dataset"),
        (pl.col(image).cast(pl.String) if image else rows).alias("image_id"),
        (pl.col(patient).cast(pl.String) if patient else pl.lit(None, pl.String)).alias("patient_id"),
    )


def _of_catalog(table: Table, order: Table | None, catalog: Catalog, notes: list[str]) -> pl.DataFrame:
    """The form of this module, with the truth of a catalog, as `implicit-disease` reads it."""
    from cxrdata.audit.assemble import check_targets

    source = CatalogTruth(catalog, datasets=[DATASET], labeler=LABELER)
    found = read_predictions(table, source, order=order)
    if len(found) > 1:
        raise CxrError(
            "CXR-120", f"the file holds {counted(len(found), 'run')}", where=table.name, fix="write a file a model"
        )
    (model,) = found
    notes += [f"{table.name}: {note}" for note in model.notes]
    images = model.frame.select("dataset", "image_id", weight=pl.lit(1.0))
    judged = source.judged(images, model.labels, [ATTRIBUTE], Policy.read(_POLICY), None)
    check_targets([model], judged)
    patients = catalog.table("images").select("dataset", "image_id", "patient_id").collect()
    keys = judged.frame.select("dataset", "image_id")
    rows = keys.join(patients, on=["dataset", "image_id"], how="left", maintain_order="left")
    races = [label for label in model.labels if label in RACES]
    truth = [
        judged.states[label].cast(pl.Int8).alias(label)
        for label in model.labels
        if label not in races and judged.states[label].is_not_null().any()
    ]
    if races:
        truth.insert(0, judged.groups[ATTRIBUTE].set(~judged.groups[ATTRIBUTE].is_in(races), None).alias(ATTRIBUTE))
    known = [one.name for one in truth]
    kept = [label for label in model.labels if label in races or label in known]
    if dropped := [label for label in model.labels if label not in kept]:
        notes.append(f"{table.name}: without truth, so not judged: {', '.join(dropped)}")
    return rows.hstack(truth).hstack(_probabilities(model, keys, kept))


def _probabilities(model: Predictions, keys: pl.DataFrame, labels: Sequence[str]) -> list[pl.Series]:
    rows = keys.join(model.frame, on=["dataset", "image_id"], how="left", maintain_order="left")
    return [rows[label].alias(f"prob_{label}") for label in labels]


def _probe(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    rows = frame.select(pl.col(column).cast(dtype) for column, dtype in PROBE.items())
    return rows.select(pl.lit(name).alias("model"), pl.all())


def _names() -> LabelNames:
    words = Vocabularies.load()
    races = words.race["race"].drop_nulls().unique().sort().to_list()
    return LabelNames.of(words.finding_names, words.label_map, races, [DATASET])


def _column(frame: pl.DataFrame, names: Sequence[str]) -> str | None:
    called = {column.lower(): column for column in reversed(frame.columns)}
    return next((called[name] for name in names if name in called), None)


def _stem(path: Path) -> str:
    return next(path.name[: -len(suffix)] for suffix in _SUFFIXES if path.name.lower().endswith(suffix))
