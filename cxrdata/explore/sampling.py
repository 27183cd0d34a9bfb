"""Which images an exploration looks at: as many of each group, chosen by key and seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.splits.groups import compared
from cxrdata.splits.keyed import keyed_numbers
from cxrdata.wording import counted

KEY = ["dataset", "image_id"]
_PURPOSE = "explore"
_DATASET, _SOURCE = "dataset", "source dataset"  # a key cannot be grouped by beside itself


@dataclass(frozen=True)
class Sampling:
    """by: the attribute of whose groups as many images are taken, at most `per_group` (no group more than the smallest one
    has). groups: those that take part; none: every one but Other and Multiple with at least 2 % of the images.
    one_a_patient: a patient's images compete for one place."""

    by: str = "race"
    groups: tuple[str, ...] = ()
    per_group: int = 1000
    one_a_patient: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Sampled:
    """frames: the rows taken of each frame given, sorted by key and draw. notes: how many, and who was left out."""

    frames: list[pl.DataFrame]
    notes: list[str] = field(default_factory=list)


def sampled(frames: Sequence[pl.DataFrame], sampling: Sampling) -> Sampled:
    """As many rows of each group, the same number in every frame: those with the smallest keyed numbers.

    frames: dataset, image_id, draw (Int32), patient, the attribute; the first says which groups there are.
    Raises CxrError: CXR-410 no two groups; CXR-501, CXR-502 unknown groups; CXR-125 a frame without one of the groups.
    """
    by = sampling.by
    if by == _DATASET:
        by = _SOURCE
        frames = [frame.with_columns(pl.col(_DATASET).alias(by)) for frame in frames]
    try:
        parts, left_out = compared(frames[0].sort(*KEY, "draw"), [by], sampling.groups, pool=True)
    except CxrError as error:
        if error.code == "CXR-410":
            error.fix = "name another attribute with --sample-by, such as sex"
        raise
    groups = [cell[0] for cell in parts[0].cells]
    notes = [
        f"{one['dataset']}: {counted(one['images'], 'image')} left out of the sample, {one['reason']}"
        for one in left_out
    ]
    candidates = [_candidates(frame.filter(pl.col(by).is_in(groups)), sampling) for frame in frames]
    sizes = [dict(one.group_by(by).len().iter_rows()) for one in candidates]
    available = {group: min(size.get(group, 0) for size in sizes) for group in groups}
    if absent := [group for group in groups if not available[group]]:
        groups = [group for group in groups if available[group]]
        if sampling.groups or len(groups) < 2:
            raise CxrError(
                "CXR-125",
                f"the resampled split has drawn no image of {by} {absent[0]} that has features",
                fix="name the groups that it has with --groups, or another split",
            )
        notes += [f"{by} {group} left out of the sample: the resampled split has drawn none of it" for group in absent]
    smallest = min(groups, key=lambda group: available[group])
    n = min(sampling.per_group, available[smallest])
    said = f"{counted(n, 'image')} of each of {', '.join(groups)}"
    notes.append(f"{said}: {smallest} has no more" if n < sampling.per_group else said)
    taken = [
        one.filter(pl.col(by).is_in(groups), pl.col("number").rank("ordinal").over(by) <= n)
        .drop("number", *([_SOURCE] if by == _SOURCE else []))
        .sort(*KEY, "draw")
        for one in candidates
    ]
    return Sampled(taken, notes)


def _candidates(rows: pl.DataFrame, sampling: Sampling) -> pl.DataFrame:
    """The rows with their keyed numbers; of a patient only the one with the smallest, where that is asked for."""
    named = pl.concat_str("image_id", pl.lit("|"), "draw")
    numbers = keyed_numbers(_PURPOSE, sampling.seed, rows["dataset"], rows.select(named).to_series())
    numbered = rows.with_columns(numbers)
    if not sampling.one_a_patient:
        return numbered
    return numbered.filter(pl.col("number") == pl.col("number").min().over("patient"))
