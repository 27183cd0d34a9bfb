"""The account of a read: every input row ends as kept, merged, unmatched or rejected.

A reader opens an entry for each file, settles its rows, and hands refused rows and
nulled values over as data. Nothing is printed here and nothing is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from cxrdata.errors import PROBLEMS, CxrError
from cxrdata.wording import counted

REJECT_SCHEMA: dict[str, type[pl.DataType]] = {
    "dataset": pl.String,
    "source_file": pl.String,
    "line": pl.Int64,
    "kind": pl.String,
    "code": pl.String,
    "column_name": pl.String,
    "value": pl.String,
    "message": pl.String,
}
LEDGER_SCHEMA = {
    "dataset": pl.String,
    "source_file": pl.String,
    "rows_read": pl.Int64,
    "rows_kept": pl.Int64,
    "rows_merged": pl.Int64,
    "rows_unmatched": pl.Int64,
    "rows_rejected": pl.Int64,
}
NOTE_SCHEMA = {"dataset": pl.String, "topic": pl.String, "item": pl.String, "n": pl.Int64, "message": pl.String}
LONGEST_VALUE = 200  # a refused value is quoted to this length: rejects are no second copy of the data


@dataclass
class Entry:
    """One file's line in the ledger."""

    read: int = 0
    kept: int = 0
    merged: int = 0
    unmatched: int = 0
    rejected: int = 0

    def balances(self) -> bool:
        return self.read == self.kept + self.merged + self.unmatched + self.rejected


@dataclass
class Account:
    """Ledger, rejects and counted remarks of one dataset."""

    dataset: str
    entries: dict[str, Entry] = field(default_factory=dict)
    _rejects: list[pl.DataFrame] = field(default_factory=list)
    _notes: list[tuple[str, str, int, str]] = field(default_factory=list)

    def entry(self, source_file: str) -> Entry:
        return self.entries.setdefault(source_file, Entry())

    def read(self, source_file: str, rows: int) -> None:
        """Count rows read, rejected ones among them."""
        self.entry(source_file).read += rows

    def settle(self, source_file: str, *, kept: int = 0, merged: int = 0, unmatched: int = 0) -> None:
        """Say what became of rows that were not rejected."""
        entry = self.entry(source_file)
        entry.kept += kept
        entry.merged += merged
        entry.unmatched += unmatched

    def reject_rows(
        self,
        source_file: str,
        rows: pl.DataFrame,
        code: str,
        *,
        column: str | None = None,
        message: str | pl.Expr | None = None,
        count: bool = True,
    ) -> None:
        """Refuse rows (`_line` gives the line). `column` is the field at fault, quoted if `rows` has it.

        `count=False` is for rows that are not settled by the ledger, such as schema failures
        already taken back from `kept`.
        """
        if rows.is_empty():
            return
        if count:
            self.entry(source_file).rejected += rows.height
        self._add(pl.lit(source_file), rows, "row", code, column, message)

    def reject_values(
        self,
        source_file: str | pl.Expr,
        rows: pl.DataFrame,
        code: str,
        *,
        column: str,
        value: str | None = None,
        message: str | pl.Expr | None = None,
    ) -> None:
        """Report values that were nulled in rows that stay. `value` names the column to quote
        if it is not called as in the file (`column`)."""
        if rows.is_empty():
            return
        where = pl.lit(source_file) if isinstance(source_file, str) else source_file
        self._add(where, rows, "value", code, column, message, value)

    def _add(
        self,
        where: pl.Expr,
        rows: pl.DataFrame,
        kind: str,
        code: str,
        column: str | None,
        message: str | pl.Expr | None,
        value: str | None = None,
    ) -> None:
        quoted = value or column
        text = (
            pl.lit(PROBLEMS[code].title)
            if message is None
            else (pl.lit(message) if isinstance(message, str) else message)
        )
        self._rejects.append(
            rows.select(
                dataset=pl.lit(self.dataset),
                source_file=where,
                line=pl.col("_line").cast(pl.Int64) if "_line" in rows.columns else pl.lit(None, pl.Int64),
                kind=pl.lit(kind),
                code=pl.lit(code),
                column_name=pl.lit(column, pl.String),
                value=pl.col(quoted).cast(pl.String).str.slice(0, LONGEST_VALUE)
                if quoted in rows.columns
                else pl.lit(None, pl.String),
                message=text,
            )
        )

    def note(self, topic: str, item: str, n: int, message: str) -> None:
        """A counted remark: a disagreement between sources, a missing part, an ambiguity.

        Topics: `missing_file`, `left_out`, `extra_column`, `disagreement`, `ambiguity`, `coverage`, `count`, `rollup`.
        """
        self._notes.append((topic, item, n, message))

    def rejects(self) -> pl.DataFrame:
        """All refusals in a total order."""
        if not self._rejects:
            return pl.DataFrame(schema=REJECT_SCHEMA)
        return (
            pl.concat(self._rejects)
            .select(pl.col(name).cast(dtype) for name, dtype in REJECT_SCHEMA.items())
            .sort(list(REJECT_SCHEMA), nulls_last=True)
        )

    def ledger(self) -> pl.DataFrame:
        """The ledger; raises CxrError CXR-401 where it does not add up."""
        for name, entry in self.entries.items():
            if not entry.balances():
                raise CxrError(
                    "CXR-401",
                    f"{counted(entry.read, 'row')} read, but {entry.kept} kept + {entry.merged} merged + {entry.unmatched} unmatched"
                    f" + {entry.rejected} rejected",
                    where=f"{self.dataset}: {name}",
                    fix="this is a defect of cxrdata; please report it with the header of the file",
                )
        rows = [
            (self.dataset, name, e.read, e.kept, e.merged, e.unmatched, e.rejected)
            for name, e in sorted(self.entries.items())
        ]
        return pl.DataFrame(rows, schema=LEDGER_SCHEMA, orient="row")

    def notes(self) -> pl.DataFrame:
        rows = [(self.dataset, *note) for note in self._notes]
        return pl.DataFrame(rows, schema=NOTE_SCHEMA, orient="row").sort(["topic", "item", "message"])
