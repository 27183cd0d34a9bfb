"""What the heads of an experiment are to put out, for any images of a catalog. Runs where the catalog is, with polars.

A target that is not known is null and has a reason: not assessed, left open by the policy, or neither side of the question.
It is never taken for a negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.sources.base import NEGATIVE, POSITIVE, UNCERTAIN
from cxrdata.splits.attributes import health_of, with_attributes
from cxrtrain.bundle import KEY, HeadTargets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrdata.store.catalog import Catalog
    from cxrtrain.config import HeadConfig

LOSS_OF_KIND = {"binary": "bce", "multilabel": "bce", "classes": "ce", "regression": "mse"}
_LABELER = "labeler"


@dataclass(frozen=True)
class Targets:
    """The targets of one head. frame: the columns of `head`, in the order of the images that were asked for, null where not
    known. reasons: why nothing is known of an image; null where something is."""

    head: HeadTargets
    frame: pl.DataFrame
    reasons: pl.Series

    @property
    def known(self) -> pl.Series:
        """Whether the head can learn from an image."""
        return self.reasons.is_null()


def targets_of(catalog: Catalog, images: pl.DataFrame, head: HeadConfig) -> Targets:
    """The targets of a head for images (dataset, image_id), in their order.

    `binary`: 1 positive for the finding; 0 healthy by metadata/healthy.toml (`against = "healthy"`), or judged to be without it
    (`"all"`). `multilabel`: 1 and 0 for each label. Both under the head's policy; what nobody assessed is null under any, unless
    `unassessed_zero` is asked for.
    `classes`: the place of the image's value in `classes`. `regression`: the number.

    Raises CxrError CXR-501 for findings, policies, labelers and attributes that there are not.
    """
    make = {"binary": _binary, "multilabel": _multilabel, "classes": _classes, "regression": _regression}[head.kind]
    return make(catalog, images.select(KEY), head)


def _described(head: HeadConfig, outputs: Sequence[str], columns: Sequence[str]) -> HeadTargets:
    loss = head.loss or LOSS_OF_KIND[head.kind]
    return HeadTargets(head.name, head.kind, loss, tuple(outputs), tuple(columns))


def _binary(catalog: Catalog, images: pl.DataFrame, head: HeadConfig) -> Targets:
    finding = str(head.finding)
    stated = _labels(catalog, images, head, {finding: "raw"})
    state = _labels(catalog, images, head, {finding: _policy(head, finding)})[finding]
    uncertain = (stated[finding] == UNCERTAIN).fill_null(value=False)
    cases = [
        (stated[_LABELER].is_null(), _unlabelled(head)),
        (uncertain & state.is_null(), f"{finding} is uncertain"),
    ]
    if head.against == "all":
        target, otherwise = state, f"{finding} is not mentioned or not assessed"
    else:
        healthy = _joined(images, health_of(catalog, head.labeler))["healthy"].fill_null(value=False)
        positive = (state == POSITIVE).fill_null(value=False)
        # Who is healthy is without the finding, mentioned or not; an uncertain one is what the policy makes of it.
        without = healthy & ~positive & (~uncertain | (state == NEGATIVE).fill_null(value=False))
        target = pl.select(pl.when(positive & ~healthy).then(POSITIVE).when(without).then(NEGATIVE)).to_series()
        cases.append((positive, f"healthy and positive for {finding} at once"))
        otherwise = f"neither healthy nor positive for {finding}"
    target = target.cast(pl.Int8).alias(f"target_{head.name}")
    reasons = _reasons(target, cases, otherwise)
    return Targets(_described(head, [finding], [target.name]), target.to_frame(), reasons)


def _multilabel(catalog: Catalog, images: pl.DataFrame, head: HeadConfig) -> Targets:
    for label in head.policy_by_label:
        if label not in head.labels:
            raise CxrError(
                "CXR-501",
                f"head {head.name!r} has a policy for {label!r}, which is none of its labels{nearest(label, list(head.labels))}",
                fix=f"its labels: {', '.join(head.labels)}",
            )
    decided = _labels(catalog, images, head, {label: _policy(head, label) for label in head.labels})
    columns = {label: f"target_{head.name}_{label}" for label in head.labels}
    if head.unassessed_zero:
        decided = decided.with_columns(_blanks_as_zero(catalog, images, head))
    frame = decided.select(pl.col(label).cast(pl.Int8).alias(name) for label, name in columns.items())
    known = frame.select(pl.coalesce(frame.columns)).to_series()
    cases = [(decided[_LABELER].is_null(), _unlabelled(head))]
    reasons = _reasons(known, cases, "every label is uncertain, not mentioned or not assessed")
    return Targets(_described(head, head.labels, frame.columns), frame, reasons)


def _blanks_as_zero(catalog: Catalog, images: pl.DataFrame, head: HeadConfig) -> list[pl.Expr]:
    """The labels with 0 where nobody assessed them, of datasets in which the labeler assesses them at all."""
    # Under `zeros`, what nobody assessed is all that is null.
    labels = catalog.labels(labeler=head.labeler, findings=list(head.labels), policy="zeros")
    asked = labels.group_by("dataset").agg(pl.col(head.labels).is_not_null().any())
    of_dataset = images.join(asked, on="dataset", how="left", maintain_order="left")
    blank = _joined(images, labels).select(pl.col(head.labels).is_null())
    return [
        pl.when(blank[label] & of_dataset[label].fill_null(value=False))
        .then(NEGATIVE)
        .otherwise(pl.col(label))
        .alias(label)
        for label in head.labels
    ]


def _classes(catalog: Catalog, images: pl.DataFrame, head: HeadConfig) -> Targets:
    attribute = str(head.attribute)
    found = with_attributes(catalog, images, [attribute], policy=head.policy, labeler=head.labeler)[attribute]
    places = {value: place for place, value in enumerate(head.classes)}
    target = found.replace_strict(places, default=None, return_dtype=pl.Int64).alias(f"target_{head.name}")
    none = f"{attribute} is none of {', '.join(head.classes)}"
    reasons = _reasons(target, [(found.is_null(), f"{attribute} is not known")], none)
    return Targets(_described(head, head.classes, [target.name]), target.to_frame(), reasons)


def _regression(catalog: Catalog, images: pl.DataFrame, head: HeadConfig) -> Targets:
    attribute = str(head.attribute)
    schema = catalog.table("images").collect_schema()
    known = [name for name, kind in schema.items() if kind.is_numeric()]
    if attribute not in known:
        raise CxrError(
            "CXR-501",
            f"head {head.name!r}: images have no number {attribute!r}{nearest(attribute, known)}",
            fix=f"numbers: {', '.join(known)}",
        )
    column = f"target_{head.name}"
    numbers = catalog.table("images").select(*KEY, pl.col(attribute).cast(pl.Float64).alias(column)).collect()
    target = _joined(images, numbers)[column]
    reasons = _reasons(target, [], f"{attribute} is not known")
    return Targets(_described(head, [attribute], [column]), target.to_frame(), reasons)


def _policy(head: HeadConfig, label: str) -> str:
    """As in an audit, of `raw` only what is stated as positive or negative is known."""
    said = head.policy_by_label.get(label, head.policy)
    return "ignore" if said == "raw" else said


def _labels(catalog: Catalog, images: pl.DataFrame, head: HeadConfig, policies: dict[str, str]) -> pl.DataFrame:
    """The images with their labeler and the codes of findings, each under its policy."""
    return _joined(images, catalog.labels(labeler=head.labeler, findings=list(policies), policy=policies))


def _reasons(known: pl.Series, cases: Sequence[tuple[pl.Series, str]], otherwise: str) -> pl.Series:
    """The reasons of what is null: that of the first case that holds, else the last."""
    told = [pl.when(condition).then(pl.lit(text)) for condition, text in cases]
    reason = pl.when(known.is_null()).then(pl.coalesce(*told, pl.lit(otherwise)))
    return pl.select(reason.alias("reason")).to_series()


def _joined(images: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    return images.join(frame, on=list(KEY), how="left", maintain_order="left")


def _unlabelled(head: HeadConfig) -> str:
    return "nobody labelled the image" if head.labeler is None else f"{head.labeler} did not label the image"
