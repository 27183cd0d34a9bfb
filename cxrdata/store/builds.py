"""The builds of a catalog: which there are, and dropping old ones that nothing names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.store.layout import BuildFolder, CatalogFolder
from cxrdata.store.manifest import read_manifest
from cxrdata.store.publish import locked, remove_folder, writing

_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "build_id": pl.String, "current": pl.Boolean, "datasets": pl.List(pl.String), "images": pl.Int64, "cxrdata": pl.String,
    "splits": pl.List(pl.String), "made": pl.String,
}  # fmt: skip


def list_builds(folder: CatalogFolder) -> pl.DataFrame:
    """build_id, current, datasets, images, cxrdata (version), splits (that name it), made (UTC); newest first.

    `made` is the folder's time, for display only. A build whose manifest cannot be read has nulls.
    """
    current = folder.require_build().build_id
    named = _named_by_splits(folder)
    rows = []
    for build in _builds(folder):
        made = datetime.fromtimestamp(build.path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M")
        try:
            manifest = read_manifest(build.manifest)
            images = sum(table["rows"] for table in manifest["tables"] if table["table"] == "images")
            content = (manifest["datasets"], images, manifest["cxrdata"])
        except (OSError, ValueError, KeyError, TypeError):
            content = (None, None, None)
        rows.append((build.build_id, build.build_id == current, *content, named.get(build.build_id, []), made))
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def prune(
    folder: CatalogFolder, *, keep: int | None = None, ids: Sequence[str] = (), dry_run: bool = False
) -> list[str]:
    """Remove builds and return their ids: those of `ids`, or all but the `keep` newest.

    Never the current build, nor one that a split names: with `keep` they are passed over, in `ids` refused. A build
    disappears at once for those who open the catalog; who has it open keeps its DuckDB file until closing it.

    Raises CxrError: CXR-501 unknown build, CXR-502 a build that is needed or neither `keep` nor `ids`, CXR-603 the
    catalog is being written.
    """
    if (keep is None) == (not ids):
        raise CxrError("CXR-502", "say which builds to drop", fix="`builds prune --keep 3`, or `builds prune BUILD...`")
    folder.require_build()
    with locked(folder), writing(folder.builds):
        drop = _chosen(folder, keep, ids)
        if not dry_run:
            for leftover in folder.builds.glob(".*.removed"):
                shutil.rmtree(leftover, ignore_errors=True)
            for build_id in drop:
                remove_folder(folder.build(build_id).path)
    return drop


def _chosen(folder: CatalogFolder, keep: int | None, ids: Sequence[str]) -> list[str]:
    reasons = {build_id: f"the split {splits[0]} names it" for build_id, splits in _named_by_splits(folder).items()}
    reasons[folder.require_build().build_id] = "it is the current build"
    known = [build.build_id for build in _builds(folder)]
    if keep is not None:
        return [build_id for build_id in known[keep:] if build_id not in reasons]
    for build_id in ids:
        if build_id not in known:
            raise CxrError(
                "CXR-501",
                f"there is no build {build_id!r}{nearest(build_id, known)}",
                fix=f"builds: {', '.join(known)}",
            )
        if build_id in reasons:
            raise CxrError(
                "CXR-502",
                f"the build {build_id} cannot be dropped: {reasons[build_id]}",
                fix="`cxrdata builds list` shows which builds are needed",
            )
    return list(dict.fromkeys(ids))


def _builds(folder: CatalogFolder) -> list[BuildFolder]:
    """Newest first; builds of the same time by name, so that the order is total."""
    paths = [path for path in folder.builds.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return [folder.build(path.name) for path in sorted(paths, key=lambda path: (-path.stat().st_mtime_ns, path.name))]


def _named_by_splits(folder: CatalogFolder) -> dict[str, list[str]]:
    """build -> the splits made from it. Raises CxrError CXR-405: a split that cannot be read may need any build."""
    named: dict[str, list[str]] = {}
    for path in sorted(folder.splits.glob("*/manifest.json")):
        named.setdefault(split_build(path), []).append(path.parent.name)
    return named


def split_build(manifest: Path) -> str:
    """The build that a split was made from, as its manifest says. Raises CxrError CXR-405."""
    try:
        return str(json.loads(manifest.read_text(encoding="utf-8"))["catalog_build"])
    except (ValueError, KeyError, TypeError) as error:
        raise CxrError(
            "CXR-405",
            "the split's manifest does not say which build it was made from",
            where=f"splits/{manifest.parent.name}/{manifest.name}",
            fix="make the split again, or remove its folder",
        ) from error
