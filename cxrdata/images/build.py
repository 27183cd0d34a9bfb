"""Building an image store: the plan of shards, who makes them, and the index over all.

Each shard appears whole or not at all, and what is there is found again; so a build that was interrupted, or is one of
many (`--shard i/n`, an array of jobs), goes on where things stand. Whoever finds all shards there writes the index.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from cxrdata.engines import Engine, Tell, run_tasks
from cxrdata.errors import CxrError
from cxrdata.images.resize import Frame
from cxrdata.images.shards import PART_SCHEMA, ShardTask, make_shard
from cxrdata.images.store import FORMAT, INDEX_SCHEMA, KEY, REFUSED_SCHEMA, StoreFolder
from cxrdata.stages import make_private, remove_unfinished, sha256_file, sync_path, unfinished
from cxrdata.store.parquet import write_parquet
from cxrdata.store.publish import holding, replace_text, writing

# What a worker holds in memory at a time, and what an interrupted one has to do again.
SHARD_BYTES = 64 << 20
# Counts up when the same file would be decoded to other pixels: what older versions made is then made again.
DECODING = 2
_PRELOAD = ("cxrdata.images.shards", "PIL.PngImagePlugin", "PIL.JpegImagePlugin")


@dataclass(frozen=True)
class StoreRequest:
    """What to build. `located`: dataset, image_id, path, member of every image wanted, as `locate` returns them.

    `share`: (i, n): only every n-th shard, beginning with the i-th, counted from 1. `engine`: who makes them.
    """

    out: Path
    located: pl.DataFrame = field(repr=False)
    frame: Frame
    share: tuple[int, int] = (1, 1)
    engine: Engine = field(default_factory=Engine)
    shard_bytes: int = SHARD_BYTES


@dataclass(frozen=True)
class StoreReport:
    """What a build did: images in the plan (or its share), of them decoded now, reused, refused; shards of the store that
    are still to be made by others (0: the store is finished)."""

    images: int
    decoded: int
    reused: int
    refused: int
    missing_shards: int
    seconds: float


def build_store(request: StoreRequest, *, tell: Tell = lambda _done, _total: None) -> StoreReport:
    """Build, continue or bring up to date the store at `request.out`. `tell` hears images done and images in all.

    Raises CxrError: CXR-502 wrong wishes, or a store of another frame; CXR-602 not writable; CXR-603 another build
    writes it; those of `run_tasks`.
    """
    started = time.monotonic()
    folder = StoreFolder(request.out)
    part_of, parts = request.share
    if not 1 <= part_of <= parts:
        raise CxrError("CXR-502", f"--shard {part_of}/{parts} is no share", fix="--shard I/N with I from 1 to N")
    with writing(folder.path, option="--out"):
        make_private(folder.parts)
    with holding(folder.lock, folder.path, what="store", alone=parts == 1, option="--out"):
        _same_frame(folder, request.frame)
        if parts == 1:
            remove_unfinished(folder.path)
            remove_unfinished(folder.parts)
        tasks = list(_plan(request, folder))
        mine = [task for task in tasks if task.number % parts == part_of - 1]
        sizes = [task.images.height for task in mine]
        done = run_tasks(make_shard, mine, request.engine, sizes=sizes, tell=tell, preload=_PRELOAD)
        missing = [task for task in tasks if not (folder.parts / task.part).is_file()]
        if not missing:
            with writing(folder.path, option="--out"):
                _publish(folder, request.frame, tasks)
                if parts == 1:
                    _clear(folder, tasks)
                    remove_unfinished(folder.path)  # of workers that were lost on the way
                    remove_unfinished(folder.parts)
    return StoreReport(
        sum(shard.images for shard in done),
        sum(shard.decoded for shard in done),
        sum(shard.reused for shard in done),
        sum(shard.refused for shard in done),
        len(missing),
        time.monotonic() - started,
    )


def _same_frame(folder: StoreFolder, frame: Frame) -> None:
    wanted = {"format": FORMAT, "decoding": DECODING, "side": frame.side, "fit": frame.fit}
    if folder.plan.is_file():
        there = json.loads(folder.plan.read_text(encoding="utf-8"))
        if there != wanted:
            raise CxrError(
                "CXR-502",
                f"the store holds images of side {there.get('side')} by {there.get('fit')!r}, not {frame.side} by {frame.fit!r}",
                where=str(folder.path),
                fix="name another folder with --out, or the size and fit of this one",
            )
        return
    if any(folder.path.glob("*.npy")) or folder.index.exists():
        raise CxrError(
            "CXR-502", "the folder holds files that are no store's", where=str(folder.path), fix="name an empty folder"
        )
    with writing(folder.path, option="--out"):
        replace_text(folder.plan, json.dumps(wanted, sort_keys=True) + "\n")


def _plan(request: StoreRequest, folder: StoreFolder) -> Iterator[ShardTask]:
    """The shards of all images wanted, in the order of their keys, with what earlier builds know of them."""
    images = request.located.unique(KEY, keep="first").sort(KEY)
    known = _known(folder)
    images = images.join(known, on=KEY, how="left", maintain_order="left")
    rows = max(1, request.shard_bytes // request.frame.side**2)
    for number, start in enumerate(range(0, images.height, rows)):
        mine = images[start : start + rows]
        digest = hashlib.sha256(f"{FORMAT} {DECODING} {request.frame}".encode())
        for dataset, image_id in mine.select(KEY).iter_rows():
            digest.update(f"\n{dataset}\t{image_id}".encode())
        part = f"{number:05d}-{digest.hexdigest()[:12]}.parquet"
        yield ShardTask(folder.path, number, part, request.frame, mine)


def _known(folder: StoreFolder) -> pl.DataFrame:
    """What the parts say, one row an image; of parts that share an image, the newest."""
    frames = []
    for path in sorted(folder.parts.glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            frames.append(pl.read_parquet(path).select(list(PART_SCHEMA)))
        except (OSError, pl.exceptions.PolarsError):
            path.unlink(missing_ok=True)  # damaged: its shard is made again
    if not frames:
        return pl.DataFrame(schema=PART_SCHEMA)
    return pl.concat(frames).unique(KEY, keep="first", maintain_order=True)


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


def _clear(folder: StoreFolder, tasks: list[ShardTask]) -> None:
    """Remove shards and parts that no plan uses any more."""
    parts = {task.part for task in tasks}
    for path in folder.parts.glob("*.parquet"):
        if path.name not in parts:
            path.unlink(missing_ok=True)
    used = set(pl.read_parquet(folder.index, columns=["shard"])["shard"].unique())
    for path in folder.path.glob("shard-*.npy"):
        if path.name not in used:
            path.unlink(missing_ok=True)
