"""What the catalog knows of the rows of a file: one row a row of the file, in its order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.schemas.names import states_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cxrdata.store.catalog import Catalog

KEY = ["dataset", "image_id"]


@dataclass(frozen=True)
class Facts:
    """`keys` (dataset, image_id; null where a row is unmatched) and what stands in the catalog for them."""

    catalog: Catalog
    keys: pl.DataFrame

    @cached_property
    def datasets(self) -> list[str]:
        """Datasets of the rows, in the catalog's order."""
        present = set(self.keys["dataset"].drop_nulls().unique())
        return [dataset for dataset in self.catalog.manifest["datasets"] if dataset in present]

    @cached_property
    def images(self) -> pl.DataFrame:
        """The rows' images: every column of `images`, null in unmatched rows."""
        return self._looked_up("images")

    @cached_property
    def labels(self) -> pl.DataFrame:
        """The rows' labels as `image_labels` has them: `labeler` and one column a finding."""
        return self._looked_up("image_labels")

    def _looked_up(self, table: str) -> pl.DataFrame:
        wanted = self.keys.lazy().drop_nulls().unique()
        known = self.catalog.table(table).join(wanted, on=KEY, how="semi").collect()
        return self.keys.join(known, on=KEY, how="left", maintain_order="left")

    @cached_property
    def findings(self) -> list[str]:
        """Canonical findings that the labelers of these rows assess, in the catalog's order."""
        pairs = self.labels.select("dataset", "labeler").drop_nulls().unique().sort("dataset", "labeler").rows()
        assessed = {finding for dataset, labeler in pairs for finding in self._assessed(dataset, labeler)}
        return [finding for finding in self.all_findings if finding in assessed]

    @cached_property
    def all_findings(self) -> list[str]:
        """All canonical findings."""
        return [
            column for column in self.catalog.table("image_labels").collect_schema() if column not in (*KEY, "labeler")
        ]

    @cached_property
    def exact(self) -> pl.DataFrame:
        """dataset, native_label, finding of the exact matches of the crosswalk."""
        label_map = self.catalog.table("label_map").filter(pl.col("predicate") == "exactMatch")
        return label_map.select("dataset", "native_label", "finding").collect()

    def _assessed(self, dataset: str, labeler: str) -> Iterable[str]:
        native = set(self.catalog.table(states_name(dataset, labeler)).collect_schema())
        rows = self.exact.filter(pl.col("dataset") == dataset)
        return [finding for label, finding in rows.select("native_label", "finding").iter_rows() if label in native]
