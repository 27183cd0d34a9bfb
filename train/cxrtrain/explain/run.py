"""From a run and images to a folder of pictures: maps over images, contact sheets by group, mean images.

OUT/sheet.png, OUT/sheet.html   all pictures by group
OUT/pictures/0001.png …         the image, and beside it the image under its map
OUT/means.png                   the mean image of each group, where groups are asked for
OUT/index.parquet               dataset, image_id, file, group, head, output, method, score, truth, age_years, view, …
OUT/DATA_TERMS.md               the pictures are patients' images: the terms of their datasets hold

"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.errors import CxrError
from cxrdata.export.parquet import TERMS, copy_terms
from cxrdata.stages import make_private, unfinished
from cxrdata.store.parquet import write_parquet
from cxrdata.wording import counted
from cxrtrain.bundle import KEY, Bundle
from cxrtrain.choice import Choice
from cxrtrain.distributed import joined
from cxrtrain.explain.cam import CHEXNET_LIMIT, direction, maps_of
from cxrtrain.explain.layer import spatial_layer
from cxrtrain.explain.overlay import captioned, enlarged, overlay, placed, side_by_side
from cxrtrain.explain.question import GROUP, Output, facts_of, group_order, prevalence_of
from cxrtrain.explain.sheets import Picture, write_means, write_sheets
from cxrtrain.inputs import as_float
from cxrtrain.pixels import PixelStore
from cxrtrain.predict import Asked, load, predict
from cxrtrain.run_folder import Run

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

INDEX = "index.parquet"
PICTURES = "pictures"
_BATCH = 16
_DESCRIPTION = "One row a picture: its file, and what is known and said of the image."
_COLUMNS = (
    "dataset", "image_id", "file", GROUP, "head", "output", "method", "layer", "score", "truth", "threshold", "age_years",
    "view", "map_low", "map_high", "run_id",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What to draw. per_group: so many of each group, the highest scores first. threshold: draw false positives only, images
    without the finding that score at least so. prevalence: for `chexnet`; None: of the run's training images. top: for
    `ablation-cam`, so many units."""

    output: Output
    method: str
    store: Path
    out: Path
    by: str | None = None
    per_group: int = 8
    threshold: float | None = None
    prevalence: float | None = None
    top: int | None = None
    device: str | None = None
    skip_missing: bool = False


@dataclass(frozen=True)
class Explained:
    """counts: group, images, negatives, shown, and with a threshold false_positives."""

    index: pl.DataFrame
    counts: pl.DataFrame


