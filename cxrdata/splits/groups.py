"""Which groups of images a balanced split compares, and who leaves because it is in none of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import prod
from typing import Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.splits.placement import is_label

NEVER_BY_DEFAULT = ("other", "multiple", "o")  # rest categories (O of sex) hold different people in every dataset
LABEL_GROUPS = ("negative", "positive")
LEAST_SHARE = 0.02
_FEW = 3
_MOST_WITHOUT = 3

Cell = tuple[str, ...]


@dataclass(frozen=True)
class Compared:
    """What is balanced together: a dataset or, pooled, all of them.

    dataset: its name, or None. rows: its images that are in a cell, in the order of the members, with `cell` (Int64), its
    place in `cells`. cells: every combination of the groups, as one value an attribute, sorted; each has images.
    """

    dataset: str | None
    rows: pl.DataFrame
    attributes: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """As messages say it."""
        return self.dataset or "all datasets together"

    def said(self, cell: int) -> str:
        """A cell in words."""
        return _said(self.attributes, self.cells[cell])

    def table(self) -> pl.DataFrame:
        """The cells in their order: dataset and one column an attribute."""
        columns = {
            name: pl.Series([cell[at] for cell in self.cells], dtype=pl.String)
            for at, name in enumerate(self.attributes)
        }
        return pl.DataFrame({"dataset": pl.Series([self.dataset] * len(self.cells), dtype=pl.String)} | columns)


def compared(
    members: pl.DataFrame, attributes: Sequence[str], groups: Sequence[str] = (), *, pool: bool = False
) -> tuple[list[Compared], list[dict[str, Any]]]:
    """The cells of each dataset, and who leaves: dataset, reason, images.

    members: sorted by (dataset, image_id), one text column an attribute; null is unknown.

    The groups of an attribute are, of a label, positive and negative; else every category but Other and Multiple that has at
    least 2 % of the dataset's images. `groups` names others, as `White` or `race=White`. Images without a value or in no
    group leave, and so does a dataset where an attribute is null throughout or has a single group.

    Raises CxrError: CXR-410 where no dataset is left, or a combination of groups has no image (the fix says which groups
    have all of them); CXR-501 for an unknown attribute or group; CXR-502 for arguments that make no sense.
    """
    _check(members, attributes)
    counts = members.group_by("dataset", *attributes).agg(n=pl.len().cast(pl.Int64)).sort("dataset", *attributes)
    tallies = [(row[0], row[1:-1], row[-1]) for row in counts.iter_rows()]
    labels = {name for name in attributes if is_label(counts[name])}
    named = _named(
        attributes, {name: counts[name].drop_nulls().unique().sort().to_list() for name in attributes}, groups
    )
    left_out: list[dict[str, Any]] = []
    tallies = _of_speaking(tallies, attributes, left_out)
    found: list[Compared] = []
    names: list[str | None] = list(dict.fromkeys(one[0] for one in tallies))
    for dataset in ([None] if names else []) if pool else names:
        own = [one for one in tallies if pool or one[0] == dataset]
        chosen = {
            name: named.get(name) or _default(own, at, is_label=name in labels) for at, name in enumerate(attributes)
        }
        present = {
            name: [value for value in chosen[name] if any(one[1][at] == value for one in own)]
            for at, name in enumerate(attributes)
        }
        if (single := next((name for name in attributes if len(present[name]) < 2), None)) is not None:
            reason = f"{single} has {'one group (' + present[single][0] + ')' if present[single] else 'no group'}: nothing to balance"
            left_out += _summed((one[0], reason, one[2]) for one in own)
            continue
        why = [(one[0], _reason(one[1], chosen, named, labels), one[2]) for one in own]
        left_out += _summed((name, reason, n) for name, reason, n in why if reason is not None)
        found.append(_cells_of(members, dataset, own, chosen))
    if not found:
        reasons = "; ".join(dict.fromkeys(f"{one['dataset']}: {one['reason']}" for one in left_out))
        raise CxrError(
            "CXR-410",
            f"no dataset has groups of {', '.join(attributes)} to balance ({reasons})",
            fix="name another attribute, or other datasets",
        )
    return found, left_out


_Tally = tuple[str, tuple[str | None, ...], int]  # dataset, values, images


def _check(members: pl.DataFrame, attributes: Sequence[str]) -> None:
    if not attributes:
        raise CxrError("CXR-502", "no attribute is named to balance by", fix="for example --balance race")
    for name in attributes:
        if name not in members.columns:
            raise CxrError(
                "CXR-501",
                f"the images have no attribute {name!r}{nearest(name, members.columns)}",
                fix=f"columns: {', '.join(members.columns)}",
            )
        if list(attributes).count(name) > 1:
            raise CxrError("CXR-502", f"{name!r} is named twice", fix="name each attribute once")


def _named(attributes: Sequence[str], values: Mapping[str, list[str]], groups: Sequence[str]) -> dict[str, list[str]]:
    """The groups that were named, by attribute, sorted."""
    named: dict[str, list[str]] = {}
    for text in groups:
        attribute, sign, value = text.partition("=")
        owners = (
            [attribute] if sign and attribute in attributes else [name for name in attributes if text in values[name]]
        )
        value = value if sign and attribute in attributes else text
        known = sorted({one for name in (owners or attributes) for one in values[name]})
        if not owners or value not in known:
            raise CxrError(
                "CXR-501",
                f"no image is in a group {text!r}{nearest(value, known)}",
                fix=f"groups here: {', '.join(known) or 'none, every value is null'}",
            )
        if len(owners) > 1:
            raise CxrError(
                "CXR-502",
                f"{text!r} is a group of {' and of '.join(owners)}",
                fix=f"say which, such as {owners[0]}={text}",
            )
        named.setdefault(owners[0], []).append(value)
    for name, chosen in named.items():
        if len(set(chosen)) < 2:
            raise CxrError(
                "CXR-502",
                f"{chosen[0]} is the only group of {name} that is named; nothing is left to compare it with",
                fix="name at least two of each attribute that you choose groups of",
            )
    return {name: sorted(set(chosen)) for name, chosen in named.items()}


def _of_speaking(tallies: list[_Tally], attributes: Sequence[str], left_out: list[dict[str, Any]]) -> list[_Tally]:
    """Tallies of the datasets that say each attribute of some image."""
    lacking = {
        dataset: next(
            (
                name
                for at, name in enumerate(attributes)
                if all(one[1][at] is None for one in tallies if one[0] == dataset)
            ),
            None,
        )
        for dataset in dict.fromkeys(one[0] for one in tallies)
    }
    left_out += _summed(
        (dataset, f"the dataset does not say {lacking[dataset]}", n)
        for dataset, _, n in tallies
        if lacking[dataset] is not None
    )
    return [one for one in tallies if lacking[one[0]] is None]


def _default(tallies: list[_Tally], at: int, *, is_label: bool) -> list[str]:
    """The groups of one attribute where none are named."""
    if is_label:
        return list(LABEL_GROUPS)
    total = sum(n for _, _, n in tallies)
    by_value: dict[str, int] = {}
    for _, values, n in tallies:
        if (value := values[at]) is not None:
            by_value[value] = by_value.get(value, 0) + n
    return sorted(
        value for value, n in by_value.items() if n >= LEAST_SHARE * total and value.lower() not in NEVER_BY_DEFAULT
    )


def _reason(
    values: Sequence[str | None], chosen: Mapping[str, list[str]], named: Mapping[str, list[str]], labels: set[str]
) -> str | None:
    """Why an image is in no cell; None if it is in one."""
    for value, (name, groups) in zip(values, chosen.items(), strict=True):
        if value is None:
            return f"{name} is null"
        if value not in groups:
            return f"{name} is {value}, {_why(name, value, named, labels)}"
    return None


def _why(name: str, value: str, named: Mapping[str, list[str]], labels: set[str]) -> str:
    if name in named:
        return "not one of the groups that were named"
    if name in labels:
        return "neither positive nor negative"
    return (
        "a category of the rest"
        if value.lower() in NEVER_BY_DEFAULT
        else f"under {100 * LEAST_SHARE:.0f} % of the images"
    )


def _summed(entries: Iterable[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """Entries of the same dataset and reason as one, in the order in which they first come."""
    sums: dict[tuple[str, str], int] = {}
    for dataset, reason, n in entries:
        sums[dataset, reason] = sums.get((dataset, reason), 0) + n
    return [{"dataset": dataset, "reason": reason, "images": n} for (dataset, reason), n in sums.items()]


def _cells_of(
    members: pl.DataFrame, dataset: str | None, tallies: list[_Tally], chosen: Mapping[str, list[str]]
) -> Compared:
    attributes = tuple(chosen)
    cells = tuple(product(*chosen.values()))
    images = dict.fromkeys(cells, 0)
    for _, values, n in tallies:
        cell = tuple(value for value in values if value is not None)
        if cell in images:
            images[cell] += n
    if not all(images.values()):
        raise _refused(dataset, chosen, images)
    own = sorted({one[0] for one in tallies})
    rows = members.filter(pl.col("dataset").is_in(own))
    # A cell's number is made of the places of its values, the last attribute running fastest, as in `product`.
    number = pl.lit(0, dtype=pl.Int64)
    for name, groups in chosen.items():
        place = pl.col(name).replace_strict(groups, list(range(len(groups))), default=None, return_dtype=pl.Int64)
        number = number * len(groups) + place
    rows = rows.with_columns(cell=number).filter(pl.col("cell").is_not_null())
    return Compared(dataset, rows, attributes, cells)


# What a request with empty cells could be instead.


def _refused(dataset: str | None, chosen: Mapping[str, list[str]], images: Mapping[Cell, int]) -> CxrError:
    empty = [_said(tuple(chosen), cell) for cell, n in images.items() if n == 0]
    more = f"; and {len(empty) - _FEW:,} more" if len(empty) > _FEW else ""
    problem = f"{dataset or 'all datasets together'}: {len(empty):,} of {len(images):,} cells have no image: {'; '.join(empty[:_FEW])}{more}"
    ways = []
    if (without := _without(chosen, images)) is not None:
        groups = ",".join(f"{name}={value}" for name, values in without.items() for value in values)
        ways.append(
            f'--groups "{groups}" has at least {_smallest(without, chosen, images):,} images in each of {prod(map(len, without.values()))} cells'
        )
    ways += [f"--balance {','.join(names)} has images in all cells" for names in _fewer(chosen, images)[:1]]
    if dataset is not None:
        ways.append(f"leave {dataset} out with --dataset")
    return CxrError("CXR-410", problem, fix="; or ".join(ways))


def _without(chosen: Mapping[str, list[str]], images: Mapping[Cell, int]) -> dict[str, list[str]] | None:
    """The groups that remain where as few as possible leave so that every cell has images; of equally many, those with the
    greatest smallest cell. None where more than three would have to leave."""
    empty = [cell for cell, n in images.items() if n == 0]
    values = [
        (name, value)
        for at, (name, groups) in enumerate(chosen.items())
        for value in groups
        if any(cell[at] == value for cell in empty)
    ]
    for n in range(1, _MOST_WITHOUT + 1):
        options = []
        for gone in combinations(values, n):
            left = {name: [one for one in groups if (name, one) not in gone] for name, groups in chosen.items()}
            if all(len(groups) > 1 for groups in left.values()) and (smallest := _smallest(left, chosen, images)):
                options.append((-smallest, gone, left))
        if options:
            return min(options, key=lambda option: option[:2])[2]
    return None


def _fewer(chosen: Mapping[str, list[str]], images: Mapping[Cell, int]) -> list[tuple[str, ...]]:
    """Sets of attributes, the largest first, whose cells all have images."""
    names = list(chosen)
    return [
        some
        for n in range(len(names) - 1, 0, -1)
        for some in combinations(names, n)
        if _smallest({name: chosen[name] for name in some}, chosen, images)
    ]


def _smallest(groups: Mapping[str, list[str]], chosen: Mapping[str, list[str]], images: Mapping[Cell, int]) -> int:
    """The images of the smallest cell by the attributes in `groups`, among images that are in these groups."""
    sums = dict.fromkeys(product(*groups.values()), 0)
    for cell, n in images.items():
        part = tuple(value for name, value in zip(chosen, cell, strict=True) if name in groups)
        if part in sums:
            sums[part] += n
    return min(sums.values())


def _said(attributes: Sequence[str], cell: Cell) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(attributes, cell, strict=True))
