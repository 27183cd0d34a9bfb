"""What is known of image files from earlier checks: which need no second look, and what a lesser look must not take away."""

from __future__ import annotations

import polars as pl

from cxrdata.schemas.registered import ALTERED, IMAGE_FILES, MISSING, OK

KEY = ["dataset", "image_id"]
# What says nothing of the file: a decoder that was not installed, the system's own troubles, memory.
_PASSING = r"^CXR-(145|605|606):"
# By what a file is known to be the one that was looked at.
_SAME = ["file", "member", "file_bytes", "file_mtime_ns"]
# Found by comparing, after the looking.
_COMPARED = ["same_bytes_as", "looks_like"]


def settled(known: pl.DataFrame, *, with_hash: bool, quick: bool) -> pl.DataFrame:
    """Those rows of earlier checks that a check as close as asked would add nothing to: not the files that were missing or
    could not be read for reasons of the moment, nor those that were not decoded, or not hashed, and are to be now."""
    looked_at = (pl.col("status") != MISSING) & ~pl.col("message").str.contains(_PASSING).fill_null(value=False)
    if not quick:
        looked_at &= (pl.col("status") != OK) | pl.col("kind").is_not_null()
    if with_hash:
        looked_at &= pl.col("sha256").is_not_null()
    return known.filter(looked_at)


def with_what_was_known(rows: pl.DataFrame, known: pl.DataFrame, *, with_hash: bool, quick: bool) -> pl.DataFrame:
    """The rows of a check, with what a fuller one found of the same file (size and time) where this one did not look."""
    before = known.rename({name: f"{name}_before" for name in known.columns if name not in KEY})
    joined = rows.join(before, on=KEY, how="left", maintain_order="left")
    there = (pl.col("status") != MISSING) & (pl.col("status_before") != MISSING).fill_null(value=False)
    same = there & pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_before")) for name in _SAME)
    # A trouble that this check did not look for.
    lasting = same & (pl.col("status") == OK)
    if quick:
        passing = pl.col("message_before").str.contains(_PASSING).fill_null(value=False)
        lasting &= (pl.col("status_before") != OK) & ~passing
    else:
        lasting &= (pl.col("status_before") == ALTERED) & pl.lit(not with_hash)
    filled = [name for name in IMAGE_FILES.schema if name not in (*KEY, *_SAME, *_COMPARED, "status", "message")]
    joined = joined.with_columns(
        *(pl.when(lasting).then(f"{name}_before").otherwise(name).alias(name) for name in ("status", "message")),
        *(pl.when(same).then(pl.coalesce(name, f"{name}_before")).otherwise(name).alias(name) for name in filled),
    )
    return IMAGE_FILES.shaped(joined)