def explain(
    run: Run,
    catalog: Catalog,
    images: Choice,
    request: Request,
    *,
    tell: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Explained:
    """Write the folder; it appears whole or not at all.

    Raises CxrError: CXR-511 the folder is there and not empty; CXR-502 a method that does not fit the net; CXR-507 no image
    is left; those of `predict`.
    """
    check_out(request.out)
    asked = Asked(images.bundle, request.store, images.part, request.device, request.skip_missing)
    said = predict(run, asked, tell=tell, say=say)
    keys = pl.DataFrame({name: getattr(said.bundle, name) for name in KEY})
    facts = facts_of(catalog, keys, run, request.output, request.by)
    scores = request.output.scores(said.outputs[request.output.head.name])
    whole = facts.with_columns(pl.Series("score", scores), pl.lit(request.threshold, pl.Float64).alias("threshold"))
    order = group_order(catalog, request.by, whole[GROUP].unique().to_list())
    chosen, counts = _chosen(whole, request, order)
    tell(f"maps of {len(chosen):,} images")
    aside = unfinished(request.out)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        make_private(aside / PICTURES)
        index = _drawn(run, said.bundle, chosen, request, aside, counts)
        if request.by is not None:
            wrong = None if request.threshold is None else _false(whole)
            write_means(request.store, whole, wrong, order, aside)
        write_parquet(index, aside / INDEX, description=_DESCRIPTION)
        copy_terms(catalog, aside)
        if request.out.is_dir():
            request.out.rmdir()
        aside.rename(request.out)
    except OSError as error:
        fix = "name a folder that can be made and written to"
        raise CxrError("CXR-602", f"cannot write: {error.strerror}", where=str(request.out), fix=fix) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    say(f"the pictures are images of patients: they may go no further than {TERMS} beside them allows")
    return Explained(index, counts)


def check_out(out: Path) -> None:
    """Raises CxrError CXR-511 where something is in the way."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CxrError("CXR-511", "there is something already", where=str(out), fix="name a new folder with --out")


def _false(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("truth") == 0, pl.col("score") >= pl.col("threshold"))


def _chosen(whole: pl.DataFrame, request: Request, order: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows to draw, by group and then by score, and how many there were to choose from."""
    candidates = whole if request.threshold is None else _false(whole)
    if candidates.is_empty():
        none = (
            "no image is called positive falsely"
            if whole.filter(truth=0).height
            else "no image is known to be negative"
        )
        raise CxrError("CXR-507", none, fix="a lower --threshold, or other images")
    rank = {name: at for at, name in enumerate(order)}
    sorted_rows = candidates.with_columns(pl.col(GROUP).replace_strict(rank).alias("_rank")).sort(
        "_rank", "score", *KEY, descending=[False, True, False, False]
    )
    chosen = sorted_rows.group_by("_rank", maintain_order=True).head(request.per_group).drop("_rank")
    counts = []
    for name in order:
        of_group = whole.filter(pl.col(GROUP) == name)
        row = {"group": name, "images": of_group.height, "negatives": of_group.filter(truth=0).height}
        if request.threshold is not None:
            row["false_positives"] = _false(of_group).height
        counts.append(row | {"shown": chosen.filter(pl.col(GROUP) == name).height})
    return chosen, pl.DataFrame(counts)


def _drawn(
    run: Run, bundle: Bundle, chosen: pl.DataFrame, request: Request, folder: Path, counts: pl.DataFrame
) -> pl.DataFrame:
    """Draw the pictures and the sheets; the rows of the index."""
    place_of = {key: at for at, key in enumerate(zip(bundle.dataset, bundle.image_id, strict=True))}
    rows = np.asarray([place_of[key] for key in chosen.select(KEY).iter_rows()], dtype=np.int64)
    store = PixelStore(request.store, bundle, side=run.experiment.data.side)
    images = np.empty((len(rows), store.side, store.side), dtype=np.uint8)
    store.read(rows, images)
    maps, layer = _maps(run, images, request)
    signed = request.method in {"cam", "chexnet"}
    pictures, lines = [], []
    for at, row in enumerate(chosen.iter_rows(named=True)):
        limit = CHEXNET_LIMIT if request.method == "chexnet" else float(np.abs(maps[at]).max())
        pair = side_by_side(images[at], overlay(images[at], maps[at], limit))
        file = f"{PICTURES}/{at + 1:04d}.png"
        canvas = captioned(pair, caption(row, request), limit, signed=signed)
        canvas.save(folder / file)
        pictures.append(Picture(row[GROUP], file, canvas, f"{row['dataset']}:{row['image_id']}"))
        lines.append({"file": file, "map_low": float(maps[at].min()), "map_high": float(maps[at].max())})
    write_sheets(pictures, _headings(counts, request), f"{request.output.name}: {request.method}, {layer}", folder)
    named = chosen.hstack(pl.DataFrame(lines)).with_columns(
        head=pl.lit(request.output.head.name), output=pl.lit(request.output.name), method=pl.lit(request.method),
        layer=pl.lit(layer), run_id=pl.lit(run.run_id),
    )  # fmt: skip
    return named.select(_COLUMNS)


def _maps(run: Run, images: np.ndarray, request: Request) -> tuple[np.ndarray, str]:
    """Maps of images, enlarged to their side, and the layer that they are of, in words."""
    import torch

    with joined(request.device) as place:
        net, inputs = load(run, place)
        net.eval()
        experiment = run.experiment
        side = inputs.side(experiment.data.side)
        layer = spatial_layer(net, channels=experiment.input.channels, side=side)
        weight, _ = direction(net.heads[request.output.head.name], request.output.head, request.output.at)
        prevalence = request.prevalence
        if request.method == "chexnet" and prevalence is None:
            prevalence = prevalence_of(run, request.output)
        found = []
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(images[start : start + _BATCH])[:, None].to(place.device)
            values = inputs(as_float(batch))
            maps = maps_of(request.method, layer, values, weight, prevalence=prevalence, top=request.top)
            found.append(enlarged(maps, side))
        about = f"{layer.name}, {maps.shape[1]} by {maps.shape[2]} places"
        return placed(np.concatenate(found), experiment.data.side), about


def caption(row: dict[str, object], request: Request) -> list[str]:
    """What stands below a picture: what the model says, the truth, age and view; then the key."""
    kind = request.output.head.kind
    truth, age = row["truth"], row["age_years"]
    score = f"{row['score']:.3g}"
    if truth is None:
        told = "truth not known"
    elif kind == "regression":
        told = f"truth {truth:.3g}"
    else:
        told = "truth positive" if truth else "truth negative"
    years = "age unknown" if age is None else f"{age:.2g} years" if float(str(age)) < 2 else f"{age:.0f} years"
    return [
        f"{request.output.name} {score}, {told}, {years}, {row['view'] or 'view unknown'}",
        f"{row['dataset']}:{row['image_id']}",
    ]


def _headings(counts: pl.DataFrame, request: Request) -> dict[str, str]:
    """Of each group what stands above its pictures."""
    found = {}
    for row in counts.iter_rows(named=True):
        about = f"{row['group']}: " if request.by is not None else ""
        if request.threshold is None:
            found[row["group"]] = f"{about}{row['shown']:,} of {counted(row['images'], 'image')}, highest scores first"
        else:
            n = row["false_positives"]
            found[row["group"]] = (
                f"{about}{counted(n, 'false positive')} of {row['negatives']:,} negatives at {request.threshold:.3g}; "
                f"{row['shown']:,} shown, highest scores first"
            )
    return found
