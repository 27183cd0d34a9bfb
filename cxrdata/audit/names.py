"""What a label of a predictions file means: a finding, however a dataset calls it, or a class of an attribute."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

_SEXES = {"male": "M", "m": "M", "female": "F", "f": "F"}
_NO_WORD = re.compile(r"[^a-z0-9]+")


def plain(name: str) -> str:
    """A name without case and punctuation, by which spellings of one label agree."""
    return _NO_WORD.sub("_", name.casefold()).strip("_")


@dataclass(frozen=True)
class LabelNames:
    """The meaning of names. findings: plain name -> finding. classes: plain name -> (attribute, value)."""

    findings: dict[str, str]
    classes: dict[str, tuple[str, str]]

    @classmethod
    def of(
        cls, findings: Sequence[str], label_map: pl.DataFrame, races: Sequence[str], datasets: Sequence[str]
    ) -> LabelNames:
        """From the vocabularies. A finding's own name wins; then what the datasets in question call it; then what any
        other calls it, unless two datasets mean different things by it.
        """
        exact = label_map.filter(pl.col("predicate") == "exactMatch").select("dataset", "native_label", "finding")
        elsewhere: dict[str, set[str]] = {}
        own: dict[str, set[str]] = {}
        for dataset, native, finding in exact.iter_rows():
            for names in (elsewhere, own) if dataset in datasets else (elsewhere,):
                names.setdefault(plain(native), set()).add(finding)
        meant = {name: min(one) for names in (elsewhere, own) for name, one in names.items() if len(one) == 1}
        meant |= {plain(finding): finding for finding in findings}
        classes = {plain(race): ("race", race) for race in races} | {name: ("sex", sex) for name, sex in _SEXES.items()}
        return cls(meant, {name: value for name, value in classes.items() if name not in meant})

    def find(self, said: str) -> str | None:
        """The finding or the class that a name stands for, None for neither."""
        name = plain(said)
        if name in self.findings:
            return self.findings[name]
        return self.classes[name][1] if name in self.classes else None

    @property
    def attributes(self) -> dict[str, str]:
        """class -> the attribute that it is a value of."""
        return {value: attribute for attribute, value in self.classes.values()}
