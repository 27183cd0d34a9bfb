"""`split verify`: is a split what it says it is, and is it sound?

A split of ours is made again from its manifest and compared. Of anyone's file it is told who leaks, how the splits differ
in race, sex, age and view, and which images the catalog does not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.splits.from_file import read_split_file
from cxrdata.splits.leaks import find_leaks
from cxrdata.splits.recipe import compare, remake, request_of
from cxrdata.splits.shares import ATTRIBUTES, SHARES, UNKNOWN, distances, shares_by_split
from cxrdata.splits.stored import CSV, FORMAT, MANIFEST, PARQUET, in_order, split_digests, split_folder, split_names
from cxrdata.store.catalog import Catalog
from cxrdata.store.parquet import rows_digest
from cxrdata.version import __version__

OK, FAILED, NOTE, NOT_CHECKED = "ok", "failed", "note", "not checked"
KEYS = ["dataset", "image_id"]
_CHECKS = {"check": pl.String, "result": pl.String, "detail": pl.String}
_EXAMPLES = 5
_DIFFERENCES = 2


@dataclass
class Verified:
    """What was looked at.

    checks: check, result (ok, failed, note, not checked), detail; in the order of the looking. balance: images and their
    percentage by dataset, attribute, value and split; the percentages of an attribute sum to 100 within a dataset's split.
    leaks: the patients in several splits, as `Leaks.patients`.
    """

    name: str
    checks: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_CHECKS))
    balance: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SHARES))
    leaks: pl.DataFrame = field(default_factory=pl.DataFrame)

    @property
    def sound(self) -> bool:
        """Whether no check failed."""
        return not (self.checks["result"] == FAILED).any()

    def add(self, check: str, result: str, detail: str) -> None:
        """One more row of `checks`."""
        self.checks = self.checks.vstack(pl.DataFrame([(check, result, detail)], schema=_CHECKS, orient="row"))


def verify_split(catalog: Catalog, name_or_file: str | Path, **wishes: Any) -> Verified:  # noqa: ANN401 - those of read_split_file
    """Verify a stored split by its name, a split of ours by its manifest.json or a file beside it, or anyone's split file.

    wishes: how anyone's file is read (`read_split_file`).

    Raises CxrError: CXR-501 neither a split nor a file, CXR-502 a manifest of a later version; for a file those of
    `read_split_file`.
    """
    given = str(name_or_file)
    path = Path(name_or_file)
    if given in split_names(catalog):
        return _ours(catalog, split_folder(catalog, given), given)
    folder = path if path.is_dir() else path.parent
    if path.exists() and not wishes and _is_ours(folder) and (path.is_dir() or path.name in {MANIFEST, PARQUET, CSV}):
        return _ours(catalog, folder, folder.resolve().name)
    if not path.is_file():
        known = split_names(catalog)
        raise CxrError(
            "CXR-501",
            f"{given!r} is neither a split nor a file{nearest(given, known)}",
            fix=f"name a split file; splits of this catalog: {', '.join(known) or 'none'}",
        )
    return _foreign(catalog, path, wishes)


def _is_ours(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return (folder / PARQUET).is_file() or (folder / CSV).is_file()
    return isinstance(manifest, dict) and "rows_sha256" in manifest and "arguments" in manifest


def _foreign(catalog: Catalog, path: Path, wishes: Mapping[str, Any]) -> Verified:
    found = read_split_file(catalog, path, **wishes)
    verified = Verified(path.name)
    counts = ", ".join(f"{split} {n:,}" for split, n in found.frame.group_by("split").len().sort("split").iter_rows())
    verified.add("read", OK, f"{found.rows:,} rows: {found.how}; {counts} images")
    for remark in found.remarks:
        verified.add("read", NOTE, remark)
    if found.unmatched:
        verified.add(
            "images",
            NOTE,
            f"{found.unmatched:,} rows name no image of this catalog, such as {'; '.join(found.unmatched_examples)}",
        )
    else:
        verified.add("images", OK, "every row names an image of this catalog")
    if found.without_split:
        verified.add("images", NOTE, f"{found.without_split:,} rows are in no split: the cell is empty")
    if found.repeated:
        verified.add("images", NOTE, f"{found.repeated:,} rows repeat an earlier one")
    by_number = "rows_of" in found.arguments
    _look_at_patients(
        verified, found.frame, hint="; or the row numbers are of another file than --rows-of named" if by_number else ""
    )
    _look_at_balance(catalog, verified, found.frame)
    return verified


def _look_at_patients(verified: Verified, frame: pl.DataFrame, *, hint: str = "") -> None:
    leaks = find_leaks(frame)
    verified.leaks = leaks.patients
    for pair in leaks.pairs.iter_rows(named=True):
        detail = f"{pair['n_patients']:,} of {leaks.n_checked:,} patients in both {pair['first']} and {pair['second']}, such as {', '.join(pair['examples'])}{hint}"
        verified.add("leaks", FAILED, detail)
    if frame["split"].n_unique() < 2:
        verified.add("leaks", NOT_CHECKED, "there is one split only, so nothing to leak into")
    elif not leaks.n_patients:
        verified.add("leaks", OK, f"none of {leaks.n_checked:,} patients is in two splits")
    anonymous = frame.filter(pl.col("patient_id").is_null())["dataset"].unique().sort().to_list()
    if anonymous:
        verified.add("leaks", NOTE, f"{', '.join(anonymous)}: no patient ids, so each image was taken for a patient")


def _look_at_balance(catalog: Catalog, verified: Verified, frame: pl.DataFrame, balanced: Sequence[str] = ()) -> None:
    """The table of `Verified.balance`, and a row an attribute that says where the splits differ most.

    balanced: what the split says it is balanced by, looked at first.
    """
    names = list(dict.fromkeys((*balanced, *ATTRIBUTES)))
    verified.balance = shares_by_split(catalog, frame, names)
    apart = distances(verified.balance)
    for name in names:
        verified.add(f"balance of {name}", *_widest(verified.balance, apart, name))


def _widest(shares: pl.DataFrame, apart: pl.DataFrame, name: str) -> tuple[str, str]:
    """Where the shares of an attribute's values lie furthest apart between the splits of one dataset."""
    if shares.filter((pl.col("attribute") == name) & (pl.col("value") != UNKNOWN)).is_empty():
        return NOT_CHECKED, "known of no image"
    found = apart.filter(attribute=name).sort("points", "dataset", descending=[True, False])
    if found.is_empty():
        return NOTE, "one split only: see the table"
    row = found.row(0, named=True)
    if row["points"] == 0:
        return NOTE, "the same shares in every split"
    return NOTE, (
        f"the splits differ by up to {row['points']:.1f} points: {row['dataset']} {row['value']} is {row['low']:.1f} % of {row['least']}, {row['high']:.1f} % of {row['most']}"
    )


