"""One shard of an image store: what every engine runs, on whichever process or machine.

A shard's result depends on its images' files and the frame alone. What was decoded before is taken over as long as the
file has the size and the time that it had then.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cxrdata.errors import CxrError
from cxrdata.images.decode import Grey
from cxrdata.images.resize import Frame, decode_into
from cxrdata.images.sources import ImageFile, files_of, read_together
from cxrdata.images.store import INDEX_SCHEMA, StoreFolder, open_shard
from cxrdata.stages import sha256_file, sync_path, unfinished
from cxrdata.store.parquet import write_parquet
from cxrdata.store.publish import writing

# Of a part: the index's columns (shard and row null where refused), why, and the file as it was.
PART_SCHEMA = INDEX_SCHEMA | {
    "code": pl.String, "reason": pl.String, "source_bytes": pl.Int64, "source_mtime_ns": pl.Int64,
}  # fmt: skip
_SAID_BEFORE = [name for name in PART_SCHEMA if name not in ("dataset", "image_id")]
# Refusals that say nothing of the file itself: tried again each time.
_PASSING = ("CXR-145", "CXR-147")


@dataclass(frozen=True)
class ShardTask:
    """What a worker is told. `images`: sorted, with dataset, image_id, path, member (path null: no file was found), and
    what the parts of earlier builds say of them. `part`: the name of the file that will say what became of them."""

    store: Path
    number: int
    part: str
    frame: Frame
    images: pl.DataFrame = field(repr=False)


@dataclass(frozen=True)
class ShardDone:
    """Counts of one shard: images `decoded` and `refused` now or before, `reused` of both, unread."""

    number: int
    images: int
    decoded: int
    reused: int
    refused: int


def make_shard(task: ShardTask, tell: Callable[[int], None] = lambda _: None) -> ShardDone:
    """Write a shard and its part, or find that both are as they should be. `tell` is told each image's place when done.

    Raises CxrError CXR-602 where the store cannot be written. An image that cannot be decoded is a row of the part.
    """
    folder = StoreFolder(task.store)
    rows = task.images.to_dicts()
    for row, file in zip(rows, files_of(task.images), strict=True):
        row["file"] = file
        row["seen"] = _fingerprint(file)
    maps = _sound(folder, {str(row["shard"]) for row in rows if row["shard"] is not None})
    kept = [_is_as_before(row, maps) for row in rows]
    if all(kept) and (folder.parts / task.part).is_file() and _in_one_shard(rows):
        tell(len(rows))
        refused = sum(row["code"] is not None for row in rows)
        return ShardDone(task.number, len(rows), 0, len(rows), refused)
    with writing(task.store, option="--out"):
        pixels, part = _fill(task, rows, kept, maps, tell)
        name = _write_shard(folder, task.number, pixels) if len(pixels) else None
        part = part.with_columns(shard=pl.when(pl.col("row").is_not_null()).then(pl.lit(name, pl.String)))
        aside = unfinished(folder.parts / task.part)
        try:
            write_parquet(part, aside, description="What became of the images of one shard.")
            sync_path(aside)
            aside.replace(folder.parts / task.part)
        finally:
            aside.unlink(missing_ok=True)
    return ShardDone(task.number, len(rows), kept.count(False), kept.count(True), part["code"].count())


def _fill(
    task: ShardTask, rows: list[dict[str, Any]], kept: list[bool], maps: dict[str, Grey], tell: Callable[[int], None]
) -> tuple[Grey, pl.DataFrame]:
    """The shard's pixels, and its part without the shard's name."""
    buffer = np.empty((len(rows), task.frame.side, task.frame.side), dtype=np.uint8)
    said: list[dict[str, Any]] = [{name: row[name] for name in PART_SCHEMA} for row in rows]
    done = 0
    fresh = []
    for at, (row, as_before) in enumerate(zip(rows, kept, strict=True)):
        if as_before:
            if row["code"] is None:
                buffer[at] = maps[str(row["shard"])][row["row"]]
        elif isinstance(row["file"], ImageFile):
            fresh.append(at)
            continue
        else:
            said[at] |= _as_seen(row) | {
                "code": "CXR-147",
                "reason": "no file of this image was found below the dataset's roots",
            }
        done += 1
        tell(done)
    for place, data in read_together([rows[at]["file"] for at in fresh]):
        at = fresh[place]
        said[at] |= _as_seen(rows[at]) | _decoded(data, task.frame, buffer[at])
        done += 1
        tell(done)
    # Those that are there, one after the other, in the order of their keys.
    filled = 0
    for at, now in enumerate(said):
        if now["code"] is None:
            if filled < at:
                buffer[filled] = buffer[at]
            now["row"] = filled
            filled += 1
    return buffer[:filled], pl.DataFrame(said, schema=PART_SCHEMA, orient="row")


def _as_seen(row: dict[str, Any]) -> dict[str, Any]:
    """What the part says of an image that is looked at now, before that."""
    seen = row["seen"]
    size, changed = seen if isinstance(seen, tuple) else (None, None)
    return dict.fromkeys(_SAID_BEFORE) | {"source_bytes": size, "source_mtime_ns": changed}


def _decoded(data: bytes | CxrError | OSError, frame: Frame, out: Grey) -> dict[str, Any]:
    """Decode one image into its place; what its row of the part says. Nothing that is wrong with a file is raised."""
    if isinstance(data, OSError):
        return {"code": "CXR-147", "reason": data.strerror or str(data)}
    if isinstance(data, CxrError):
        return {"code": data.code, "reason": data.problem}
    now: dict[str, Any] = {"source_sha256": hashlib.sha256(data).hexdigest()}
    try:
        decode_into(data, frame, out)
    except CxrError as error:
        return now | {"code": error.code, "reason": error.problem}
    except OSError as error:
        return now | {"code": "CXR-147", "reason": error.strerror or str(error)}
    except MemoryError:
        return now | {"code": "CXR-142", "reason": "there is not enough memory to decode it"}
    mean, sd = mean_and_sd(out)
    return now | {"mean": mean, "sd": sd}


def mean_and_sd(pixels: Grey) -> tuple[float, float]:
    """Mean and standard deviation of 8-bit values, from whole numbers: the same on every machine."""
    counts = np.bincount(pixels.ravel(), minlength=256)
    values = np.arange(256)
    n, total, squares = pixels.size, int(counts @ values), int(counts @ values**2)
    return total / n, math.sqrt(n * squares - total * total) / n


def _fingerprint(file: ImageFile | None) -> tuple[int, int] | None:
    """Size and time of a file, where it is there."""
    if file is None:
        return None
    try:
        return file.fingerprint()
    except (OSError, CxrError):
        return None


def _sound(folder: StoreFolder, names: set[str]) -> dict[str, Grey]:
    """Those of some shards that are there and whole, mapped; what lay in the others is decoded again."""
    maps = {}
    for name in names:
        with suppress(CxrError):
            maps[name] = open_shard(folder.shard(name))
    return maps


def _is_as_before(row: dict[str, Any], maps: dict[str, Grey]) -> bool:
    if row["seen"] is None or row["seen"] != (row["source_bytes"], row["source_mtime_ns"]):
        return False
    if row["code"] is not None:
        return row["code"] not in _PASSING
    return row["shard"] in maps and row["row"] < len(maps[row["shard"]])


def _in_one_shard(rows: list[dict[str, Any]]) -> bool:
    """Whether the images that were decoded lie in one shard, one after the other: this one, made before."""
    places = [(row["shard"], row["row"]) for row in rows if row["code"] is None]
    return all(place == (places[0][0], at) for at, place in enumerate(places))


def _write_shard(folder: StoreFolder, number: int, pixels: Grey) -> str:
    """Write the shard under a name that its content gives it; returns the name."""
    aside = unfinished(folder.shard(f"shard-{number:05d}.npy"))
    try:
        with aside.open("wb") as file:
            # As `np.save` writes it, which would tell of a full disk without the system's reason.
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(pixels))
            file.write(pixels.data)
        sync_path(aside)
        name = f"shard-{number:05d}-{sha256_file(aside)[:12]}.npy"
        aside.replace(folder.shard(name))
    finally:
        aside.unlink(missing_ok=True)
    return name
