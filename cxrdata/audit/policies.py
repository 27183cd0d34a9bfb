"""What an uncertain or unmentioned label becomes when it is the truth of an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from cxrdata.sources.base import UNCERTAIN, UNMENTIONED
from cxrdata.store.label_frames import POLICIES
from cxrdata.store.policies import DEFAULT, checked_policies, read_policy

OTHERS = "ignore"  # what holds for labels of which a mapping says nothing


@dataclass(frozen=True)
class Policy:
    """A policy, for all labels or by label. `raw` judges what is stated as positive or negative alone, as `ignore` does."""

    name: str
    by_label: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, wish: str | Mapping[str, str]) -> Policy:
        """From the name of a policy, a mapping label -> policy, or a TOML file of it. Labels that are not named have the
        policy `default`, else `ignore`. Raises CxrError as `read_policy` does.
        """
        if isinstance(wish, Mapping):
            return cls("by label", checked_policies(dict(wish), "policy"))
        found = read_policy(wish)
        return cls(found) if isinstance(found, str) else cls(Path(wish).name, found)

    def of(self, label: str) -> str:
        return self.by_label.get(label, self.by_label.get(DEFAULT, OTHERS)) if self.by_label else self.name

    def stated(self, labels: Sequence[str]) -> dict[str, str]:
        """The policy of each label, as rows state it."""
        return {label: self.of(label) for label in labels}

    def decide(self, codes: pl.Series, label: str) -> pl.Series:
        """Codes 1, 0, -1 and null (not mentioned) as true, false, null."""
        becomes = POLICIES[self.of(label)]
        unmentioned = becomes[UNMENTIONED]
        known = codes.replace({UNCERTAIN: becomes[UNCERTAIN]}) if becomes[UNCERTAIN] != UNCERTAIN else codes
        known = known.set(codes.is_null(), unmentioned) if unmentioned is not None else known
        return pl.select(pl.when(known.is_in([0, 1])).then(known == 1)).to_series()

    @staticmethod
    def left_out(codes: pl.Series, states: pl.Series) -> list[tuple[str, int]]:
        """reason, images of those whose state is not known."""
        gone = states.is_null()
        counts = (
            ("uncertain", int((gone & (codes == UNCERTAIN).fill_null(value=False)).sum())),
            ("not mentioned or not assessed", int((gone & codes.is_null()).sum())),
        )
        return [(reason, n) for reason, n in counts if n]
