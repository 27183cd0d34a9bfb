"""What an audit answers with: rows, what was left out, what a reader must know; tables and figures made of them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.audit.data import OVERALL, Scored
from cxrdata.audit.metrics import METRICS
from cxrdata.errors import CxrError
from cxrdata.small_cells import MIN_CELL
from cxrdata.store.parquet import ROW_GROUP_ROWS

if TYPE_CHECKING:
    from cxrdata.report.figure import Figure

THRESHOLD = "threshold"
_POINTS = (*METRICS, THRESHOLD)


@dataclass(frozen=True)
class Audit:
    """The answer.

    rows: one a model, label, group and metric (CONTRACT §7). left_out: label, reason, images whose truth is not known.
    warnings: what makes figures too good, such as a threshold that was chosen on the images that it is judged on.
    notes: what was counted and passed over on the way. confusion: of classes such as race: model, attribute, truth,
    predicted, n, weight, share_of_truth. scored: what the figures of curves are drawn from.
    """

    rows: pl.DataFrame
    left_out: pl.DataFrame
    warnings: list[str]
    notes: list[str]
    confusion: pl.DataFrame = field(default_factory=pl.DataFrame)
    scored: Sequence[Scored] = field(repr=False, default=())
    min_cell: int = MIN_CELL

    @property
    def overall(self) -> pl.DataFrame:
        """The metrics over all images."""
        return self.rows.filter(pl.col("group_by") == OVERALL, pl.col("metric").is_in(_POINTS))

    @property
    def by_group(self) -> pl.DataFrame:
        """The metrics of each group."""
        return self.rows.filter(pl.col("group_by") != OVERALL, pl.col("metric").is_in(_POINTS))

    @property
    def gaps(self) -> pl.DataFrame:
        """Everything that compares: gaps and ratios between groups, fairness criteria, differences of models."""
        return self.rows.filter(~pl.col("metric").is_in(_POINTS))

    @cached_property
    def figures(self) -> list[Figure]:
        """The figures that these rows have something to show in. Raises CxrError CXR-604 without the extra `[report]`."""
        # Upwards, and only here: a user of the object asks it for its figures, the computation never does.
        from cxrdata.report.audit_figures import audit_figures

        return audit_figures(self)

    def table(self, metric: str = "auroc") -> pl.DataFrame:
        """Label x group, estimate and interval with positives and N, ready for a paper."""
        from cxrdata.report.audit_tables import paper_table

        return paper_table(self.rows, metric)

    def save(self, folder: str | Path, *, figures: bool = True) -> list[Path]:
        """Write `audit.parquet`, `audit.csv`, `left_out.csv`, `tables.md`, `tables.html` and figures into a folder; returns
        the files. The same answer gives the same bytes.

        Raises CxrError: CXR-602 not writable; CXR-604 figures without the extra `[report]`.
        """
        from cxrdata.report.audit_tables import html_page, markdown_page
        from cxrdata.report.figure import save_figures

        folder = Path(folder)
        files = [folder / name for name in ("audit.parquet", "audit.csv", "left_out.csv", "tables.md", "tables.html")]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.rows.write_parquet(files[0], row_group_size=ROW_GROUP_ROWS)
            self.rows.write_csv(files[1])
            self.left_out.write_csv(files[2])
            files[3].write_text(markdown_page(self), encoding="utf-8")
            files[4].write_text(html_page(self), encoding="utf-8")
        except OSError as error:
            raise CxrError(
                "CXR-602",
                f"cannot write: {error.strerror or error}",
                where=folder.name,
                fix="name a folder that can be made and written to",
            ) from error
        return [*files, *(save_figures(self.figures, folder / "figures") if figures else [])]

    def _repr_html_(self) -> str:
        from cxrdata.report.audit_tables import html_tables

        said = "".join(f"<p>{html.escape(text)}</p>" for text in (*self.warnings, *self.notes))
        return html_tables(self.rows) + said
