"""A split as it lies in the catalog: `splits/<name>/` with split.parquet, split.csv and manifest.json (CONTRACT §4, §7)."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.stages import make_private, sync_folder, sync_path, unfinished
from cxrdata.store.parquet import rows_digest, write_parquet
from cxrdata.store.publish import remove_folder, writing

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

FORMAT = 1
MANIFEST = "manifest.json"
PARQUET = "split.parquet"
CSV = "split.csv"
COLUMNS = ("dataset", "image_id", "patient_id", "split")
OPTIONAL = ("fold", "n_draws", "weight")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DESCRIPTION = "One row an image: the split that it stands in."


class Split(pl.DataFrame):
    """The rows of a stored split: a polars frame that knows how it was made and shows itself in a notebook.

    What is derived from it (a filter, a join) is a frame without that knowledge.
    """

    manifest: Mapping[str, Any] | None = None

    def _repr_html_(self, *, _from_series: bool = False) -> str:
        if self.manifest is None:
            return super()._repr_html_(_from_series=_from_series)
        cells = "".join(
            f"<tr><td>{html.escape(count['dataset'])}</td><td>{html.escape(count['split'])}</td>"
            f"<td style='text-align:right'>{count['images']:,}</td><td style='text-align:right'>{count['patients']:,}</td></tr>"
            for count in self.manifest["counts"]
        )
        build, wishes = self.manifest["catalog_build"], told(self.manifest["arguments"])
        caption = f"split {self.manifest['split_name']} of catalog build {build}: {wishes}"
        head = "<tr><th>dataset</th><th>split</th><th>images</th><th>patients</th></tr>"
        return f"<table><caption>{html.escape(caption)}</caption>{head}{cells}</table>"


def open_split(catalog: Catalog, name: str) -> Split:
    """A stored split with what its manifest says. Raises CxrError: CXR-501 no such split, CXR-405 damaged."""
    manifest = read_split_manifest(catalog, name)
    opened = Split(read_split(catalog, name))
    opened.manifest = manifest
    return opened


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of a stored split in their order, then any further ones; rows by (dataset, image_id)."""
    first = [name for name in (*COLUMNS, *OPTIONAL) if name in frame.columns]
    return frame.select(*first, pl.exclude(first)).sort("dataset", "image_id")


