"""Which of the four cells of `--spurious` an image is of: disease or healthy, by one value of an attribute or the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.sources.base import NEGATIVE, POSITIVE, UNCERTAIN
from cxrdata.splits import spurious as s
from cxrdata.splits.attributes import is_finding, with_attributes
from cxrdata.splits.binary import Binary
from cxrdata.splits.members import lost
from cxrdata.store.label_frames import POLICIES

if TYPE_CHECKING:
    from cxrdata.splits.request import SplitRequest
    from cxrdata.store.catalog import Catalog

HEALTHY_FINDING = "no_finding"
# The order of the values of attributes that have two; of others they are sorted.
_VALUES = {"sex": ("F", "M")}
_STATES = ("positive", "negative")


def cells_of(
    catalog: Catalog, members: pl.DataFrame, request: SplitRequest
) -> tuple[pl.DataFrame, s.Design, list[dict[str, Any]]]:
    """The members that are in a cell, with `label` and `value`; the design that is asked for; who is left out.

    Positive: the finding is positive, an uncertain one as the policy has it. Healthy: by `metadata/healthy.toml`, and not
    positive; an uncertain finding must be negative by the policy. As a head that is `against = "healthy"` takes them.

    Raises CxrError: CXR-501 no such finding or attribute; CXR-502 the finding says who is healthy, or the attribute has not
    two values; CXR-507 no image is in a cell.
    """
    finding, attribute, policy = str(request.spurious), str(request.attribute), request.label_policy
    if not is_finding(catalog, finding):
        raise CxrError(
            "CXR-501", f"{finding!r} is no finding", fix='name one: cxrdata sql "SELECT finding FROM findings"'
        )
    if finding in (HEALTHY_FINDING, attribute):
        problem = (
            f"{finding!r} says who is healthy, so it cannot be what is to be found"
            if finding == HEALTHY_FINDING
            else f"{finding!r} cannot go with itself"
        )
        raise CxrError("CXR-502", problem, fix="--spurious pleural_effusion --with sex")
    rows = with_attributes(catalog, members, [attribute, "healthy"], policy=policy)
    rows = rows.with_columns(_label(catalog, rows, finding, policy), value=pl.col(attribute))
    left_out: list[dict[str, Any]] = []
    for condition, reason in (
        (pl.col("label") != "both", f"healthy and positive for {finding} at once"),
        (pl.col("label") != "neither", f"neither healthy nor positive for {finding}"),
        (pl.col("value").is_not_null(), f"{attribute} is not known"),
    ):
        kept = rows.filter(condition)
        left_out += lost(rows, kept, reason)
        rows = kept
    values = _two_values(catalog, rows["value"], attribute)
    kept = rows.filter(pl.col("value").is_in(values))
    left_out += lost(rows, kept, f"{attribute} is neither {values[0]} nor {values[1]}")
    if kept.is_empty():
        problem = f"no image of known {attribute} is positive for {finding} or healthy"
        raise CxrError("CXR-507", problem, fix="widen --cohort, --where or --dataset, or name another finding")
    design = s.Design(
        finding=finding,
        attribute=attribute,
        values=values,
        correlation=request.correlation,
        train_images=request.train_images,
        per_cell=request.per_cell,
        valid=request.valid,
    )
    return kept.select(*members.columns, "label", "value"), design, left_out


def rules_of(catalog: Catalog, datasets: list[str], policy: str) -> dict[str, Any]:
    """How labels are read, as a manifest says it: the policy, and each dataset's rule of who is healthy."""
    rules = catalog.table("datasets").filter(pl.col("dataset").is_in(datasets)).select("dataset", "healthy_rule")
    return {"policy": policy, "healthy": dict(rules.sort("dataset").collect().iter_rows())}


def _label(catalog: Catalog, rows: pl.DataFrame, finding: str, policy: str) -> pl.Series:
    """positive, healthy, both or neither of each row."""
    datasets = rows["dataset"].unique().to_list()
    codes = catalog.labels(findings=[finding], dataset=datasets[0] if len(datasets) == 1 else None)
    joined = rows.join(codes, on=["dataset", "image_id"], how="left", maintain_order="left")
    uncertain_is = POLICIES[policy][UNCERTAIN]
    code = pl.col(finding)
    uncertain = (code == UNCERTAIN).fill_null(value=False)
    positive = (code == POSITIVE).fill_null(value=False) | (uncertain & pl.lit(uncertain_is == POSITIVE))
    healthy = (pl.col("healthy") == "healthy").fill_null(value=False)
    without = healthy & (~uncertain | pl.lit(uncertain_is == NEGATIVE))
    label = (
        pl.when(positive & healthy)
        .then(pl.lit("both"))
        .when(positive)
        .then(pl.lit(s.POSITIVE))
        .when(without)
        .then(pl.lit(s.HEALTHY))
        .otherwise(pl.lit("neither"))
    )
    return joined.select(label.alias("label")).to_series()


def _two_values(catalog: Catalog, values: pl.Series, attribute: str) -> tuple[str, str]:
    if (binary := Binary.parse(attribute)) is not None:
        return binary.values
    if attribute in _VALUES:
        return _VALUES[attribute]
    if is_finding(catalog, attribute):
        return _STATES
    found = values.unique().sort().to_list()
    if len(found) != 2:
        raise CxrError(
            "CXR-502",
            f"{attribute} has {len(found)} values here, and two sides are needed: {', '.join(found) or 'it is not known'}",
            fix=f'name one: --with "{attribute}={found[0]}"' if found else "name another attribute",
        )
    return found[0], found[1]
