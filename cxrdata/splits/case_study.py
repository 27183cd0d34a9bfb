"""Train on adults, test on healthy adults by age and on healthy children: how often is a child's heart called enlarged?

The design of Hua, Heller, He, Towbin, Chen, Lu, Erdman: Lack of children in public medical imaging data points to growing age
bias in biomedical AI, medRxiv 2025.06.06.25328913, without what distorts it there: patients by their real ids, no minors
among the adults, frontal films only, devices as `metadata/healthy.toml` says, any image of a patient rather than a fixed one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.harmonise.age import ADULT_YEARS, age_group_in
from cxrdata.splits.confounding import ADULT, AGE_GROUP, CHILD, Confounding, confounding
from cxrdata.splits.keyed import KEEP, keyed_numbers
from cxrdata.splits.matching import thinned
from cxrdata.splits.members import lost
from cxrdata.splits.placement import place_exact, units_of
from cxrdata.splits.ratios import Ratios
from cxrdata.vocabularies import Vocabularies

TRAIN, VALID, CALIBRATION = "train", "valid", "calibration"
ADULT_TEST, CHILD_TEST = "test_healthy_adult", "test_pediatric"
SPLITS = (TRAIN, VALID, CALIBRATION, ADULT_TEST, CHILD_TEST)
AGE_SCHEME = "case_study"
UNKNOWN_BIN = "unknown"
POSITIVE, HEALTHY = "positive", "healthy"
CERTAIN, POSSIBLE = "certain", "possible"
_REST = "rest"
_UNIT = ["dataset", "unit"]
_NEEDED = (
    "dataset", "image_id", "patient_id", "unit", "frontal", "healthy", "age_low_years", "age_high_years", "age_group", "sex", "view",
)  # fmt: skip
_LEFT_OUT = {"dataset": pl.String, "reason": pl.String, "images": pl.Int64}


@dataclass(frozen=True, kw_only=True)
class Shares:
    """The shares of the published design, each in (0, 1).

    adult_test: of the healthy adults of each age bin; adult_test_of: datasets that differ. calibration: of the positive and
    of the healthy adults that are left. train: of those left then, the others being validation.
    """

    adult_test: float = 0.1
    adult_test_of: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({"vindr_cxr": 0.2}))
    calibration: float = 0.1
    train: float = 0.75

    def __post_init__(self) -> None:
        for share in (self.adult_test, *self.adult_test_of.values(), self.calibration, self.train):
            if not 0 < share < 1:
                raise CxrError(
                    "CXR-502",
                    f"a share must be above 0 and below 1, got {share:g}",
                    fix="the published ones are 0.1, 0.1 and 0.75",
                )

    def adult_test_in(self, dataset: str) -> float:
        """The share of one dataset."""
        return self.adult_test_of.get(dataset, self.adult_test)

    def report(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "adult_test": self.adult_test,
            "adult_test_of": dict(self.adult_test_of),
            "calibration": self.calibration,
            "train": self.train,
        }


@dataclass(frozen=True)
class CaseStudy:
    """The case study's split.

    rows: the columns of the members, with `split`, `label` (positive, healthy) and `age_bin` (of the scheme `case_study`;
    `unknown` where the age's precision straddles two bins) and `age_group` (pediatric or adult, as used); one image a
    patient, sorted by (dataset, image_id).
    counts: dataset, split, label, age_bin, images; sorted.
    matching: dataset, the match attributes, children, adults (of the test before), kept; or None where nothing was matched.
    confounding: of age with dataset, view and sex, in these rows. left_out: dataset, reason, images. notes: sentences.
    """

    rows: pl.DataFrame
    matching: pl.DataFrame | None
    left_out: pl.DataFrame
    notes: list[str]
    finding: str
    children: str
    match: tuple[str, ...]
    shares: Shares

    @cached_property
    def counts(self) -> pl.DataFrame:
        cell = ["dataset", "split", "label", "age_bin"]
        return self.rows.group_by(cell).agg(images=pl.len().cast(pl.Int64)).sort(cell)

    @cached_property
    def confounding(self) -> Confounding:
        return confounding(self.rows)

    def report(self) -> dict[str, Any]:
        """All but the rows, as JSON can hold it; no ids."""
        return {
            "finding": self.finding,
            "children": self.children,
            "match": list(self.match),
            "shares": self.shares.report(),
            "counts": self.counts.to_dicts(),
            "matching": None if self.matching is None else self.matching.to_dicts(),
            "confounding": self.confounding.report(),
        }


@dataclass
class _Draft:
    """Who is left, and why others are not."""

    rows: pl.DataFrame
    left_out: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def keep(self, condition: pl.Expr, reason: str) -> None:
        """Keep the rows of which the condition is true."""
        kept = self.rows.filter(condition)
        self.left_out += lost(self.rows, kept, reason)
        self.rows = kept


def case_study(
    members: pl.DataFrame,
    *,
    seed: int = 0,
    finding: str = "cardiomegaly",
    match: Sequence[str] = (),
    children: str = CERTAIN,
    shares: Shares | None = None,
) -> CaseStudy:
    """Place adults with the finding and healthy people, one image of each patient.

    members: one row an image; dataset, image_id, patient_id, unit, frontal (Boolean), healthy (Boolean, null: not told),
    the finding (positive, negative, uncertain, unmentioned, null), age_low_years, age_high_years, age_group, sex, view, and
    the attributes to match.

    Who: frontal films (or of unknown projection) of certain adults, positive for the finding or healthy, and of healthy
    children: of `certain` age below 18, or also `possible` ones, whose age's precision leaves that open. A patient with both
    stands among the children, and his adult images leave. Of a patient's images, positive ones go before healthy ones,
    certain children before possible ones; then the keyed hash decides.

    Where, within each dataset, always in the order of the keyed hash: `test_healthy_adult` takes its share of the healthy
    adults of each age bin; `calibration` its share of the positive and of the healthy adults left; the rest are `train` and
    `valid`, by label; `test_pediatric` takes the children. A dataset without adults of either label gives children only.

    match: the healthy adults of the test are thinned, by the hash, until their distribution over these attributes is that
    of the dataset's children; null is a value of its own.

    Raises CxrError: CXR-501 an attribute that is no column; CXR-502 arguments that make no sense; CXR-507 no one is left.
    """
    shares = shares or Shares()
    _check(members, finding, match, children)
    draft = _Draft(members.sort("dataset", "image_id").drop("split", strict=False))
    _choose_sides(draft, finding, children)
    _one_image_a_patient(draft, seed)
    if draft.rows.is_empty():
        raise CxrError(
            "CXR-507",
            f"no image is of an adult positive for {finding} or of a healthy person",
            fix="widen --cohort, --where or --dataset, or name another --finding",
        )
    bins = age_group_in(Vocabularies.load().age_groups.filter(scheme=AGE_SCHEME)).fill_null(UNKNOWN_BIN)
    rows = draft.rows.with_columns(age_bin=bins)
    units = units_of(rows, seed)
    draft.rows = _placed(rows, units, shares)
    matching = _match(draft, units, match) if match else None
    study = CaseStudy(
        draft.rows.select(*members.drop("split", strict=False).columns, "split", "label", "age_bin"),
        matching,
        pl.DataFrame(draft.left_out, schema=_LEFT_OUT).sort("dataset", "reason"),
        draft.notes,
        finding,
        children,
        tuple(match),
        shares,
    )
    study.notes.extend(_missing_parts(study.rows, members["dataset"].unique().sort().to_list(), finding))
    study.notes.extend(study.confounding.sentences())
    return study


def _check(members: pl.DataFrame, finding: str, match: Sequence[str], children: str) -> None:
    for name in (*_NEEDED, finding, *match):
        if name not in members.columns:
            raise CxrError(
                "CXR-501",
                f"there is no column {name!r}{nearest(name, members.columns)}",
                fix=f"columns: {', '.join(members.columns)}",
            )
    if finding in (HEALTHY, "no_finding"):
        raise CxrError(
            "CXR-502",
            f"{finding!r} says who is healthy, so it cannot be what is to be found",
            fix="--finding cardiomegaly",
        )
    if children not in (CERTAIN, POSSIBLE):
        raise CxrError(
            "CXR-502", f"children are {CERTAIN} or {POSSIBLE}, not {children!r}", fix=f"--children {CERTAIN}"
        )
    for name in ("dataset", "image_id", "patient_id", "unit", AGE_GROUP, finding, HEALTHY):
        if name in match:
            raise CxrError(
                "CXR-502",
                f"{name!r} cannot be matched: it says who is compared",
                fix="match attributes such as sex,view",
            )


def _choose_sides(draft: _Draft, finding: str, children: str) -> None:
    """Give everyone a side (column `age_group`) and a `label`; who has none leaves."""
    is_child = pl.col(AGE_GROUP) == CHILD
    if children == POSSIBLE:
        is_child |= pl.col(AGE_GROUP).is_null() & (pl.col("age_low_years") < ADULT_YEARS)
    is_positive, is_healthy = (
        (pl.col(finding) == POSITIVE).fill_null(value=False),
        pl.col(HEALTHY).fill_null(value=False),
    )
    side = (
        pl.when(is_child.fill_null(value=False))
        .then(pl.lit(CHILD))
        .when(pl.col(AGE_GROUP) == ADULT)
        .then(pl.lit(ADULT))
    )
    draft.rows = draft.rows.with_columns(
        side.alias(AGE_GROUP),
        _certain=pl.col(AGE_GROUP).is_not_null(),
        label=pl.when(is_positive & ~is_healthy)
        .then(pl.lit(POSITIVE))
        .when(is_healthy & ~is_positive)
        .then(pl.lit(HEALTHY)),
        _both=is_positive & is_healthy,
    )
    draft.keep(pl.col("frontal").fill_null(value=True), "no frontal view")
    draft.keep(pl.col("age_low_years").is_not_null(), "the age is not known")
    draft.keep(pl.col(AGE_GROUP).is_not_null(), "the age leaves both sides of 18 open")
    draft.keep(~pl.col("_both"), f"healthy and positive for {finding} at once")
    of_child = pl.col(AGE_GROUP) == CHILD
    draft.keep(~of_child | (pl.col("label") == HEALTHY).fill_null(value=False), "a child not known to be healthy")
    draft.keep(pl.col("label").is_not_null(), f"an adult neither healthy nor positive for {finding}")
    draft.keep(of_child | ~of_child.any().over(_UNIT), "the patient stands among the children")
    labels = pl.col("label").filter(~of_child).n_unique().over("dataset")
    draft.keep(
        of_child | (labels == len((POSITIVE, HEALTHY))),
        f"an adult of a dataset that lacks healthy adults or adults positive for {finding}",
    )


def _one_image_a_patient(draft: _Draft, seed: int) -> None:
    number = keyed_numbers(KEEP, seed, draft.rows["dataset"], draft.rows["image_id"])
    preferred = draft.rows.select("dataset", "image_id", "unit", "_certain", "label", number.alias("_keep")).sort(
        "dataset", "unit", ~pl.col("_certain"), pl.col("label") != POSITIVE, "_keep", "image_id"
    )
    chosen = preferred.unique(_UNIT, keep="first", maintain_order=True)
    before = draft.rows
    draft.rows = before.join(chosen, on=["dataset", "image_id"], how="semi", maintain_order="left")
    draft.left_out += lost(before, draft.rows, "another image of the patient was chosen")


def _placed(rows: pl.DataFrame, units: pl.DataFrame, shares: Shares) -> pl.DataFrame:
    """Every row with its split."""
    units = units.join(rows.select(*_UNIT, AGE_GROUP, "label", "age_bin"), on=_UNIT, how="left", maintain_order="left")
    adults = units.filter(pl.col(AGE_GROUP) == ADULT)
    healthy = adults.filter(label=HEALTHY)
    placed = [units.filter(pl.col(AGE_GROUP) == CHILD).select(*_UNIT, split=pl.lit(CHILD_TEST))]
    placed += [
        _take(healthy.filter(dataset=dataset), ADULT_TEST, shares.adult_test_in(dataset), "age_bin")
        for dataset in healthy["dataset"].unique().sort().to_list()
    ]
    rest = _without(adults, placed)
    placed.append(_take(rest, CALIBRATION, shares.calibration, "label"))
    rest = _without(rest, placed)
    placed.append(_parted(rest, Ratios((TRAIN, VALID), (shares.train, 1 - shares.train)), "label"))
    return rows.join(pl.concat(placed), on=_UNIT, how="left", maintain_order="left")


def _take(units: pl.DataFrame, split: str, share: float, stratum: str) -> pl.DataFrame:
    """The share of each stratum that comes first by the hash."""
    return _parted(units, Ratios((split, _REST), (share, 1 - share)), stratum).filter(pl.col("split") == split)


def _parted(units: pl.DataFrame, ratios: Ratios, stratum: str) -> pl.DataFrame:
    return place_exact(units, ratios, weigh="patient", strata=[stratum]).select(*_UNIT, "split")


def _without(units: pl.DataFrame, placed: list[pl.DataFrame]) -> pl.DataFrame:
    return units.join(pl.concat(placed), on=_UNIT, how="anti", maintain_order="left")


def _match(draft: _Draft, units: pl.DataFrame, match: Sequence[str]) -> pl.DataFrame:
    """Thin the healthy adults of the test to the children's distribution, dataset by dataset; say where that cannot be."""
    rows = draft.rows.join(units.select(*_UNIT, "number"), on=_UNIT, how="left", maintain_order="left")
    tables, leaving = [], []
    for dataset in rows["dataset"].unique().sort().to_list():
        here = rows.filter(dataset=dataset)
        adults, children = here.filter(split=ADULT_TEST), here.filter(split=CHILD_TEST)
        if adults.is_empty() or children.is_empty():
            draft.notes.append(
                f"{dataset}: not matched by {', '.join(match)}: it has no {'adults' if adults.is_empty() else 'children'} in the test"
            )
            continue
        silent = [name for name in match if here[name].null_count() == here.height]
        if silent:
            draft.notes.append(f"{dataset}: not matched by {', '.join(match)}: it does not say {', '.join(silent)}")
            continue
        thin = thinned(adults, children, match)
        left = adults.height - thin.leaving.height
        draft.notes.append(
            f"{dataset}: matched by {', '.join(match)}: {left:,} of {adults.height:,} healthy adults stay"
        )
        tables.append(thin.cells.select(pl.lit(dataset).alias("dataset"), pl.all()))
        leaving.append(thin.leaving.select("dataset", "image_id"))
        draft.notes += [f"{dataset}: {note}" for note in thin.notes]
    if leaving:
        before = draft.rows
        draft.rows = before.join(pl.concat(leaving), on=["dataset", "image_id"], how="anti", maintain_order="left")
        draft.left_out += lost(
            before, draft.rows, f"a healthy adult of the test beyond the children's distribution of {', '.join(match)}"
        )
    schema = (
        {"dataset": pl.String}
        | {name: draft.rows.schema[name] for name in match}
        | dict.fromkeys(("children", "adults", "kept"), pl.Int64)
    )
    return pl.concat(tables) if tables else pl.DataFrame(schema=schema)


def _missing_parts(rows: pl.DataFrame, datasets: Sequence[str], finding: str) -> list[str]:
    """What the datasets do not give."""
    notes = []
    for dataset in datasets:
        found = set(rows.filter(dataset=dataset)["split"].to_list())
        if not found:
            notes.append(f"{dataset}: no image is of use here")
        elif found == {CHILD_TEST}:
            notes.append(f"{dataset}: children only; it lacks healthy adults or adults positive for {finding}")
        elif CHILD_TEST not in found:
            notes.append(f"{dataset}: adults only; it has no healthy child")
        if found - {CHILD_TEST} and (lacking := [split for split in SPLITS[:-1] if split not in found]):
            notes.append(f"{dataset}: too few adults for {', '.join(lacking)}")
    if CHILD_TEST not in set(rows["split"].to_list()):
        notes.append("no dataset here gives a healthy child: test such a model on another dataset's children")
    return notes