def _ours(catalog: Catalog, folder: Path, name: str) -> Verified:
    verified = Verified(name)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        known_format = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError):
        verified.add(MANIFEST, FAILED, "is missing or damaged")
        return verified
    if known_format != FORMAT:
        raise CxrError(
            "CXR-502",
            f"the split's manifest has format {known_format!r}, this version reads {FORMAT}",
            where=MANIFEST,
            fix=f"use cxrdata {manifest.get('cxrdata')}",
        )
    frame = _read_files(verified, folder, manifest, in_catalog=folder.parent == catalog.folder.splits)
    if frame is None:
        return verified
    _look_at_keys(catalog, verified, frame)
    _look_at_patients(verified, frame)
    _derive_again(catalog, verified, manifest)
    _look_at_balance(catalog, verified, frame, manifest["arguments"].get("balance", ()))
    return verified


def _read_files(
    verified: Verified, folder: Path, manifest: Mapping[str, Any], *, in_catalog: bool
) -> pl.DataFrame | None:
    """The rows of a split, from the files that are as the manifest says; None where none is."""
    sound = None
    for name in (PARQUET, CSV):
        path = folder / name
        if not path.is_file():
            verified.add(name, FAILED if in_catalog else NOT_CHECKED, "is missing")
            continue
        try:
            frame = pl.read_parquet(path) if name == PARQUET else _read_csv(path)
            problem = (
                None
                if rows_digest(frame) == manifest["rows_sha256"] and frame.equals(in_order(frame))
                else "holds other rows than the manifest says"
            )
            if problem is None and split_digests(frame) != manifest["digests"]:
                problem = "has other digests of its keys than the manifest says"
        except (OSError, KeyError, pl.exceptions.PolarsError) as error:
            frame, problem = None, f"cannot be read: {str(error).splitlines()[0]}"
        verified.add(
            name,
            FAILED if problem else OK,
            problem or f"{frame.height if frame is not None else 0:,} rows, as the manifest says",
        )
        if problem is None and sound is None:
            sound = frame
    return sound


