"""Whether a positional file follows the order file that it came with: the truth that it brings along is held against ours.

Another file of the same length would give every image another one's features, in which no group differs from any: what
looks like a finding would be a mistake.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.audit.policies import Policy
from cxrdata.errors import CxrError
from cxrdata.interop.predictions import find_scores

if TYPE_CHECKING:
    from cxrdata.audit.truth import TruthSource
    from cxrdata.interop.predictions import Place

KEY = ["dataset", "image_id"]
_UNMENTIONED = "zeros"  # as in chexploration's own targets
_TARGET = re.compile(r"target(_\d+)?")


def check_order(name: str, targets: pl.DataFrame, source: TruthSource) -> None:
    """targets: dataset, image_id, and by label 1 where the file has it for positive. What is not mentioned counts as negative.

    Raises CxrError CXR-126 where its positives are so by our truth about as often as those of a shuffled file would be:
    nearer to that than to always.
    """
    labels = [one for one in targets.columns if one not in KEY]
    if not labels:
        return
    judged = source.judged(targets.select(*KEY, weight=pl.lit(1.0)), labels, (), Policy.read(_UNMENTIONED), None)
    own = judged.frame.select(KEY).join(targets, on=KEY, how="left", maintain_order="left")
    said, agreed, by_chance = 0, 0, 0.0
    for label in labels:
        known = judged.states[label].is_not_null()
        positive = (own[label] == 1) & known
        n = int(positive.sum())
        said += n
        agreed += int((positive & judged.states[label]).sum())
        by_chance += n * int(judged.states[label].sum()) / max(int(known.sum()), 1)
    if 2 * agreed < said + by_chance:
        raise CxrError(
            "CXR-126",
            f"of {said:,} labels that {name} has for positive, {agreed:,} are so for the images of the order file, and {by_chance:,.0f} would be by chance",
            where=name,
            fix="name the very file that was embedded or predicted, with its rows in that order",
        )


def check_features(name: str, rest: pl.DataFrame, keyed: pl.DataFrame, source: TruthSource, place: Place) -> list[str]:
    """`check_order` of a file of features. rest: the columns that are none, of which chexploration's `target_i` (of `target`, the class) are
    the truth; keyed: dataset, image_id of each row. Returns a note where there is nothing to hold against."""
    unchecked = [f"{name} says nothing of its images: that the rows are those of the order file cannot be checked"]
    targets = rest.select(pl.col(one) for one in rest.columns if _TARGET.fullmatch(one))
    if not targets.width:
        return unchecked
    codes = targets.to_series(0).cast(pl.Float64, strict=False)
    classes = targets.width if targets.columns[0] != "target" else int(codes.to_numpy().max(initial=-1)) + 1
    # In chexploration's layout the number of outputs says which head it is; of features the outputs themselves are missing.
    outputs = targets.with_columns(pl.lit(0.5).alias(f"class_{at}") for at in range(classes))
    try:
        columns = find_scores(outputs, lambda said: said, place).columns
    except CxrError:
        return unchecked
    find = source.names(keyed["dataset"].drop_nulls().unique().sort().to_list()).find
    found = {find(one.said): one.target for one in columns if one.target is not None}
    known = {label: values.alias(label) for label, values in found.items() if label is not None}
    rows = keyed.select(KEY).hstack(list(known.values())).filter(pl.col("image_id").is_not_null()).sort(KEY)
    check_order(name, rows, source)
    return []