def split_digests(frame: pl.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """By split and dataset: images, patients, and the SHA-256 of the sorted keys, each `image_id` and a line feed,
    with what else the row says (fold, draws, weight) after tabs. From it a rebuilt split is recognised without any id."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    said = [name for name in OPTIONAL if name in frame.columns]
    line = pl.concat_str(
        [pl.col("image_id"), *(pl.col(name).cast(pl.String).fill_null("") for name in said)], separator="\t"
    )
    rows = in_order(frame).select("dataset", "split", "image_id", unit=pl.coalesce("patient_id", "image_id"), line=line)
    for (split, dataset), part in sorted(
        rows.group_by("split", "dataset", maintain_order=True), key=lambda item: item[0]
    ):
        text = "".join(one + "\n" for one in part["line"].to_list())
        digest = {
            "images": part.height,
            "patients": part["unit"].n_unique(),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
        found.setdefault(str(split), {})[str(dataset)] = digest
    return found


def check_name(name: str) -> None:
    """Raise CxrError CXR-502 for a name that is no plain folder name."""
    if not _NAME.fullmatch(name):
        raise CxrError(
            "CXR-502",
            f"{name!r} cannot name a split",
            fix="use letters, digits, dots, dashes and underscores, a letter or digit first",
        )


def split_folder(catalog: Catalog, name: str) -> Path:
    """Where a split of this name lies, if it is there. Raises CxrError CXR-502."""
    check_name(name)
    return catalog.folder.splits / name


def split_names(catalog: Catalog) -> list[str]:
    """The splits of a catalog, sorted."""
    return sorted(path.parent.name for path in catalog.folder.splits.glob(f"*/{MANIFEST}"))


def list_splits(catalog: Catalog) -> pl.DataFrame:
    """Every split: split_name, images, splits (such as `train 600, test 400`), datasets, arguments, catalog_build."""
    rows = []
    for name in split_names(catalog):
        manifest = read_split_manifest(catalog, name)
        images: dict[str, int] = {}
        for count in manifest["counts"]:
            images[count["split"]] = images.get(count["split"], 0) + count["images"]
        wishes = told(manifest["arguments"])
        parts = ", ".join(f"{split} {n:,}" for split, n in images.items())
        rows.append(
            (name, sum(images.values()), parts, ", ".join(manifest["datasets"]), wishes, manifest["catalog_build"])
        )
    schema = {
        "split_name": pl.String,
        "images": pl.Int64,
        "splits": pl.String,
        "datasets": pl.String,
        "arguments": pl.String,
        "catalog_build": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def told(arguments: Mapping[str, Any]) -> str:
    """`seed=0, balance=race,sex`; nested ones in brackets, digests and texts of files left out."""
    parts = []
    for key, value in arguments.items():
        if isinstance(value, Mapping):
            parts.append(f"{key}=({told(value)})")
        elif key not in {"sha256", "cohort_text"}:
            parts.append(f"{key}={','.join(map(str, value)) if isinstance(value, list) else value}")
    return ", ".join(parts)


def read_split_manifest(catalog: Catalog, name: str) -> dict[str, Any]:
    """The manifest of a stored split. Raises CxrError: CXR-501 no such split, CXR-405 its manifest is damaged."""
    path = split_folder(catalog, name) / MANIFEST
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = split_names(catalog)
        raise CxrError(
            "CXR-501",
            f"there is no split {name!r}{nearest(name, known)}",
            fix=f"splits: {', '.join(known) or 'none yet; `cxrdata split --help`'}",
        ) from None
    except ValueError as error:
        raise CxrError(
            "CXR-405", "the split's manifest is damaged", where=f"splits/{name}/{MANIFEST}", fix="make the split again"
        ) from error
    return found


def read_split(catalog: Catalog, name: str) -> pl.DataFrame:
    """The rows of a stored split. Raises CxrError: CXR-501 no such split, CXR-405 its file is damaged."""
    read_split_manifest(catalog, name)
    try:
        return pl.read_parquet(split_folder(catalog, name) / PARQUET)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise CxrError(
            "CXR-405",
            "the split's file is missing or damaged",
            where=f"splits/{name}/{PARQUET}",
            fix="make the split again",
        ) from error


def manifest_text(manifest: dict[str, Any]) -> str:
    """The manifest as it is written: sorted keys, no time, no path."""
    return json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def store_split(
    catalog: Catalog, name: str, frame: pl.DataFrame, manifest: dict[str, Any], *, replace: bool = False
) -> Path:
    """Write the split's folder, whole or not at all, and return it. The same split again is left as it is.

    manifest: what the maker knows; `format`, `split_name`, `rows_sha256` and `digests` are added here.
    Raises CxrError: CXR-502 another split has the name, CXR-602 not writable.
    """
    target = split_folder(catalog, name)
    frame = in_order(frame)
    whole = {
        **manifest,
        "format": FORMAT,
        "split_name": name,
        "rows_sha256": rows_digest(frame),
        "digests": split_digests(frame),
    }
    text = manifest_text(whole)
    if target.is_dir() and not replace:
        if _same(target, text, frame):
            return target
        raise CxrError(
            "CXR-502",
            f"another split is called {name!r}",
            where=f"splits/{name}",
            fix="give it another --name, or --replace the old one",
        )
    with writing(catalog.folder.path):
        make_private(catalog.folder.splits)
        aside = unfinished(target)
        shutil.rmtree(aside, ignore_errors=True)
        make_private(aside)
        try:
            write_parquet(frame, aside / PARQUET, description=_DESCRIPTION)
            frame.write_csv(aside / CSV)
            (aside / MANIFEST).write_text(text, encoding="utf-8")
            sync_folder(aside)
            if target.is_dir():
                remove_folder(target)
            aside.rename(target)
            sync_path(target.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return target


def _same(folder: Path, text: str, frame: pl.DataFrame) -> bool:
    try:
        return (folder / MANIFEST).read_text(encoding="utf-8") == text and pl.read_parquet(folder / PARQUET).equals(
            frame
        )
    except (OSError, pl.exceptions.PolarsError):
        return False