def _read_csv(path: Path) -> pl.DataFrame:
    types = {"fold": pl.Int64, "n_draws": pl.Int64, "weight": pl.Float64}
    frame = pl.read_csv(path, infer_schema=False)
    return frame.with_columns(pl.col(name).cast(dtype) for name, dtype in types.items() if name in frame.columns)


def _look_at_keys(catalog: Catalog, verified: Verified, frame: pl.DataFrame) -> None:
    """Whether the catalog knows the images, and their patients are still the same."""
    known = catalog.table("images").select(*KEYS, now=pl.col("patient_id"), known=pl.lit(value=True)).collect()
    joined = frame.join(known, on=KEYS, how="left", maintain_order="left")
    unknown = joined.filter(pl.col("known").is_null())
    moved = joined.filter(pl.col("known") & pl.col("now").ne_missing(pl.col("patient_id")))
    if not unknown.is_empty():
        shown = ", ".join(f"{dataset}:{image}" for dataset, image in unknown.select(KEYS).head(_EXAMPLES).iter_rows())
        verified.add("images", NOTE, f"{unknown.height:,} images are not in this build of the catalog, such as {shown}")
    if not moved.is_empty():
        verified.add("images", FAILED, f"{moved.height:,} images have another patient in this build of the catalog")
    if unknown.is_empty() and moved.is_empty():
        verified.add("images", OK, f"all {frame.height:,} images and their patients are in this build of the catalog")


def _derive_again(catalog: Catalog, verified: Verified, manifest: Mapping[str, Any]) -> None:
    """Make the split again from its manifest, from the build that it was made from."""
    check = "made again"
    wanted = str(manifest["catalog_build"])
    if "from_file" in manifest["arguments"]:
        name = manifest["arguments"]["from_file"]
        how = f"`cxrdata split recipe`, then `split rebuild RECIPE --file {name}`, reads it again and compares"
        verified.add(check, NOT_CHECKED, f"the split was read from the file {name}; {how}")
        return
    try:
        request_of(catalog, manifest)
    except CxrError as error:
        verified.add(check, NOT_CHECKED, f"this version cannot make it: {error.problem}")
        return
    if not catalog.folder.build(wanted).manifest.is_file():
        verified.add(
            check,
            NOT_CHECKED,
            f"the build {wanted} that it was made from is not here; `cxrdata split rebuild MANIFEST` makes it from this one and compares",
        )
        return
    try:
        if wanted == catalog.build.build_id:
            differences = compare(manifest, remake(catalog, manifest).frame)
        else:
            with Catalog(catalog.folder.path, build_id=wanted) as other:
                differences = compare(manifest, remake(other, manifest).frame)
    except CxrError as error:
        verified.add(check, FAILED, f"cannot be made again: {error.problem}")
        return
    wrong = differences.filter(~pl.col("same"))
    if wrong.is_empty():
        verified.add(check, OK, f"the same images from build {wanted}")
        return
    shown = "; ".join(
        f"{row['dataset']} {row['split']}: {row['images_here']:,} images, {row['images_expected']:,} in the split"
        for row in wrong.head(_DIFFERENCES).iter_rows(named=True)
    ) + (f"; {wrong.height - _DIFFERENCES} more" if wrong.height > _DIFFERENCES else "")
    version = (
        "" if manifest["cxrdata"] == __version__ else f" (made by cxrdata {manifest['cxrdata']}, this is {__version__})"
    )
    verified.add(check, FAILED, shown + version)


__all__ = ["ATTRIBUTES", "FAILED", "NOTE", "NOT_CHECKED", "OK", "Verified", "verify_split"]
