"""The image store (CONTRACT §7): shards of 8-bit grey images in memory-mapped files, and the index that finds them.

    STORE/shard-00000-<digest>.npy   uint8, shape (images, side, side)
    STORE/index.parquet              dataset, image_id, shard, row, source_sha256, mean, sd; sorted by the key
    STORE/refused.parquet            dataset, image_id, code, reason
    STORE/manifest.json              frame, counts, digests
    STORE/parts/                     what a build needs to continue: a file a shard

A shard is named by its content, so a store that is rebuilt never changes a file that a reader has open.
"""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cxrdata.errors import CxrError
from cxrdata.images.decode import Grey
from cxrdata.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
KEY = ["dataset", "image_id"]
INDEX_SCHEMA = {
    "dataset": pl.String, "image_id": pl.String, "shard": pl.String, "row": pl.Int32, "source_sha256": pl.String,
    "mean": pl.Float64, "sd": pl.Float64,
}  # fmt: skip
REFUSED_SCHEMA = {"dataset": pl.String, "image_id": pl.String, "code": pl.String, "reason": pl.String}


class StoreFolder:
    """Where things lie in a store."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index = path / "index.parquet"
        self.refused = path / "refused.parquet"
        self.manifest = path / "manifest.json"
        self.parts = path / "parts"
        self.plan = self.parts / "frame.json"
        self.lock = self.parts / "lock"

    def shard(self, name: str) -> Path:
        return self.path / name


class ImageStore:
    """A finished store, opened for reading: a map-style dataset whose items are images of shape (side, side).

    Position i is row i of `index`, or of the `keys` it was narrowed to. Cheap to pickle: each process maps the shards
    anew. Batches are read with `read`, into a buffer that can be used again and again. Reading is numpy alone: Polars,
    whose threads a forked process lacks, would wait for ever in a worker of torch's DataLoader.
    """

    index: pl.DataFrame

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises CxrError CXR-148 where there is no finished store."""
        self.folder = StoreFolder(Path(path))
        try:
            self.manifest: dict[str, Any] = json.loads(self.folder.manifest.read_text(encoding="utf-8"))
            index = pl.read_parquet(self.folder.index)
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise CxrError(
                "CXR-148",
                "there is no finished image store here",
                where=str(path),
                fix="build it, or let its build finish: cxrdata images build --size 224 --out STORE",
            ) from error
        if self.manifest.get("format") != FORMAT:
            raise CxrError(
                "CXR-148",
                f"the store has format {self.manifest.get('format')!r}, and this cxrdata reads {FORMAT}",
                where=str(path),
                fix="build it anew, or use the cxrdata that wrote it",
            )
        self._point_at(index)

    def _point_at(self, index: pl.DataFrame) -> None:
        """Take the rows of an index as the positions: number of the shard, and row in it, of each."""
        self.index = index
        self._shards = [str(entry["file"]) for entry in self.manifest["shards"]]
        numbers = {name: number for number, name in enumerate(self._shards)}
        shard = index["shard"].replace_strict(numbers, return_dtype=pl.Int64).to_numpy()
        self._places: tuple[NDArray[np.int64], NDArray[np.int64]] = (shard, index["row"].cast(pl.Int64).to_numpy())
        self._maps: list[Grey | None] = [None] * len(self._shards)

    @property
    def side(self) -> int:
        return int(self.manifest["side"])

    @property
    def refused(self) -> pl.DataFrame:
        """dataset, image_id, code, reason of the images that could not be decoded."""
        return pl.read_parquet(self.folder.refused)

    def __len__(self) -> int:
        return len(self._places[0])

    def __getitem__(self, position: int) -> Grey:
        """One image, shape (side, side): a view into the file, read when it is looked at.

        Raises IndexError for a position that is not there, TypeError for what is no whole number.
        """
        position = operator.index(position)
        shard, row = self._places
        image: Grey = self._mapped(int(shard[position]))[row[position]]
        return image

    def __getitems__(self, positions: Sequence[int]) -> list[Grey]:
        """The images of a batch, as torch's DataLoader asks for them."""
        return list(self.read(positions))

    def read(self, positions: Sequence[int] | NDArray[np.integer], out: Grey | None = None) -> Grey:
        """Images in the order of `positions`: shape (n, side, side), in the first n places of `out` if given.

        `positions` may be a mask: a boolean for each image of the store, of which those that are true are read.
        Raises IndexError for a position that is not there, for a mask of another length and for what is no whole number;
        ValueError for an `out` that does not fit.
        """
        at = self._positions(positions)
        if out is None:
            out = np.empty((len(at), self.side, self.side), dtype=np.uint8)
        batch = out[: len(at)]
        if batch.shape != (len(at), self.side, self.side) or batch.dtype != np.uint8:
            message = f"the buffer must be uint8 and hold {len(at)} images of {self.side} by {self.side}"
            raise ValueError(message)
        shards, rows = self._places
        for place, shard, row in zip(batch, shards[at].tolist(), rows[at].tolist(), strict=True):
            place[...] = self._mapped(shard)[row]
        return batch

    def _positions(self, wanted: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
        """What `read` was asked for, as numpy would index with it."""
        at = np.asarray(wanted)
        if at.ndim != 1:
            message = f"positions must be a list of whole numbers, not an array of shape {at.shape}"
            raise IndexError(message)
        if at.dtype == bool and len(at):
            if len(at) != len(self):
                message = f"the mask has {len(at):,} values and the store {counted(len(self), 'image')}"
                raise IndexError(message)
            return np.flatnonzero(at)
        if len(at) and not np.issubdtype(at.dtype, np.integer):
            message = f"positions must be whole numbers, not {at.dtype}"
            raise IndexError(message)
        return at.astype(np.int64)

    def positions(self, frame: pl.DataFrame) -> NDArray[np.int64]:
        """The position of each row of a frame with `dataset` and `image_id`.

        Raises CxrError CXR-149 where the store lacks one.
        """
        mine = self.index.select(KEY).with_row_index("_position")
        found = frame.select(KEY).join(mine, on=KEY, how="left", maintain_order="left")
        lacking = found.filter(pl.col("_position").is_null())
        if not lacking.is_empty():
            example = ":".join(str(value) for value in lacking.row(0)[:2])
            raise CxrError(
                "CXR-149",
                f"the store lacks {counted(lacking.height, 'image')} of {found.height:,}, such as {example}",
                where=str(self.folder.path),
                fix="build it for them too; refused.parquet in the store says which could not be decoded",
            )
        return found["_position"].cast(pl.Int64).to_numpy()

    def held(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of a frame that the store has an image of, in their order."""
        return frame.join(self.index.select(KEY), on=KEY, how="semi", maintain_order="left")

    def only(self, frame: pl.DataFrame) -> ImageStore:
        """The same store narrowed to the rows of a frame, in their order. Raises as `positions` does."""
        narrowed = ImageStore(self.folder.path)
        narrowed._point_at(self.index[self.positions(frame)])
        return narrowed

    def _mapped(self, number: int) -> Grey:
        found = self._maps[number]
        if found is None:
            # A plain array over the map: a slice of np.memmap costs more than copying an image does.
            found = np.asarray(open_shard(self.folder.shard(self._shards[number])))
            self._maps[number] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("folder", "manifest", "index")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._point_at(self.index)

    def __repr__(self) -> str:
        return f"<ImageStore {self.folder.path}: {counted(len(self), 'image')} of {self.side} by {self.side}>"


def open_shard(path: Path) -> Grey:
    """A shard, mapped for reading. Raises CxrError CXR-148 where it is missing or damaged."""
    try:
        mapped: Grey = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CxrError(
            "CXR-148",
            "a shard of the store is missing or damaged",
            where=str(path),
            fix="open the store anew, it may have been rebuilt; else build it again: what is whole is kept",
        ) from error
    return mapped
