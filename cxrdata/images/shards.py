"""One shard of an image store: what every engine runs, on whichever process or machine.

A shard's result depends on its images' files and the frame alone. What was decoded before is taken over as long as the
file has the size and the time that it had then, and where the file is gone or was not asked for: pixels are given up only
for newer ones.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cxrdata.engines import TellTask
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
_NOT_READABLE = "CXR-147"
_PASSING = ("CXR-145", _NOT_READABLE)
_NO_FILE = "no file of this image was found below the dataset's roots"
_NOT_ASKED = "its shard was damaged, and it was not asked for: ask for it again"


@dataclass(frozen=True)
class ShardTask:
    """What a worker is told. `images`: sorted, with dataset, image_id, path, member (path null: no file was found), `asked`
    (false: an image of the store that this build was not asked for), and what the parts of earlier builds say of them.
    `part`: the name of the file that will say what became of them. `told`: what messages call the store."""

    store: Path
    number: int
    part: str
    frame: Frame
    images: pl.DataFrame = field(repr=False)
    told: str | None = None


@dataclass(frozen=True)
class ShardDone:
    """Counts of one shard. Of the images asked for: `decoded` now, `reused` as they were before, `kept` though their file is
    gone, `refused` now or before. `others`: those not asked for, which stay."""

    number: int
    decoded: int = 0
    reused: int = 0
    kept: int = 0
    refused: int = 0
    others: int = 0

    @property
    def images(self) -> int:
        """Those asked for."""
        return self.decoded + self.reused + self.kept + self.refused


# What becomes of an image, by the count of `ShardDone` that it is one of.
_DECODED, _REUSED, _KEPT, _REFUSED, _OTHER = "decoded", "reused", "kept", "refused", "others"


def make_shard(task: ShardTask, tell: TellTask = lambda _done, _idle=0, /: None) -> ShardDone:
    """Write a shard and its part, or find that both are as they should be. `tell` is told each image's place when done, and
    how many so far were not read.

    Raises CxrError CXR-602 where the store cannot be written. An image that cannot be decoded is a row of the part.
    """
    folder = StoreFolder(task.store)
    rows = task.images.to_dicts()
    for row, file in zip(rows, files_of(task.images), strict=True):
        row["file"] = file
        row["seen"] = _fingerprint(file)
    maps = _sound(folder, {str(row["shard"]) for row in rows if row["shard"] is not None})
    fates = [_unread(row, maps) for row in rows]
    if None not in fates and (folder.parts / task.part).is_file() and _in_one_shard(rows):
        tell(len(rows), len(rows))
    else:
        with writing(task.store, option="--out", told=task.told):
            pixels, part = _fill(task, rows, fates, maps, tell)
            name = _write_shard(folder, task.number, pixels) if len(pixels) else None
            part = part.with_columns(shard=pl.when(pl.col("row").is_not_null()).then(pl.lit(name, pl.String)))
            aside = unfinished(folder.parts / task.part)
            try:
                write_parquet(part, aside, description="What became of the images of one shard.")
                sync_path(aside)
                aside.replace(folder.parts / task.part)
            finally:
                aside.unlink(missing_ok=True)
    return ShardDone(task.number, **Counter(str(fate) for fate in fates))


def _is_held(row: dict[str, Any], maps: dict[str, Grey]) -> bool:
    """Whether there are pixels of an image from before."""
    return row["code"] is None and row["shard"] in maps and row["row"] < len(maps[row["shard"]])


def _unread(row: dict[str, Any], maps: dict[str, Grey]) -> str | None:
    """What becomes of an image without reading its file; None: it has to be read."""
    refused, held = row["code"] is not None, _is_held(row, maps)
    if not row["asked"]:
        return _OTHER if refused or held else None
    if row["seen"] is None:
        return _KEPT if held else None
    if row["seen"] != (row["source_bytes"], row["source_mtime_ns"]):
        return None
    if refused:
        return None if row["code"] in _PASSING else _REFUSED
    return _REUSED if held else None


def _fill(
    task: ShardTask, rows: list[dict[str, Any]], fates: list[str | None], maps: dict[str, Grey], tell: TellTask
) -> tuple[Grey, pl.DataFrame]:
    """The shard's pixels, and its part without the shard's name. Fills in the fates that lack."""
    buffer = np.empty((len(rows), task.frame.side, task.frame.side), dtype=np.uint8)
    said: list[dict[str, Any]] = [{name: row[name] for name in PART_SCHEMA} for row in rows]
    done = idle = 0
    fresh = []
    for at, row in enumerate(rows):
        if fates[at] is not None:
            if row["code"] is None:
                buffer[at] = maps[str(row["shard"])][row["row"]]
            idle += 1
        elif isinstance(row["file"], ImageFile):
            fresh.append(at)
            continue
        else:
            reason = _NO_FILE if row["asked"] else _NOT_ASKED
            said[at] |= _as_seen(row) | {"code": _NOT_READABLE, "reason": reason}
            fates[at] = _REFUSED if row["asked"] else _OTHER
        done += 1
        tell(done, idle)
    for place, data in read_together([rows[at]["file"] for at in fresh]):
        at = fresh[place]
        row, now = rows[at], _decoded(data, task.frame, buffer[at])
        if now["code"] == _NOT_READABLE and _is_held(row, maps):
            buffer[at] = maps[str(row["shard"])][row["row"]]
            fates[at] = _KEPT
        else:
            said[at] |= _as_seen(row) | now
            fates[at] = _DECODED if now["code"] is None else _REFUSED
        done += 1
        tell(done, idle)
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
        return {"code": _NOT_READABLE, "reason": data.strerror or str(data)}
    if isinstance(data, CxrError):
        return {"code": data.code, "reason": data.problem}
    now: dict[str, Any] = {"code": None, "source_sha256": hashlib.sha256(data).hexdigest()}
    try:
        decode_into(data, frame, out)
    except CxrError as error:
        return now | {"code": error.code, "reason": error.problem}
    except OSError as error:
        return now | {"code": _NOT_READABLE, "reason": error.strerror or str(error)}
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
