"""Anyone's output folders of the study's models: which file is of which model, and what they say, by key.

chexploration: disease/…/predictions.{val,test}.csv and embeddings.{val,test}.csv, race/…, sex/…; of the multi-task model
    predictions.test.{disease,sex,race}.csv. Columns class_i, logit_i, target_i, by position: the number of outputs says what they
    are, the path which model (multitask, split, white, male).
ours: MODEL/predictions.{val,test}.parquet, embeddings.test.parquet as `cxrdata predict` and `cxrdata embed` write them.

The path of `predictions` alone may say neither part: then it is the test. Embeddings of the validation part are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.interop.label_orders import CHEXPERT_LABELS
from cxrdata.interop.predictions import is_positional
from cxrdata.stages import sha256_file
from cxrdata.wording import slug
from cxrtrain.studies.chexploration import design
from cxrtrain.studies.chexploration.design import MODELS, TEST, VAL

if TYPE_CHECKING:
    from cxrdata.audit.truth import CatalogTruth

KEY = ["dataset", "image_id"]
PREDICTIONS, EMBEDDINGS = "predictions", "embeddings"
SUFFIXES = (".csv", ".csv.gz", ".parquet")
# Of a study's own folder: what its stages wrote is the same once more.
_STAGES = "stages"
_KINDS = re.compile(r"(pred|embed|features)", re.IGNORECASE)
_PART = re.compile(r"(?<![a-z])(train|val|valid|validation|test)(?![a-z])", re.IGNORECASE)
_PARTS = {"train": design.TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "test": TEST}
_PREFIX = re.compile(r"(?i)(?:prob|logit)_")
_DISEASE, _RACE, _SEX = design.DISEASE, design.RACE, design.SEX
_ABOUT = {
    **{slug(name): _DISEASE for name in CHEXPERT_LABELS},
    **{slug(name): _RACE for name in design.RACES},
    **dict.fromkeys(("m", "f", "male", "female"), _SEX),
}
_OUTPUTS = {len(CHEXPERT_LABELS): _DISEASE, len(design.RACES): _RACE, len(design.SEXES): _SEX}
_LAYOUTS = "see docs/studies/chexploration.md for what is read"


@dataclass(frozen=True)
class GivenFile:
    """told: its path below the folder. about: what it predicts: disease, race, sex; of features nothing. order: the keyed file whose
    rows those of a positional one are."""

    path: Path
    told: str
    kind: str
    part: str
    about: frozenset[str]
    positional: bool
    order: Path | None


@dataclass(frozen=True)
class Given:
    """files: by model, in the order of `MODELS`. notes: what was passed over."""

    files: dict[str, list[GivenFile]]
    notes: list[str]

    def digests(self, model: str) -> dict[str, str]:
        """SHA-256 of what is read for a model: its files, and the order of their rows."""
        found = {}
        for one in self.files[model]:
            found[one.told] = sha256_file(one.path)
            if one.order is not None:
                found[f"{one.told}, order"] = sha256_file(one.order)
        return found


def find_given(place: Path, orders: Sequence[Path] = (), tasks: Sequence[str] = MODELS) -> Given:
    """The files of the models `tasks` below a folder, or the one file.

    orders: keyed files whose rows positional files follow; one with `val` in its name is of the validation part. Raises
    CxrError: CXR-101 no such folder or file, CXR-120 no predictions of the study's models, CXR-502 two files of one thing.
    """
    by_part = {_part_of(one.name): one for one in orders}
    for path in (place, *orders):
        if not path.exists():
            fix = "--predictions DIR" if path == place else "--order FILE"
            raise CxrError("CXR-101", "there is no such file or folder", where=str(path), fix=fix)
    root = place.parent if place.is_file() else place
    notes: list[str] = []
    read = [
        one
        for path in ([place] if place.is_file() else sorted(place.rglob("*")))
        if _STAGES not in path.relative_to(root).parts[:-1]
        if (one := _given_file(path, path.relative_to(root).as_posix(), by_part, notes)) is not None
    ]
    # Features do not say what their model predicts: the predictions beside them do.
    beside = {one.path.parent: _model_of(one.told, one.about) for one in read if one.kind == PREDICTIONS}
    several = {folder for folder in beside if len({_model_of(one.told, one.about) for one in read if one.about and one.path.parent == folder}) > 1}  # fmt: skip
    files: dict[str, list[GivenFile]] = {model: [] for model in MODELS}
    for one in read:
        folder = one.path.parent
        known = folder in beside and folder not in several and one.kind == EMBEDDINGS
        model = beside[folder] if known else _model_of(one.told, one.about)
        if model is None:
            notes.append(f"{one.told}: neither path nor columns say which model it is of; passed over")
        elif model in tasks:
            files[model].append(one)
    found = {model: own for model, own in files.items() if any(one.part == TEST and one.about for one in own)}
    for model, own in found.items():
        _check_once(model, own)
    if not found:
        raise CxrError(
            "CXR-120",
            "no file here holds predictions of the test part by a model of this study",
            where=str(place),
            fix=f"call them MODEL/predictions.test.csv, MODEL one of {', '.join(tasks)}; {_LAYOUTS}",
        )
    return Given(found, notes)


def _given_file(path: Path, told: str, orders: dict[str, Path], notes: list[str]) -> GivenFile | None:
    """What a file is, or None where it is neither predictions nor features of a part that is looked at."""
    name = path.name.lower()
    if not path.is_file() or not name.endswith(SUFFIXES) or name.endswith(".keys.csv"):
        return None
    said = _KINDS.search(name)
    stem = name.partition(".")[0]
    if said is None and stem not in MODELS:
        return None
    kind = PREDICTIONS if said is None or said[1].lower() == "pred" else EMBEDDINGS
    part = _part_of(path.name)
    if part == design.TRAIN or (kind == EMBEDDINGS and part != TEST):
        return None
    head = _head(path)
    positional = kind == EMBEDDINGS or is_positional(head)
    beside = path.with_name(f"{path.name.removesuffix('.gz').rpartition('.')[0]}.keys.csv")
    order = beside if beside.is_file() else orders.get(part)
    if kind == PREDICTIONS and positional and part == VAL and order is None:
        notes.append(f"{told}: named by position, and no --order with `val` in its name; passed over")
        return None
    about = _about(head) if kind == PREDICTIONS else frozenset[str]()
    return GivenFile(path, told, kind, part, about, positional, order if positional else None)


def _part_of(name: str) -> str:
    said = _PART.search(name)
    return _PARTS[said[1].lower()] if said else TEST


def _head(path: Path) -> pl.DataFrame:
    """The columns of a file, without rows. Raises CxrError CXR-103 where it is none."""
    try:
        if path.suffix == ".parquet":
            return pl.DataFrame(schema=pl.read_parquet_schema(path))
        return pl.read_csv(path, n_rows=0)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CxrError("CXR-103", "this is no table", where=str(path), fix="predict these images again") from error


def _about(head: pl.DataFrame) -> frozenset[str]:
    """What a file of predictions is about, by the number of its outputs, or by their names."""
    if is_positional(head):
        outputs = sum(name.startswith("class_") for name in head.columns)
        return frozenset({_OUTPUTS[outputs]} if outputs in _OUTPUTS else ())
    names = (slug(_PREFIX.sub("", name)) for name in head.columns)
    return frozenset(_ABOUT[name] for name in names if name in _ABOUT)


def _model_of(told: str, about: frozenset[str]) -> str | None:
    """The model that a path and what its file predicts speak of."""
    words = re.split(r"[^a-z]+", told.lower())
    if design.MULTITASK in words or {"multi", "task"} <= set(words) or len(about) > 1:
        return design.MULTITASK
    what = next(iter(about), None) or next((word for word in (_DISEASE, _RACE, _SEX) if word in words), None)
    if what == _DISEASE:
        return design.WHITE if "white" in words else design.MALE if "male" in words else what
    return f"split-{what}" if what and "split" in words else what


def _check_once(model: str, own: list[GivenFile]) -> None:
    seen: dict[tuple[str, str, frozenset[str]], str] = {}
    for one in own:
        key = (one.kind, one.part, one.about)
        if key in seen:
            raise CxrError(
                "CXR-502",
                f"{seen[key]} and {one.told} both hold {one.kind} of the {design.SAID[model]} for the part {one.part}",
                fix="name the folder of one experiment with --predictions, such as that of one backbone",
            )
        seen[key] = one.told


def write_keyed(files: Sequence[GivenFile], source: CatalogTruth, folder: Path) -> list[str]:
    """What a model's files say, by key: predictions.{val,test}.parquet (dataset, image_id, prob_…) and embeddings.test.parquet
    (dataset, image_id, embedding) into a folder. Returns notes.

    Raises CxrError: those of `read_predictions` and `read_embeddings`; CXR-126 rows of another order; CXR-502 several runs.
    """
    from cxrdata.explore.embeddings import read_embeddings

    notes: list[str] = []
    for part in (VAL, TEST):
        parts = [one for one in files if (one.kind, one.part) == (PREDICTIONS, part)]
        frames = [_predictions(one, source, notes) for one in parts]
        if frames:
            _together(frames, notes, parts).write_parquet(folder / f"{PREDICTIONS}.{part}.parquet")
    for one in files:
        if one.kind == EMBEDDINGS:
            found = read_embeddings(one.path, source, order=one.order)
            notes += [f"{one.told}: {text}" for text in found.notes]
            features = pl.Series("embedding", found.features)
            found.keys.with_columns(features).write_parquet(folder / f"{EMBEDDINGS}.{one.part}.parquet")
    return notes


def _predictions(one: GivenFile, source: CatalogTruth, notes: list[str]) -> pl.DataFrame:
    from cxrdata.audit.predictions import Table, read_predictions
    from cxrdata.explore.order import check_order

    order = None if one.order is None else Table.of(one.order)
    models = read_predictions(Table.of(one.path), source, order=order)
    if len(models) > 1:
        said = ", ".join(model.name for model in models)
        raise CxrError(
            "CXR-502", f"the file holds predictions of several runs: {said}", where=one.told, fix="one model a folder"
        )
    (model,) = models
    if one.positional:
        check_order(one.told, model.targets, source)
    notes += [f"{one.told}: {text}" for text in model.notes]
    return model.frame.rename({label: f"prob_{slug(label)}" for label in model.labels})


def _together(frames: list[pl.DataFrame], notes: list[str], files: Sequence[GivenFile]) -> pl.DataFrame:
    """The heads of a multi-task model side by side, on the images that all of them predict."""
    whole = frames[0]
    for frame in frames[1:]:
        joined = whole.join(frame, on=KEY, how="inner", maintain_order="left")
        if (lost := max(whole.height, frame.height) - joined.height) > 0:
            notes.append(f"{files[0].told}: {lost:,} images that not all heads predict left out")
        whole = joined
    return whole
