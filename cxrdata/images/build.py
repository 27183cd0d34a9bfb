"""Building an image store: the plan of shards, who makes them, and the index over all.

Each shard appears whole or not at all, and what is there is found again; so a build that was interrupted, or is one of
many (`--shard i/n`, an array of jobs), goes on where things stand. Whoever finds all shards there writes the index.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from cxrdata.engines import Engine, Tell, run_tasks
from cxrdata.errors import CxrError
from cxrdata.images.resize import Frame
from cxrdata.images.roots import roots_file
from cxrdata.images.shards import PART_SCHEMA, ShardTask, make_shard
from cxrdata.images.sources import FOUND
from cxrdata.images.store import FORMAT, INDEX_SCHEMA, KEY, REFUSED_SCHEMA, StoreFolder
from cxrdata.stages import make_private, remove_unfinished, sha256_file, sync_path, unfinished
from cxrdata.store.parquet import write_parquet
from cxrdata.store.publish import holding, replace_text, writing
from cxrdata.wording import counted

# What a worker holds in memory at a time, and what an interrupted one has to do again.
SHARD_BYTES = 64 << 20
# Counts up when the same file would be decoded to other pixels: what older versions made is then made again.
DECODING = 2
_PRELOAD = ("cxrdata.images.shards", "PIL.PngImagePlugin", "PIL.JpegImagePlugin")


@dataclass(frozen=True)
class StoreRequest:
    """What to build. `located`: dataset, image_id, path, member of every image wanted, as `locate` returns them.

    `share`: (i, n): only every n-th shard, beginning with the i-th, counted from 1. `engine`: who makes them. `prune`: images
    of the store that are not wanted are left out; else they stay.
    """

    out: Path
    located: pl.DataFrame = field(repr=False)
    frame: Frame
    share: tuple[int, int] = (1, 1)
    engine: Engine = field(default_factory=Engine)
    prune: bool = False
    shard_bytes: int = SHARD_BYTES


@dataclass(frozen=True)
class StoreReport:
    """What a build did. Of the `images` wanted (or its share of them): `decoded` now; `reused`, as they were before; `kept`
    though their file is gone; `refused`. Of others that the store had: `others` stay (in its share), `left_out` are no
    longer in it. `missing_shards` are still to be made by others (0: the store is finished)."""

    images: int
    decoded: int
    reused: int
    kept: int
    refused: int
    others: int
    left_out: int
    missing_shards: int
    seconds: float


def build_store(
    request: StoreRequest,
    *,
    tell: Tell = lambda _done, _total: None,
    tell_idle: Callable[[int], None] = lambda _idle: None,
) -> StoreReport:
    """Build, continue, add to or bring up to date the store at `request.out`. `tell` hears images done and images in all,
    `tell_idle` before it how many of those done were not read.

    Raises CxrError: CXR-147 no file of any image, or of any of a dataset that the store has; CXR-502 wrong wishes, or a
    store of another frame; CXR-602 not writable; CXR-603 another build writes it; those of `run_tasks`.
    """
    started = time.monotonic()
    folder, told = StoreFolder(request.out.absolute()), str(request.out)
    part_of, parts = request.share
    if not 1 <= part_of <= parts:
        raise CxrError("CXR-502", f"--shard {part_of}/{parts} is no share", fix="--shard I/N with I from 1 to N")
    _require_files(request.located)
    with writing(folder.path, option="--out", told=told):
        make_private(folder.parts)
    with holding(folder.lock, folder.path, what="store", alone=parts == 1, option="--out", told=told):
        _same_frame(folder, request.frame, told)
        known = _known(folder)
        _require_files(request.located, known)
        if parts == 1:
            remove_unfinished(folder.path)
            remove_unfinished(folder.parts)
        tasks = list(_plan(request, folder, known))
        mine = [task for task in tasks if task.number % parts == part_of - 1]
        sizes = [task.images.height for task in mine]
        done = run_tasks(
            make_shard, mine, request.engine, sizes=sizes, tell=tell, tell_idle=tell_idle, preload=_PRELOAD
        )
        missing = [task for task in tasks if not (folder.parts / task.part).is_file()]
        if not missing:
            with writing(folder.path, option="--out", told=told):
                _publish(folder, request.frame, tasks)
                if parts == 1 or request.prune:
                    _clear_parts(folder, tasks)
                if parts == 1:
                    _clear_shards(folder)
                    remove_unfinished(folder.path)  # of workers that were lost on the way
                    remove_unfinished(folder.parts)
    return StoreReport(
        sum(shard.images for shard in done),
        sum(shard.decoded for shard in done),
        sum(shard.reused for shard in done),
        sum(shard.kept for shard in done),
        sum(shard.refused for shard in done),
        sum(shard.others for shard in done),
        known.join(request.located, on=KEY, how="anti").height if request.prune else 0,
        len(missing),
        time.monotonic() - started,
    )


def build_summary(report: StoreReport) -> list[str]:
    """What a build did, in sentences."""
    rate = f" ({report.decoded / report.seconds:,.0f}/s)" if report.decoded and report.seconds else ""
    kept = f", {report.kept:,} kept though their file is gone" if report.kept else ""
    images = f"{counted(report.images, 'image')}: {report.decoded:,} decoded{rate}"
    said = [f"{images}, {report.reused:,} as they were{kept}, {report.refused:,} refused"]
    if report.others:
        said.append(f"{counted(report.others, 'image')} of the store not asked for: they stay; --prune leaves them out")
    if report.left_out:
        said.append(f"{counted(report.left_out, 'image')} of the store not asked for: left out")
    return said


def _require_files(located: pl.DataFrame, known: pl.DataFrame | None = None) -> None:
    """Raise CxrError CXR-147 where nothing was found of what is wanted, or, of a dataset that the store has pixels of, no
    file at all: rather than that all its files have gone, the disk they lie on is not there."""
    held = set() if known is None else set(known.filter(pl.col("code").is_null())["dataset"])
    found = set(located.drop_nulls("path")["dataset"])
    for dataset, wanted in located.unique(KEY)["dataset"].value_counts(sort=False).sort("dataset").iter_rows():
        if dataset in found or (found and dataset not in held):
            continue
        raise CxrError(
            "CXR-147",
            f"no file was found of any of the {counted(wanted, 'image')} of {dataset} that were asked for"
            + (", and the store has images of it" if dataset in held else ""),
            fix=f"mount what they lie on, or correct where that is: --root {dataset}=PATH, {roots_file()}; "
            "--dataset leaves it out",
        )


def _same_frame(folder: StoreFolder, frame: Frame, told: str) -> None:
    wanted = {"format": FORMAT, "decoding": DECODING, "side": frame.side, "fit": frame.fit, "exact": frame.exact}
    if folder.plan.is_file():
        there = {"exact": False} | json.loads(folder.plan.read_text(encoding="utf-8"))
        if there != wanted:
            raise CxrError(
                "CXR-502",
                f"the store holds images of {_told_frame(there)}, not of {_told_frame(wanted)}",
                where=told,
                fix="name another folder with --out, or the size, the fit and the exactness of this one",
            )
        return
    if any(folder.path.glob("*.npy")) or folder.index.exists():
        raise CxrError("CXR-502", "the folder holds files that are no store's", where=told, fix="name an empty folder")
    with writing(folder.path, option="--out", told=told):
        replace_text(folder.plan, json.dumps(wanted, sort_keys=True) + "\n")


def _told_frame(plan: dict[str, Any]) -> str:
    made = "" if (plan.get("format"), plan.get("decoding")) == (FORMAT, DECODING) else " made by another cxrdata"
    return f"side {plan.get('side')} by {plan.get('fit')!r}{' --exact' if plan.get('exact') else ''}{made}"


def _plan(request: StoreRequest, folder: StoreFolder, known: pl.DataFrame) -> Iterator[ShardTask]:
    """The shards of all images of the store to be, in the order of their keys, with what earlier builds know of them."""
    images = request.located.unique(KEY, keep="first").select(
        pl.col(list(FOUND)).cast(pl.String), asked=pl.lit(value=True)
    )
    if not request.prune:
        nowhere = {name: pl.lit(None, pl.String) for name in FOUND if name not in KEY}
        others = known.join(images, on=KEY, how="anti").select(*KEY, **nowhere, asked=pl.lit(value=False))
        images = pl.concat([images, others])
    images = images.sort(KEY).join(known, on=KEY, how="left", maintain_order="left")
    frame = request.frame
    rows = max(1, request.shard_bytes // frame.side**2)
    for number, start in enumerate(range(0, images.height, rows)):
        mine = images[start : start + rows]
        digest = hashlib.sha256(f"{FORMAT} {DECODING} {frame}".encode())
        for dataset, image_id in mine.select(KEY).iter_rows():
            digest.update(f"\n{dataset}\t{image_id}".encode())
        part = f"{number:05d}-{digest.hexdigest()[:12]}.parquet"
        yield ShardTask(folder.path, number, part, frame, mine, str(request.out))


def _known(folder: StoreFolder) -> pl.DataFrame:
    """What the parts say, one row an image; of parts that share an image, the newest. Where a part is damaged, what the
    index and the list of refused images say: neither the file's size nor its time, so that it is read again if it is asked
    for, but what no one asks for stays."""
    frames = []
    for path in sorted(folder.parts.glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            frames.append(pl.read_parquet(path).select(list(PART_SCHEMA)))
        except (OSError, pl.exceptions.PolarsError):
            path.unlink(missing_ok=True)  # damaged: its shard is made again
    for path in (folder.index, folder.refused):
        with suppress(OSError, pl.exceptions.PolarsError):
            frames.append(pl.read_parquet(path))
    known = pl.concat([pl.DataFrame(schema=PART_SCHEMA), *frames], how="diagonal")
    return known.unique(KEY, keep="first", maintain_order=True)


def _publish(folder: StoreFolder, frame: Frame, tasks: list[ShardTask]) -> None:
    """Write index, refused images and manifest from the parts of a finished plan."""
    frames = [pl.read_parquet(folder.parts / task.part).select(list(PART_SCHEMA)) for task in tasks]
    parts = pl.concat(frames) if frames else pl.DataFrame(schema=PART_SCHEMA)
    parts = parts.sort(KEY)
    index = parts.filter(pl.col("row").is_not_null()).select(list(INDEX_SCHEMA))
    refused = parts.filter(pl.col("code").is_not_null()).select(list(REFUSED_SCHEMA))
    _replace_parquet(index, folder.index, "One row an image of the store: where its pixels are.")
    _replace_parquet(refused, folder.refused, "One row an image that could not be decoded, and why.")
    shards = index.group_by("shard").agg(pl.len().alias("images")).sort("shard")
    manifest = {
        "format": FORMAT,
        "side": frame.side,
        "fit": frame.fit,
        "exact": frame.exact,
        "dtype": "uint8",
        "decoding": DECODING,
        "images": index.height,
        "refused": dict(refused["code"].value_counts(sort=False).sort("code").iter_rows()),
        "datasets": dict(index["dataset"].value_counts(sort=False).sort("dataset").iter_rows()),
        "index_sha256": sha256_file(folder.index),
        "shards": [{"file": name, "images": images} for name, images in shards.iter_rows()],
    }
    replace_text(folder.manifest, json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def _replace_parquet(frame: pl.DataFrame, path: Path, description: str) -> None:
    aside = unfinished(path)
    try:
        write_parquet(frame, aside, description=description)
        sync_path(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _clear_parts(folder: StoreFolder, tasks: list[ShardTask]) -> None:
    """Remove parts that the plan does not use any more: an image that only they know of would be taken for one of the
    store."""
    parts = {task.part for task in tasks}
    for path in folder.parts.glob("*.parquet"):
        if path.name not in parts:
            path.unlink(missing_ok=True)


def _clear_shards(folder: StoreFolder) -> None:
    """Remove shards that the index does not name: alone, since another build may be about to name one."""
    used = set(pl.read_parquet(folder.index, columns=["shard"])["shard"].unique())
    for path in folder.path.glob("shard-*.npy"):
        if path.name not in used:
            path.unlink(missing_ok=True)
