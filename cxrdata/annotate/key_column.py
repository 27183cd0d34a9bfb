"""Which column of a file holds the image key: the one whose values the catalog knows best, whatever its name."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.keys import KeyIndex, resolve

_SAMPLE_ROWS = 2000
# A column that resolves nearly as often as the best one is named, so that a wrong choice is seen.
_NEAR = 0.9
_EXAMPLES_TRIED = 3


@dataclass(frozen=True)
class Rival:
    """Another column that resolves as well or nearly as well. `differing`: rows in which it names another image."""

    column: str
    matched: int
    differing: int


@dataclass(frozen=True)
class KeyColumn:
    """The key column, and what its values resolve to (of `keys.resolve`)."""

    column: str
    resolved: pl.DataFrame
    matched: int
    rivals: list[Rival] = field(default_factory=list)


def find_key_column(
    frame: pl.DataFrame, index: KeyIndex, *, key: str | None = None, datasets: pl.Series | None = None
) -> KeyColumn:
    """The column of `frame` whose values resolve best; among equals the first. `key` names it instead.

    datasets: the dataset of each row, where a column states it.
    Raises CxrError: CXR-501 no column `key`, CXR-504 no value of any column is in the catalog.
    """
    if key is not None:
        if key not in frame.columns:
            raise CxrError(
                "CXR-501",
                f"there is no column {key!r}{nearest(key, frame.columns)}",
                fix=f"columns: {', '.join(frame.columns)}",
            )
        candidates = [key]
    else:
        candidates = [
            name
            for name, dtype in frame.schema.items()
            if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)
        ]
        step = max(frame.height // _SAMPLE_ROWS, 1)
        sample = frame.gather_every(step)
        sampled = [name for name in candidates if not _forms(sample[name], index).is_empty()]
        # A key that is in the catalog only here and there may have slipped through the sample.
        candidates = sampled or candidates
    found = [_resolved(frame[name], index, datasets) for name in candidates]
    best = max(found, key=lambda column: column.matched, default=None)
    if best is None or best.matched == 0:
        raise _no_key(frame, found, index)
    return KeyColumn(best.column, best.resolved, best.matched, _rivals(best, found))


def _forms(values: pl.Series, index: KeyIndex) -> pl.Series:
    """The values that look like a key or are one."""
    resolved = resolve(values, index)
    return values.filter(resolved["form"].is_not_null() | resolved["image_id"].is_not_null())


def _resolved(values: pl.Series, index: KeyIndex, datasets: pl.Series | None) -> KeyColumn:
    resolved = resolve(values, index, dataset=datasets)
    return KeyColumn(values.name, resolved, int(resolved["image_id"].is_not_null().sum()))


def _rivals(best: KeyColumn, found: list[KeyColumn]) -> list[Rival]:
    rivals = []
    for other in found:
        if other is not best and other.matched >= _NEAR * best.matched:
            same = pl.struct("dataset", "image_id")
            differing = best.resolved.select(same).to_series().ne_missing(other.resolved.select(same).to_series())
            rivals.append(Rival(other.column, other.matched, int(differing.sum())))
    return sorted(rivals, key=lambda rival: -rival.matched)


def _no_key(frame: pl.DataFrame, found: list[KeyColumn], index: KeyIndex) -> CxrError:
    looks = {column.column: column.resolved["form"].drop_nulls() for column in found}
    formed = max(looks, key=lambda name: len(looks[name]), default=None)
    if formed is not None and len(looks[formed]):
        form = looks[formed].mode().sort()[0]
        return CxrError(
            "CXR-504",
            f"{formed!r} holds keys of {form}, none of which is in the catalog",
            fix=f"the catalog holds {', '.join(index.datasets)}; build it with that dataset, or open another catalog (-c PATH, cxrdata.open(PATH))",
        )
    tried = ", ".join(repr(column.column) for column in found) or "none holds text"
    example = next(
        (
            f" ({frame[column.column].drop_nulls().cast(pl.String).head(1).to_list()[0]!r} in {column.column!r})"
            for column in found
            if frame[column.column].null_count() < frame.height
        ),
        "",
    )
    return CxrError(
        "CXR-504",
        f"no column holds image keys that the catalog knows{example}",
        fix=f"columns tried: {tried}; name the one with image keys (--key COLUMN, key='COLUMN'); the catalog holds {', '.join(index.datasets)}",
    )
