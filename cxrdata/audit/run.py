"""An audit from end to end: read, match, judge, compute."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.audit.assemble import ages_of, check_targets, confusion, coverage, in_common, scored, together
from cxrdata.audit.calibration import Calibration, calibrate
from cxrdata.audit.data import Scored
from cxrdata.audit.metrics import NEED_THRESHOLD
from cxrdata.audit.policies import OTHERS, Policy
from cxrdata.audit.predictions import Predictions, Table, read_predictions
from cxrdata.audit.request import BY_LABEL, DEFAULT_METRICS, AuditRequest
from cxrdata.audit.result import Audit
from cxrdata.audit.trend import age_trend
from cxrdata.audit.truth import AMONG, CatalogTruth, Judged, TruthSource
from cxrdata.audit.truth_file import FileTruth
from cxrdata.errors import CxrError, nearest
from cxrdata.small_cells import MIN_CELL
from cxrdata.splits.attributes import SCHEME
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

PathLike = str | os.PathLike[str]
TEST = "test"
_MOST_LEFT_OUT = 3


def audit(
    *,
    predictions: PathLike | Sequence[PathLike] | Mapping[str, Any] | Any,  # noqa: ANN401 - frames of any library
    catalog: Catalog | PathLike | None = None,
    truth_from: PathLike | None = None,
    dataset: str | Sequence[str] = (),
    split: str | None = None,
    labels: Sequence[str] = (),
    by: Sequence[str] = (),
    cross: Sequence[str] | Sequence[Sequence[str]] = (),
    truth: str | None = None,
    policy: str | Mapping[str, str] = OTHERS,
    among: str | None = None,
    calibrate_on: PathLike | None = None,
    threshold: str | float | None = None,
    threshold_by: str | None = None,
    rederive: bool = False,
    allow_shared_patients: bool = False,
    metrics: Sequence[str] = (),
    bootstrap: int = 2000,
    interval: str = "percentile",
    stratify: str | None = None,
    rates: str = "bootstrap",
    auroc: str = "bootstrap",
    permutations: int = 0,
    adjust: str = "none",
    min_cell: int = MIN_CELL,
    compare: bool = False,
    trend: bool = False,
    order: PathLike | None = None,
    key: str | None = None,
    seed: int = 0,
    threads: int = 2,
) -> Audit:
    """How one or several models treat each group, with intervals by patient.

    predictions: CSV or Parquet files with an image key and a column of scores a label; or a frame (polars, pandas, Arrow), or
    several as model name -> frame. Truth and groups come from the
    catalog (a `Catalog`, its folder, or None for the default one), or from a file, `truth_from`, without any catalog.
    dataset, split (`NAME` or `NAME:PART`; NAME alone is its test part), labels: restrict. by: attributes as in `split`
    (race, sex, age_group:SCHEME, view, dataset, …). cross: attributes whose combinations are groups too, or several such
    lists. truth: a labeler; None: the one that each dataset prefers. policy: what becomes of uncertain and unmentioned
    labels, `raw`, `zeros`, `ones`, `ignore`, by label, or a TOML file of it. among: `healthy` judges healthy images alone.

    threshold: `youden`, `f1`, `fpr=0.2`, `tpr=0.9` or a number; None: only metrics without one. calibrate_on: a file of
    the same model's predictions, or a part of a split, on which the threshold is chosen; None: on the images it is
    judged on, with a warning. trend: also how false positives go with age, over the age groups that `by` names, else over
    decades (needs the extra `[stats]`). The others: see `AuditRequest`.

    Raises CxrError: CXR-120 to CXR-128 for what the files hold, CXR-501, CXR-502 for names and wishes that do not fit, and
    those of reading a table.
    """
    labels, by, metrics = (_names(one) for one in (labels, by, metrics))
    source = _source(catalog, truth_from, dataset, truth)
    wish = Policy.read(policy)
    models = _models(source, _tables(predictions), labels, order, key, compare=compare)
    wanted = _labels(source, models, labels)
    crossings = _crossings(cross)
    strata = [stratify] if stratify and stratify != BY_LABEL else []
    shown = list(dict.fromkeys([*by, *([threshold_by] if threshold_by else []), *strata]))
    attributes = list(dict.fromkeys([*shown, *(name for one in crossings for name in one)]))
    images, remarks = _images(source, models, split)
    whole = source.judged(images, wanted, attributes, wish, None)
    judged = whole if among is None else _among(source, images, wanted, attributes, wish, among)
    if among is not None and judged.frame.height < images.height:
        out = images.height - judged.frame.height
        remarks = [*remarks, f"{counted(out, 'predicted image')} of {images.height:,} not {among} and left out"]
    tests = scored(models, judged, wanted, by=shown, cross=crossings)
    _check_labels(wanted, tests, models, explicit=bool(labels))
    check_targets(models, whole)
    calibration = calibrate(
        Calibration(source, models, whole, wanted, wish, threshold_by, key),
        threshold=None if threshold is None else str(threshold),
        on=calibrate_on,
        among=among,
        allow_shared_patients=allow_shared_patients,
    )
    from cxrdata.audit.engine import evaluate

    request = AuditRequest(
        metrics=_metrics(metrics, threshold),
        threshold=None if threshold is None else str(threshold),
        threshold_by=threshold_by,
        calibration=calibration.scored,
        rederive=rederive,
        bootstrap=bootstrap,
        interval=interval,
        stratify=stratify,
        rates=rates,
        auroc=auroc,
        permutations=permutations,
        adjust=adjust,
        min_cell=min_cell,
        compare=compare,
        seed=seed,
        threads=threads,
    )
    if rederive and (request.rule is None or request.rule.kind == "fixed"):
        raise CxrError("CXR-502", "there is no threshold to choose anew", fix="--threshold youden, or no --rederive")
    notes = [note if len(models) == 1 else f"{model.name}: {note}" for model in models for note in model.notes]
    notes += [*remarks, *_left_open(wanted, tests, judged), *calibration.notes]
    rows = [evaluate(tests, request)]
    if trend:
        edges = _age_edges(source, attributes)
        rows += [age_trend(one, ages_of(one, models, judged), request, edges=edges) for one in tests]
    classes = confusion(tests, judged.classes)
    beyond = request.rule is not None and request.rule.kind == "fixed" and not 0 <= float(str(threshold)) <= 1
    if beyond and any(one.probabilities for one in tests):
        notes.append(f"the threshold {threshold} lies outside [0, 1], where all probabilities are on one side of it")
    frame = pl.concat(rows)
    if judged.frame.height and judged.without_patient == judged.frame.height:  # the unit is then the image
        frame = frame.with_columns(pl.col("method").str.replace_all("patient", "image", literal=True))
    return Audit(frame, judged.left_out, calibration.warnings, notes, classes, tests, min_cell)


def _names(given: Any) -> Any:  # noqa: ANN401
    """One name, from Python, is a list of one."""
    return (given,) if isinstance(given, str) else given


def _age_edges(source: TruthSource, attributes: Sequence[str]) -> list[float]:
    """The bounds of the first scheme of age groups among the attributes, else of decades."""
    schemes = source.age_groups()
    named = [name.removeprefix(SCHEME) for name in attributes if name.startswith(SCHEME)]
    groups = schemes.filter(scheme=next((name for name in named if schemes.filter(scheme=name).height > 2), "decades"))
    last = groups["high_years"][-1]
    return [*groups["low_years"].to_list(), math.inf if last is None else last]


def _source(
    catalog: Catalog | PathLike | None, truth_from: PathLike | None, dataset: str | Sequence[str], truth: str | None
) -> TruthSource:
    """Where truth comes from. Raises CxrError CXR-502 where a file and a catalog are both asked."""
    if truth_from is not None:
        if dataset or truth:
            raise CxrError(
                "CXR-502",
                "the truth comes from a file, which has neither datasets nor labelers",
                fix="leave --dataset and --truth out, or --truth-from",
            )
        return FileTruth(Path(truth_from))
    from cxrdata.store.catalog import Catalog, open_catalog

    opened = catalog if isinstance(catalog, Catalog) else open_catalog(catalog)
    return CatalogTruth(opened, datasets=[dataset] if isinstance(dataset, str) else dataset, labeler=truth)


def _tables(predictions: Any) -> list[Table]:  # noqa: ANN401
    """Files or frames, as `audit` takes them, as tables."""
    if isinstance(predictions, Mapping):
        return [Table.of(frame, name) for name, frame in predictions.items()]
    several = isinstance(predictions, list | tuple)
    if several and not predictions:
        raise CxrError("CXR-502", "there are no predictions to audit", fix="name a file, or give a frame")
    return [Table.of(one) for one in (predictions if several else [predictions])]


def _models(
    source: TruthSource,
    tables: list[Table],
    labels: Sequence[str],
    order: PathLike | None,
    key: str | None,
    *,
    compare: bool,
) -> list[Predictions]:
    """All models of all files, each by a name of its own. Raises CxrError CXR-502 for one model that is to be compared."""
    by = Table.of(order) if order is not None else None
    read = [model for one in tables for model in read_predictions(one, source, labels=labels, order=by, key=key)]
    models: list[Predictions] = []
    for model in read:
        taken = sum(one.name == model.name or one.name.startswith(f"{model.name} (") for one in models)
        models.append(replace(model, name=f"{model.name} ({taken + 1})") if taken else model)
    if not compare:
        return models
    if len(models) < 2:
        raise CxrError("CXR-502", "one model cannot be compared", fix="name a second file of predictions")
    return in_common(models)


def _crossings(cross: Sequence[str] | Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """One list of attributes, or several, as several. Raises CxrError CXR-502 for a list of one."""
    several = [
        tuple(one for one in cross if isinstance(one, str)),
        *(tuple(one) for one in cross if not isinstance(one, str)),
    ]
    found = [one for one in several if one]
    if any(len(one) < 2 for one in found):
        raise CxrError(
            "CXR-502",
            "one attribute makes no combinations",
            fix="name two, such as --cross race,sex; one alone with --by",
        )
    return found


def _labels(source: TruthSource, models: list[Predictions], asked: Sequence[str]) -> list[str]:
    """The labels to audit. Raises CxrError CXR-501 for one that no model predicts."""
    predicted = list(dict.fromkeys(label for model in models for label in model.labels))
    if not asked:
        return predicted
    names = source.names(together(models)["dataset"].unique().to_list())
    wanted = []
    for name in asked:
        label = names.find(name)
        if label not in predicted:
            problem = f"no model predicts {name!r}{nearest(name, predicted)}"
            raise CxrError("CXR-501", problem, fix=f"labels that are predicted: {', '.join(predicted)}")
        wanted.append(str(label))
    return list(dict.fromkeys(wanted))


def _images(source: TruthSource, models: list[Predictions], split: str | None) -> tuple[pl.DataFrame, list[str]]:
    """The images to judge with their weights, and what was left over on either side. Raises CxrError CXR-125 for none."""
    if split is not None:
        wanted, what = source.subset(split, (TEST,)), f"the split {split}"
    else:
        datasets = together(models)["dataset"].unique().sort().to_list()
        everything = source.everything().filter(pl.col("dataset").is_in(datasets))
        wanted, what = everything.with_columns(weight=pl.lit(1.0)), " and ".join(datasets)
    images, notes = coverage(models, wanted, what)
    if images.is_empty():
        raise CxrError(
            "CXR-125", f"no image of {what} is predicted", fix="name the split, and the part of it, that was predicted"
        )
    return images, notes


def _among(
    source: TruthSource, images: pl.DataFrame, labels: list[str], attributes: list[str], policy: Policy, among: str
) -> Judged:
    """The healthy images alone. Raises CxrError: CXR-125 none, CXR-501 another word than `healthy`."""
    if among not in AMONG:
        raise CxrError(
            "CXR-501", f"nobody is asked for as {among!r}{nearest(among, list(AMONG))}", fix="--among healthy"
        )
    judged = source.judged(images, labels, attributes, policy, among)
    if judged.frame.is_empty():
        raise CxrError(
            "CXR-125",
            f"none of {counted(images.height, 'predicted image')} is healthy",
            fix="leave --among out; `cxrdata describe healthy` says what counts as healthy",
        )
    return judged


def _check_labels(wanted: list[str], tests: list[Scored], models: list[Predictions], *, explicit: bool) -> None:
    """Raise CxrError CXR-124 where a label that was asked for, or every label, has no truth."""
    judged = {one.label for one in tests}
    without = [label for label in wanted if label not in judged]
    if without and (explicit or not judged):
        datasets = ", ".join(together(models)["dataset"].unique().sort().to_list())
        raise CxrError(
            "CXR-124",
            f"the truth of {', '.join(without)} is known of no predicted image of {datasets}",
            fix="ask for other --labels, another --truth, or another --policy (ignore leaves uncertain and unmentioned ones out)",
        )


def _left_open(wanted: list[str], tests: list[Scored], judged: Judged) -> list[str]:
    """What a reader must know of the images that are not in the rows."""
    known = {one.label for one in tests}
    notes = []
    if without := [label for label in wanted if label not in known]:
        notes.append(f"without truth, so not judged: {', '.join(without)}")
    by_reason = judged.left_out.filter(pl.col("label").is_in(list(known))).sort(
        "images", descending=True, maintain_order=True
    )
    for reason, part in by_reason.group_by("reason", maintain_order=True):
        told = ", ".join(
            f"{label} {n:,}" for label, n in part.head(_MOST_LEFT_OUT).select("label", "images").iter_rows()
        )
        more = f" and {part.height - _MOST_LEFT_OUT} more labels" if part.height > _MOST_LEFT_OUT else ""
        notes.append(f"images left out as {reason[0]}: {told}{more}")
    for name in judged.groups.columns:
        unknown = judged.groups[name].null_count()
        if unknown:
            notes.append(f"{name} is unknown of {counted(unknown, 'image')}: in the overall rows alone")
    if judged.without_patient:
        problem = f"{counted(judged.without_patient, 'image')} of {judged.frame.height:,} without a patient id"
        notes.append(f"{problem}: the bootstrap redraws images there, so the intervals are too narrow")
    return notes


def _metrics(metrics: Sequence[str], threshold: object) -> tuple[str, ...]:
    """The metrics asked for; by default all, without a threshold those that need none."""
    if metrics:
        return tuple(metrics)
    return tuple(name for name in DEFAULT_METRICS if threshold is not None or name not in NEED_THRESHOLD)
