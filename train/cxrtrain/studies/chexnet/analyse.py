"""The analysis: AUROC of every finding, overall and by sex, age and view, with intervals by patient. The audit computes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.audit.data import OVERALL
from cxrdata.errors import CxrError
from cxrdata.report.audit_tables import paper_table
from cxrdata.small_cells import MIN_CELL
from cxrtrain.studies.chexnet import design
from cxrtrain.studies.chexnet.masking import mask_beside

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

AUDIT = {
    "model": pl.String, "label": pl.String, "truth": pl.String, "policy": pl.String, "group_by": pl.String,
    "group_value": pl.String, "metric": pl.String, "n": pl.Int64, "n_positive": pl.Int64, "estimate": pl.Float64,
    "ci_low": pl.Float64, "ci_high": pl.Float64, "p_value": pl.Float64, "p_adjusted": pl.Float64, "method": pl.String,
    "seed": pl.Int64, "note": pl.String,
}  # fmt: skip
JUDGED = {"model": pl.String, "images": pl.Int64, "patients": pl.Int64}
AUROC = "auroc"
_OLD_LABELS = ("a", "b")  # variants of NIH's table: the labels of 2017, before the correction of 2020


@dataclass(frozen=True)
class Wish:
    """What to compute. min_cell: groups of fewer patients are masked, and what would tell them; 1 masks none."""

    bootstrap: int = design.REPLICATES
    seed: int = design.SEED
    min_cell: int = MIN_CELL
    by: tuple[str, ...] = design.BY
    threads: int = 2


@dataclass(frozen=True)
class Given:
    """Predictions to judge. order: whose rows positional ones follow. split: only images of a part of it (test unless said).
    trained: as in `Analysis`."""

    files: Sequence[Path]
    catalog: Catalog
    order: Path | None = None
    split: str | None = None
    trained: str = ""


@dataclass(frozen=True)
class Analysis:
    """What came of it. rows: of the audit (CONTRACT §7). judged: model, images, patients. old_labels: the catalog was read from
    NIH's table of 2017. trained: how the model was trained here, if it was; empty of others' predictions."""

    rows: pl.DataFrame
    judged: pl.DataFrame
    notes: list[str] = field(default_factory=list)
    synthetic: bool = False
    old_labels: bool = False
    trained: str = ""

    @property
    def models(self) -> list[str]:
        return self.judged["model"].to_list()

    @property
    def overall(self) -> pl.DataFrame:
        """A row a model and finding."""
        return self.rows.filter(group_by=OVERALL, metric=AUROC)

    @property
    def aucs(self) -> pl.DataFrame:
        """label, auc as reproduce-chexnet writes them; with the model before them where there are several."""
        named = self.overall.select("model", label=pl.col("label").replace(design.findings()), auc="estimate")
        return named if len(self.models) > 1 else named.drop("model")

    def by_group(self, by: Sequence[str] = design.BY) -> pl.DataFrame:
        """Finding x group as text: estimate and interval, positives/N."""
        return paper_table(self.rows.filter(pl.col("group_by").is_in([OVERALL, *by])), AUROC)

    def save(self, folder: Path) -> None:
        """Write every table, and what else `read` needs."""
        self.rows.write_csv(folder / "audit.csv")
        self.aucs.write_csv(folder / "aucs.csv")
        self.by_group().write_csv(folder / "auroc_by_group.csv")
        self.judged.write_csv(folder / "judged.csv")
        said = {
            "notes": self.notes,
            "synthetic": self.synthetic,
            "old_labels": self.old_labels,
            "trained": self.trained,
        }
        (folder / "notes.json").write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Analysis:
        """What `save` wrote."""
        said = json.loads((folder / "notes.json").read_text(encoding="utf-8"))
        rows, judged = (pl.read_csv(folder / f"{name}.csv", schema=schema) for name, schema in (("audit", AUDIT), ("judged", JUDGED)))  # fmt: skip
        return cls(rows, judged, **said)


def analyse(given: Given, wish: Wish, *, tell: Callable[[str], None] = lambda _: None) -> Analysis:
    """The whole analysis, against the text-mined labels of the catalog.

    Raises CxrError: CXR-120 no finding of the study is predicted; those of `cxrdata.audit`.
    """
    from cxrdata.audit.run import audit

    tell("reading predictions")
    wanted, lacking = _labels(given)
    tell(f"{len(wanted)} findings, {len(given.files)} files")
    found = audit(
        predictions=list(given.files), catalog=given.catalog, dataset=design.DATASET, split=given.split, labels=wanted,
        by=wish.by, truth=design.LABELER, metrics=(AUROC,), bootstrap=wish.bootstrap, seed=wish.seed, min_cell=wish.min_cell,
        order=given.order, threads=wish.threads,
    )  # fmt: skip
    counts = {one.model: (one.model, len(one.scores), len(np.unique(one.patients))) for one in found.scored}
    notes = [*found.warnings, *found.notes]
    if lacking:
        notes.append(f"not predicted: {', '.join(lacking)}")
    old = given.catalog.sql(
        "SELECT count(*) AS n FROM source_files WHERE dataset = $dataset AND variant IN (SELECT unnest($old))",
        {"dataset": design.DATASET, "old": list(_OLD_LABELS)},
    )
    return Analysis(
        mask_beside(found.rows, found.scored, wish.min_cell),
        pl.DataFrame(list(counts.values()), schema=JUDGED, orient="row"),
        notes,
        bool(given.catalog.manifest["synthetic"]),
        bool(old["n"].item()),
        given.trained,
    )


def _labels(given: Given) -> tuple[list[str], list[str]]:
    """The findings that any file predicts, and those that none does."""
    from cxrdata.audit.predictions import Table, read_predictions
    from cxrdata.audit.truth import CatalogTruth

    source = CatalogTruth(given.catalog, datasets=[design.DATASET], labeler=design.LABELER)
    order = None if given.order is None else Table.of(given.order)
    read = [model for file in given.files for model in read_predictions(Table.of(file), source, order=order)]
    predicted = {label for model in read for label in model.labels}
    wanted = [name for name in design.findings() if name in predicted]
    if not wanted:
        raise CxrError(
            "CXR-120",
            f"none of the {len(design.findings())} findings is predicted",
            where=", ".join(file.name for file in given.files),
            fix=f"columns prob_<label>, such as prob_cardiomegaly; what is predicted: {', '.join(sorted(predicted))}",
        )
    return wanted, [name for name in design.findings() if name not in predicted]
