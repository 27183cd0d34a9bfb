"""Attributes of two values, made of others: `age_years>60` and `race=White`.

`age_years>N`: `>N` of who has completed more than N years, else `<=N`, as the groups of `metadata/age_groups.tsv` are
called; null where the age's precision leaves both open. `ATTRIBUTE=VALUE`: the value itself, or `other` for every other
known one. Null stays null.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

OTHER = "other"
_OLDER = re.compile(r"age_years>(\d{1,3})")
_VALUE = re.compile(r"([^=<>]+)=([^=]+)")


@dataclass(frozen=True)
class Binary:
    """An attribute of two values. `of`: the attribute that it is made of. `values`: the one that it asks for, and the rest.
    `above`: completed years, where it is of the age."""

    name: str
    of: str
    values: tuple[str, str]
    above: int | None = None

    @classmethod
    def parse(cls, name: str) -> Binary | None:
        """Of a name as the command line has it; None where it is of neither form."""
        if older := _OLDER.fullmatch(name):
            years = int(older[1])
            return cls(name, "age_years", (f">{years}", f"<={years}"), years)
        if said := _VALUE.fullmatch(name):
            return cls(name, said[1], (said[2], OTHER))
        return None

    def expression(self, known: pl.Expr) -> pl.Expr:
        """The value of a row. known: the attribute that it is made of, as text; of an age `age_low_years` and
        `age_high_years` are read instead, high exclusive and null where there is no end."""
        first, second = map(pl.lit, self.values)
        if self.above is None:
            return pl.when(known == self.values[0]).then(first).when(known.is_not_null()).then(second).alias(self.name)
        # Who has completed N years is less than N + 1 old.
        end = self.above + 1
        older, younger = pl.col("age_low_years") >= end, pl.col("age_high_years") <= end
        return pl.when(older).then(first).when(younger).then(second).alias(self.name)
