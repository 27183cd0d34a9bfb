"""The same picture twice, in one dataset or two: equal bytes, and nearly equal perceptual hashes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cxrdata.images.fingerprint import HASH_BITS

# Copies of the 36 real images, shrunk to 224 and 390 pixels and saved as JPEG of quality 50 and 75, differ in 4 bits
# mostly and in 9 or fewer but for one in fourteen; two of the images in 86 at least.
NEAR_BITS = 9
_BANDS = NEAR_BITS + 1  # two hashes that differ in fewer bits than there are bands agree in one of these
_BATCH = 1 << 20
KEY = pl.concat_str("dataset", "image_id", separator=":")


def mark_duplicates(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` (dataset, image_id, sha256, perceptual_hash, constant; sorted by key) with `same_bytes_as`, `looks_like`.

    A constant picture looks like any other and is left out of the second.
    """
    frame = frame.drop("same_bytes_as", "looks_like", strict=False)
    n = pl.len().over("sha256")
    frame = frame.with_columns(
        same_bytes_as=pl.when(pl.col("sha256").is_not_null() & (n > 1)).then(KEY.first().over("sha256"))
    )
    usable = frame.with_row_index("_at").filter(
        pl.col("perceptual_hash").is_not_null(), ~pl.col("constant").fill_null(value=True)
    )
    first = _firsts(usable["perceptual_hash"].to_list())
    groups = usable.select("_at", _first=pl.Series(usable["_at"].to_numpy()[first], dtype=pl.UInt32))
    groups = groups.filter(pl.len().over("_first") > 1)
    keys = frame.select(looks_like=KEY).with_row_index("_first")
    found = groups.join(keys, on="_first", how="left").select("_at", "looks_like")
    return frame.with_row_index("_at").join(found, on="_at", how="left", maintain_order="left").drop("_at")


def _firsts(hashes: list[str]) -> NDArray[np.int64]:
    """For each hash the position of the first of its group: hashes within NEAR_BITS, directly or through others."""
    n = len(hashes)
    parent = np.arange(n)
    if n < 2:
        return parent
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(n, HASH_BITS // 8)
    words = packed.view(np.uint64)
    for left, right in _candidates(np.unpackbits(packed, axis=1)):
        near = np.bitwise_count(words[left] ^ words[right]).sum(axis=1) <= NEAR_BITS
        for a, b in zip(left[near].tolist(), right[near].tolist(), strict=True):
            root_a, root_b = _root(parent, a), _root(parent, b)
            parent[max(root_a, root_b)] = min(root_a, root_b)
    return np.array([_root(parent, at) for at in range(n)])


def _root(parent: NDArray[np.int64], at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = int(parent[at])
    return at


def _candidates(bits: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs that agree in a band, in batches. A band takes every _BANDS-th bit: neighbours are too much alike."""
    for band in range(_BANDS):
        keys = np.zeros(len(bits), dtype=np.uint32)
        for column in range(band, bits.shape[1], _BANDS):
            keys = (keys << np.uint32(1)) | bits[:, column]
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        # The pairs at distance 1, 2, … in the sorted order, as long as any has the same key.
        step = 1
        while True:
            same = np.flatnonzero(ordered[step:] == ordered[:-step])
            if same.size == 0:
                break
            for start in range(0, same.size, _BATCH):
                part = same[start : start + _BATCH]
                yield order[part], order[part + step]
            step += 1
