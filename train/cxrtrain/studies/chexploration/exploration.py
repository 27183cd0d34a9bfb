"""What the features of a model know of patients: `cxrdata explore`, on the test set as it is and resampled."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.explore.result import Exploration
from cxrdata.explore.run import ExploreRequest, explore
from cxrdata.explore.sampling import Sampling
from cxrdata.report.figure import save_figures
from cxrtrain.studies.chexploration import design

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog
    from cxrtrain.studies.chexploration.design import Wish

_ABOUT = "about.json"
# Of an exploration, what is most to the point first.
ON_PAGE = ("tests", "marginals_by_race", "marginals_by_sex", "marginals_by_disease", "explained")


def explored(
    catalog: Catalog, embeddings: Path, wish: Wish, *, predictions: Path | None, draws: pl.DataFrame | None
) -> Exploration:
    """As published: the groups are White, Asian and Black, as far as the test set has them. predictions: whose logits are
    marginals too. draws: none where the test set could not be resampled. Raises CxrError as `explore` does."""
    request = ExploreRequest(
        embeddings,
        sampling=Sampling(by="race", per_group=wish.per_group, seed=design.SEED),
        predictions=predictions,
        labels=design.FINDINGS,
        resampled=draws,
        plane=wish.plane,
        min_cell=wish.min_cell,
    )
    try:
        return explore(catalog, request)
    except CxrError as error:
        if not wish.plane or error.code != "CXR-410":
            raise
        found = explore(
            catalog, replace(request, plane=False)
        )  # too few images for t-SNE alone leave the rest as it is
        return replace(found, notes=[*found.notes, f"t-SNE is left out: {error.problem}"])


def save(found: Exploration, folder: Path) -> None:
    """Its tables and figures, and what is needed to draw some of them again on the page, with the numbers of these as CSV."""
    found.save(folder)
    save_figures([figure for figure in found.figures if figure.name in ON_PAGE], folder / "figures", formats=("csv",))
    about = {
        "marginals": found.marginals,
        "values": dict(found.values),
        "min_cell": found.min_cell,
        "notes": found.notes,
    }
    (folder / _ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read(folder: Path) -> Exploration:
    """What `save` wrote."""
    frames = {name: pl.read_parquet(folder / f"{name}.parquet") for name in ("sample", "explained", "tests")}
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    values = {name: tuple(texts) for name, texts in about["values"].items()}
    marginals, min_cell = tuple(about["marginals"]), about["min_cell"]
    return Exploration(**frames, marginals=marginals, values=values, min_cell=min_cell, notes=about["notes"])
