"""Which column of a file parts its rows into training and test data, by name and content.

Two kinds are known: a column of names (`split`, `fold`, `subset`, …) and a flag for one part (`is_train`, `in_test`,
fastai's `is_valid`), which parts the rows in two. A flag by the bare name of a part counts for `train` and `test` only:
`valid` may as well mean that a row is sound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.annotate.compare import cells, normalised

if TYPE_CHECKING:
    from collections.abc import Iterator

# Best name first: where a file has several such columns, only one decides about leaks.
_NAMES = ("split", "datasetsplit", "datasplit", "partition", "subset", "set", "phase", "fold")
_NAME_PART = re.compile(r"(?:^|_)(?:split|partition|subset|fold)s?(?:$|_)")
_FLAG = re.compile(
    r"^(?:(?:is|in)(?P<named>train|training|test|testing|val|valid|validation|dev|holdout)|(?P<bare>train|training|test|testing|holdout))(?:set|split|flag)?$"
)
_FLAG_VALUES = {
    "1": True,
    "0": False,
    "true": True,
    "false": False,
    "yes": True,
    "no": False,
    "y": True,
    "n": False,
    "t": True,
    "f": False,
}
# A split has few values; a column of that name with more is something else.
_MOST_VALUES = 20


@dataclass(frozen=True)
class SplitColumn:
    """A column that may be a split, and its values as they are told: a flag's as `train` and `not train`."""

    name: str
    values: pl.Series

    @property
    def distinct(self) -> list[str]:
        return self.values.drop_nulls().unique().sort().to_list()


def split_column(given: pl.Series) -> SplitColumn:
    """A column as a split, whatever its name."""
    return _flag(given) or SplitColumn(given.name, given.cast(pl.String))


def find_split_columns(frame: pl.DataFrame) -> tuple[list[SplitColumn], list[SplitColumn]]:
    """The columns that look like a split, the best first; and those that would, had they more than one value."""
    found = sorted(_candidates(frame), key=lambda column: _rank(column.name))
    several = [column for column in found if len(column.distinct) > 1]
    return several, [column for column in found if len(column.distinct) == 1]


def _candidates(frame: pl.DataFrame) -> Iterator[SplitColumn]:
    for given in frame.get_columns():
        if given.dtype.is_nested():
            continue
        if flag := _flag(given):
            yield flag
        elif _is_named(given.name) and given.drop_nulls().n_unique() <= _MOST_VALUES:
            yield SplitColumn(given.name, given.cast(pl.String))


def _flag(given: pl.Series) -> SplitColumn | None:
    """A column that says of each row whether it is in one part, or None."""
    part = _flagged_part(given.name)
    if part is None or given.dtype.is_nested():
        return None
    text = cells(given)
    if not set(text.drop_nulls().unique()) <= set(_FLAG_VALUES):
        return None
    is_in = text.replace_strict(_FLAG_VALUES, default=None, return_dtype=pl.Boolean)
    told = pl.when(is_in).then(pl.lit(part)).when(~is_in).then(pl.lit(f"not {part}"))
    return SplitColumn(given.name, pl.select(told.alias(given.name)).to_series())


def _flagged_part(name: str) -> str | None:
    match = _FLAG.match(normalised(name))
    return (match["named"] or match["bare"]) if match else None


def _is_named(name: str) -> bool:
    return normalised(name) in _NAMES or bool(_NAME_PART.search(re.sub(r"[^a-z0-9]+", "_", name.lower())))


def _rank(name: str) -> int:
    plain, part = normalised(name), _flagged_part(name)
    if plain in _NAMES:
        return _NAMES.index(plain)
    if part is None:
        return len(_NAMES)
    return len(_NAMES) + (1 if part.startswith("train") else 2 if part.startswith("test") else 3)
