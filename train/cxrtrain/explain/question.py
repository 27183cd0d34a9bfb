"""Which output of which head is asked about, and what a catalog knows of the images: truth, age, view, group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.splits.attributes import with_attributes
from cxrtrain.bundle import KEY, HeadTargets
from cxrtrain.targets import targets_of

if TYPE_CHECKING:
    from torch import Tensor

    from cxrdata.store.catalog import Catalog
    from cxrtrain.run_folder import Run

GROUP = "group"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Output:
    """One output of a head. name: the finding, or the class."""

    head: HeadTargets
    at: int

    @property
    def name(self) -> str:
        return self.head.outputs[self.at]

    def scores(self, outputs: Tensor) -> list[float]:
        """Probability by image (of regression the number), of what the head puts out."""
        from cxrtrain.objectives import probabilities

        return [float(value) for value in probabilities(self.head, outputs)[:, self.at].double().tolist()]

    def truth(self, column: pl.Series) -> pl.Series:
        """1 and 0 (of regression the number) from the head's column of targets, null where not known."""
        if self.head.kind == "classes":
            return (column == self.at).cast(pl.Float64)
        return column.cast(pl.Float64)


def output_of(run: Run, head: str | None, output: str | None) -> Output:
    """The output that was asked for; the only one if there is one. Raises CxrError: CXR-501 no such, CXR-502 several."""
    heads = {one.name: one for one in run.heads}
    if head is None:
        holding = [one for one in run.heads if output in one.outputs] if output else list(run.heads)
        if len(holding) > 1:
            problem = f"the run has {len(holding)} heads{f' with an output {output!r}' if output else ''}"
            raise CxrError("CXR-502", problem, fix=f"--head {' or '.join(one.name for one in holding)}")
        head = holding[0].name if holding else next(iter(heads))
    if head not in heads:
        problem = f"the run has no head {head!r}{nearest(head, list(heads))}"
        raise CxrError("CXR-501", problem, fix=f"--head {' or '.join(heads)}")
    chosen = heads[head]
    if output is None:
        if len(chosen.outputs) > 1:
            problem = f"head {head!r} has {len(chosen.outputs)} outputs"
            raise CxrError("CXR-502", problem, fix=f"--output {' or '.join(chosen.outputs)}")
        return Output(chosen, 0)
    if output not in chosen.outputs:
        problem = f"head {head!r} has no output {output!r}{nearest(output, list(chosen.outputs))}"
        raise CxrError("CXR-501", problem, fix=f"--output {' or '.join(chosen.outputs)}")
    return Output(chosen, chosen.outputs.index(output))


def facts_of(catalog: Catalog, images: pl.DataFrame, run: Run, asked: Output, by: str | None) -> pl.DataFrame:
    """Of images (dataset, image_id), in their order: patient_id, truth, age_years, view, and `group`, the value of the
    attribute `by` (`unknown` where it is not known; everyone `all` without one).

    Raises CxrError CXR-501 for an attribute that there is not.
    """
    targets = targets_of(catalog, images, run.experiment.head(asked.head.name)).frame
    column = targets.columns[asked.at if asked.head.kind == "multilabel" else 0]
    known = catalog.table("images").select(*KEY, "patient_id", "age_years", "view").collect()
    rows = images.select(KEY).with_columns(truth=asked.truth(targets[column]))
    rows = rows.join(known, on=list(KEY), how="left", maintain_order="left")
    if by is None:
        return rows.with_columns(pl.lit("all").alias(GROUP))
    groups = with_attributes(catalog, rows.select(KEY), [by])[by].fill_null(UNKNOWN)
    return rows.with_columns(groups.alias(GROUP))


def group_order(catalog: Catalog, by: str | None, present: list[str]) -> list[str]:
    """The groups that are there in the order of their scheme, other attributes' by name; the unknown last."""
    order = sorted(present)
    if by is not None and by.startswith("age_group:"):
        scheme = by.removeprefix("age_group:")
        table = catalog.table("age_groups").collect().filter(scheme=scheme).sort("group_order")
        order = [name for name in table["age_group"].to_list() if name in present]
    return [*(name for name in order if name != UNKNOWN), *([UNKNOWN] if UNKNOWN in present else [])]


def prevalence_of(run: Run, asked: Output) -> float:
    """The share of positives among the run's own training images, for chexnet's map. Raises CxrError CXR-502 where the run
    keeps no bundle."""
    import numpy as np

    from cxrtrain.bundle import open_bundle
    from cxrtrain.choice import has_own_bundle
    from cxrtrain.run_folder import BUNDLE

    if not has_own_bundle(run):
        problem = "the run keeps no bundle of its own, so the prevalence in its training images is not known"
        raise CxrError("CXR-502", problem, where=str(run.folder.path), fix="--prevalence P, between 0 and 1")
    bundle = open_bundle(run.folder.path / BUNDLE)
    fold = run.about.get("fold")
    rows = bundle.rows(run.experiment.data.train, fold=tuple(fold) if fold else None)
    targets = bundle.targets(next(one for one in bundle.heads if one.name == asked.head.name))[rows]
    if asked.head.kind == "classes":
        values = np.where(np.isnan(targets[:, 0]), np.nan, targets[:, 0] == asked.at)
    else:
        values = targets[:, asked.at]
    return float(np.nanmean(values))
