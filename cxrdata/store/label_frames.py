"""Labels as wide frames, after the user's choice of what an uncertain and an unmentioned label become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.harmonise.labels import rolled_up
from cxrdata.schemas.names import readings_name, states_name
from cxrdata.sources.base import NEGATIVE, POSITIVE, SILENT, UNCERTAIN, UNMENTIONED, Registry
from cxrdata.vocabularies import Vocabularies

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

# What uncertain and unmentioned become, by policy. Not assessed is null under every policy: nobody looked.
# `zeros`, `ones`, `ignore` are U-Zeros, U-Ones, U-Ignore of Irvin et al. 2019; unmentioned as the labeler's authors advise.
POLICIES: dict[str, dict[int, int | None]] = {
    "raw": {UNCERTAIN: UNCERTAIN, UNMENTIONED: None},
    "zeros": {UNCERTAIN: NEGATIVE, UNMENTIONED: NEGATIVE},
    "ones": {UNCERTAIN: POSITIVE, UNMENTIONED: NEGATIVE},
    "ignore": {UNCERTAIN: None, UNMENTIONED: None},
}
READERS = ("majority", "any", "all")
_MAJORITY = "reader_majority"
_KEYS = ("dataset", "image_id", "labeler")
_NO_LABELS = ("image_id", "closed_world", "reader_id")
# The state of an image by its readers' states: the first of these that any reader gave.
_PRECEDENCE = {"any": (POSITIVE, UNCERTAIN, NEGATIVE, UNMENTIONED), "all": (NEGATIVE, UNMENTIONED, UNCERTAIN, POSITIVE)}


@dataclass(frozen=True)
class BuildVocabularies(Vocabularies):
    """The crosswalk and tree as a build has stored them, overlays included: not those of today."""

    catalog: Catalog | None = None

    def _stored(self, table: str) -> pl.DataFrame:
        assert self.catalog is not None
        return self.catalog.table(table).collect()

    @cached_property
    def findings(self) -> pl.DataFrame:
        return self._stored("findings")

    @cached_property
    def finding_tree(self) -> pl.DataFrame:
        return self._stored("finding_tree")

    @cached_property
    def label_map(self) -> pl.DataFrame:
        return self._stored("label_map")


def label_frame(
    catalog: Catalog,
    *,
    dataset: str | None = None,
    labeler: str | None = None,
    findings: Sequence[str] | None = None,
    policy: str | Mapping[str, str] = "raw",
    rollup: bool = False,
    readers: str = "majority",
) -> pl.DataFrame:
    """Labels wide; see `Catalog.labels`. Rows are the images (with `labeler`, those that it assessed), datasets one after the
    other, each in its order.

    An image that nobody assessed has null throughout. Where `readers` is `any` or `all`, images labelled by the
    majority of their readers are judged anew from the single readings, and their labeler reads `reader_any` or `reader_all`.
    """
    vocabularies = BuildVocabularies((), catalog=catalog)
    datasets = _datasets(catalog, dataset, labeler)
    wanted = _known(
        findings if findings is not None else vocabularies.finding_names, vocabularies.finding_names, "finding"
    )
    if isinstance(policy, str):
        policies = dict.fromkeys(wanted, policy)
    else:
        _known(policy, vocabularies.finding_names, "finding")
        policies = {finding: policy.get(finding, "raw") for finding in wanted}
    _known(policies.values(), list(POLICIES), "policy")
    _known([readers], list(READERS), "way to join readers")
    frames = [
        _one_dataset(catalog, vocabularies, name, labeler, wanted, rollup=rollup, readers=readers) for name in datasets
    ]
    decided = [
        pl.col(finding)
        .replace({code: value for code, value in POLICIES[policies[finding]].items() if value != code})
        .alias(finding)
        for finding in wanted
    ]
    return pl.concat(frames).with_columns(decided)


def _known(names: Sequence[str] | Mapping[str, str] | object, known: list[str], what: str) -> list[str]:
    """The names as a list, each once; raises CxrError CXR-501 for an unknown one."""
    listed = list(dict.fromkeys([names] if isinstance(names, str) else names))  # type: ignore[call-overload]
    for name in listed:
        if name not in known:
            raise CxrError(
                "CXR-501", f"there is no {what} {name!r}{nearest(str(name), known)}", fix=f"known: {', '.join(known)}"
            )
    return listed


def _datasets(catalog: Catalog, dataset: str | None, labeler: str | None) -> list[str]:
    built: list[str] = catalog.manifest["datasets"]
    if dataset is not None and dataset not in built:
        dataset = Registry().by_alias.get(dataset, dataset)
        _known([dataset], built, "dataset in this build called")
    chosen = [dataset] if dataset is not None else built
    if labeler is None:
        return chosen
    labelers = {name: [one for one, _ in catalog.manifest["labelers"][name]] for name in chosen}
    _known(
        [labeler],
        sorted({one for ones in labelers.values() for one in ones}),
        "labeler" if dataset is None else f"labeler of {dataset} called",
    )
    return [name for name in chosen if labeler in labelers[name]]


def _one_dataset(
    catalog: Catalog,
    vocabularies: Vocabularies,
    dataset: str,
    labeler: str | None,
    findings: list[str],
    *,
    rollup: bool,
    readers: str,
) -> pl.DataFrame:
    """All codes of one dataset, unmentioned still -2, before any policy."""
    exact = vocabularies.exact(dataset)
    chosen = catalog.table("image_labels").filter(pl.col("dataset") == dataset).select(*_KEYS).collect()
    labelers = [labeler] if labeler else chosen["labeler"].drop_nulls().unique(maintain_order=True).to_list()
    parts = []
    for one in labelers:
        states = catalog.table(states_name(dataset, one)).collect()
        if labeler is None:
            states = states.join(
                chosen.filter(pl.col("labeler") == one), on="image_id", how="semi", maintain_order="left"
            )
        name = one
        if one == _MAJORITY and readers != "majority":
            states, name = _judged(catalog, dataset, states, readers), f"reader_{readers}"
        native = states.drop(*(column for column in _NO_LABELS if column in states.columns))
        coded = _coded(native, exact, findings)
        if rollup:
            coded, _ = rolled_up(native, coded, vocabularies, dataset)
        parts.append(
            states.select(pl.lit(dataset).alias("dataset"), "image_id", pl.lit(name).alias("labeler")).hstack(coded)
        )
    if labeler is not None:
        return parts[0]
    empty = chosen.clear().select(*_KEYS, *(pl.lit(None, pl.Int8).alias(finding) for finding in findings))
    return chosen.select("dataset", "image_id").join(
        pl.concat([empty, *parts]), on=["dataset", "image_id"], how="left", maintain_order="left"
    )


def _coded(native: pl.DataFrame, exact: Mapping[str, str], findings: list[str]) -> pl.DataFrame:
    """One column a finding through exact matches, as `image_labels` has it but with unmentioned (-2) kept apart from not assessed."""
    label = {finding: name for name, finding in exact.items() if name in native.columns}
    coded = [
        pl.col(label[finding]).replace({SILENT: NEGATIVE}).alias(finding)
        if finding in label
        else pl.lit(None, pl.Int8).alias(finding)
        for finding in findings
    ]
    return native.with_columns(coded).select(findings)  # a select of constants alone would have one row


def _judged(catalog: Catalog, dataset: str, states: pl.DataFrame, readers: str) -> pl.DataFrame:
    """The images of `states` by their single readings: `any` positive if one reader says so, `all` only if nobody disagrees."""
    readings = catalog.table(readings_name(dataset)).collect()
    labels = [column for column in readings.columns if column not in _NO_LABELS]
    ranks = {code: place for place, code in enumerate(_PRECEDENCE[readers])}
    by_rank = {place: code for code, place in ranks.items()}
    ranked = readings.with_columns(
        pl.col(labels).replace({SILENT: NEGATIVE}).replace_strict(ranks, return_dtype=pl.Int8)
    )
    judged = (
        ranked.group_by("image_id")
        .agg(pl.col(labels).min())
        .with_columns(pl.col(labels).replace_strict(by_rank, return_dtype=pl.Int8))
    )
    return states.select("image_id").join(judged, on="image_id", how="left", maintain_order="left")
