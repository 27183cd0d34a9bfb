"""The vocabularies of `metadata/`, read once and handed to whoever harmonises.

A user's overlay folder holds files of the same names (all or some). Its rows are added;
where a row has the same key as one of ours, the user's wins. Nothing here knows a value:
findings, races, views and groups exist in the files alone.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.resources import data_folder
from cxrdata.tomlfile import read_toml
from cxrdata.wording import counted

# file -> the columns that make a row's key, by which an overlay's row replaces ours
_TABLE_KEYS: dict[str, tuple[str, ...]] = {
    "finding_tree.tsv": ("child", "parent"),
    "label_map.sssom.tsv": ("subject_id", "object_id"),
    "race.tsv": ("scheme", "dataset", "field", "raw_value"),
    "views.tsv": ("dataset", "field", "raw_value"),
    "sex.tsv": ("dataset", "raw_value"),
    "age_groups.tsv": ("scheme", "age_group"),
    "broken_images.tsv": ("dataset", "image_id"),
    "labelers.tsv": ("labeler",),
    "label_states.tsv": ("state",),
}
# The review's facts: no vocabulary, but a user's entries lie in the same folder (`schemas/open_datasets.py`).
_REVIEW = "open_datasets.tsv"
# Also in `metadata/`, and no part of a catalog: what phantoms are drawn by.
_NO_VOCABULARY = ("phantom_norms.toml",)
_FINDING_KEYS = ("id", "title", "group", "definition", "differs")
_FINDING_PREFIX = "cxr:"


def _read_text(path: Path) -> str:
    """A vocabulary file's text; spreadsheets put a byte order mark before it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CxrError("CXR-505", "a vocabulary file is not UTF-8", where=path.name, fix="save it as UTF-8") from error


def read_tsv(path: Path) -> pl.DataFrame:
    """A vocabulary file: tab separated, no quoting, `#` comments above the header,
    empty cells null, every column text. Raises CxrError CXR-505."""
    lines = _read_text(path).splitlines()
    comments = next((i for i, line in enumerate(lines) if line and not line.startswith("#")), None)
    if comments is None:
        raise CxrError(
            "CXR-505", "a vocabulary file has no header", where=path.name, fix="give it one, or remove the file"
        )
    width = len(lines[comments].split("\t"))
    for number, line in enumerate(lines[comments:], comments + 1):
        if line and len(line.split("\t")) != width:
            raise CxrError(
                "CXR-505",
                f"the row has {counted(len(line.split(chr(9))), 'field')}, the header {width}",
                where=f"{path.name}:{number}",
                fix="separate the columns by single tabs, one for each column of the header",
            )
    body = "\n".join(line for line in lines[comments:] if line).encode()
    return pl.read_csv(io.BytesIO(body), separator="\t", quote_char=None, infer_schema=False)


@dataclass(frozen=True)
class Vocabularies:
    """All vocabularies, `overlays` included. Construct through `load`."""

    folders: tuple[Path, ...]
    digests: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, overlays: Path | None = None) -> Vocabularies:
        """Read the project's vocabularies and, over them, the user's `overlays` folder.

        Raises CxrError CXR-505 for an overlay that is no folder or holds unknown files.
        """
        folders = [data_folder("metadata")]
        if overlays is not None:
            if not overlays.is_dir():
                raise CxrError(
                    "CXR-505", "the overlays folder does not exist", where=str(overlays), fix="name a folder"
                )
            folders.append(overlays)
        return cls(tuple(folders), _digests(folders))

    def _table(self, name: str) -> pl.DataFrame:
        merged: pl.DataFrame | None = None
        for folder in self.folders:
            path = folder / name
            if not path.is_file():
                continue
            table = read_tsv(path)
            if merged is None:
                merged = table
                continue
            missing = [column for column in _TABLE_KEYS[name] if column not in table.columns]
            if missing:
                raise CxrError(
                    "CXR-505",
                    f"the overlay lacks the column {missing[0]}",
                    where=name,
                    fix=f"columns: {', '.join(merged.columns)}",
                )
            table = table.select(
                [c if c in table.columns else pl.lit(None, pl.String).alias(c) for c in merged.columns]
            )
            kept = merged.join(table, on=_TABLE_KEYS[name], how="anti", nulls_equal=True, maintain_order="left")
            merged = pl.concat([kept, table])
        if merged is None:
            raise CxrError("CXR-505", f"the vocabulary {name} is missing", fix="install cxrdata again")
        return merged

    def _toml(self, name: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for folder in self.folders:
            path = folder / name
            if path.is_file():
                merged |= read_toml(path)[0]
        return merged

    @cached_property
    def findings(self) -> pl.DataFrame:
        """Canonical findings in the contract's order: finding, title, group, definition, differs."""
        rows: dict[str, dict[str, Any]] = {}
        for folder in self.folders:
            path = folder / "findings.toml"
            if path.is_file():
                for row in read_toml(path)[0].get("finding", ()):
                    missing = [key for key in _FINDING_KEYS if key not in row]
                    if missing:
                        raise CxrError(
                            "CXR-505",
                            f"a [[finding]] lacks {missing[0]}",
                            where=path.name,
                            fix=f"keys: {', '.join(_FINDING_KEYS)}",
                        )
                    rows[row["id"]] = row
        return pl.DataFrame(
            [
                {
                    "finding_order": order,
                    "finding": row["id"],
                    "title": row["title"],
                    "finding_group": row["group"],
                    "definition": row["definition"],
                    "differs": row["differs"],
                }
                for order, row in enumerate(rows.values(), 1)
            ]
        )

    @cached_property
    def finding_names(self) -> list[str]:
        return self.findings["finding"].to_list()

    @cached_property
    def finding_tree(self) -> pl.DataFrame:
        """child, parent, source, comment."""
        return self._table("finding_tree.tsv")

    @cached_property
    def crosswalk(self) -> pl.DataFrame:
        """The SSSOM table as published, one row a mapping."""
        return self._table("label_map.sssom.tsv")

    @cached_property
    def label_map(self) -> pl.DataFrame:
        """The crosswalk taken apart: dataset, native_label, predicate, finding (null: unmapped), comment."""
        predicate = pl.col("predicate_id").str.strip_prefix("skos:")
        finding = pl.when(pl.col("object_id").str.starts_with(_FINDING_PREFIX)).then(
            pl.col("object_id").str.strip_prefix(_FINDING_PREFIX)
        )
        subject = pl.col("subject_id").str.splitn(":", 2)
        return self.crosswalk.select(
            dataset=subject.struct.field("field_0"),
            native_label=subject.struct.field("field_1"),
            predicate=pl.when(finding.is_not_null()).then(predicate),
            finding=finding,
            comment=pl.col("comment"),
        ).sort("dataset", "native_label", "finding", nulls_last=True)

    def native_labels(self, dataset: str) -> list[str]:
        """All native labels that the crosswalk lists for a dataset, sorted."""
        rows = self.label_map.filter(pl.col("dataset") == dataset)
        return rows["native_label"].unique().sort().to_list()

    def exact(self, dataset: str) -> dict[str, str]:
        """native label -> its exact counterpart among the findings."""
        rows = self.label_map.filter((pl.col("dataset") == dataset) & (pl.col("predicate") == "exactMatch"))
        return dict(zip(rows["native_label"], rows["finding"], strict=True))

    def upward(self, dataset: str) -> dict[str, list[str]]:
        """native label -> findings it is an instance of: exact and broad matches (CONTRACT §5)."""
        rows = self.label_map.filter(
            (pl.col("dataset") == dataset) & pl.col("predicate").is_in(["exactMatch", "broadMatch"])
        )
        result: dict[str, list[str]] = {}
        for native, finding in zip(rows["native_label"], rows["finding"], strict=True):
            result.setdefault(native, []).append(finding)
        return result

    @cached_property
    def ancestors(self) -> dict[str, frozenset[str]]:
        """finding -> itself and everything above it in the tree.

        Raises CxrError CXR-505 if an overlay closes a circle.
        """
        parents: dict[str, list[str]] = {}
        for child, parent in zip(self.finding_tree["child"], self.finding_tree["parent"], strict=True):
            parents.setdefault(child, []).append(parent)

        def above(finding: str, path: tuple[str, ...]) -> frozenset[str]:
            if finding in path:
                raise CxrError("CXR-505", f"the finding tree runs in a circle at {finding}", where="finding_tree.tsv")
            found = {finding}
            for parent in parents.get(finding, []):
                found |= above(parent, (*path, finding))
            return frozenset(found)

        return {finding: above(finding, ()) for finding in self.finding_names}

    @cached_property
    def race(self) -> pl.DataFrame:
        """scheme, dataset, field, raw_value, race, ethnicity, missing_reason, comment."""
        return self._table("race.tsv")

    @cached_property
    def views(self) -> pl.DataFrame:
        """dataset, field, raw_value, view, frontal (Boolean), position, comment."""
        table = self._table("views.tsv")
        return table.with_columns(
            frontal=pl.col("frontal").replace_strict(
                {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
            )
        )

    @cached_property
    def sex(self) -> pl.DataFrame:
        """dataset, raw_value, sex, comment."""
        return self._table("sex.tsv")

    @cached_property
    def age_groups(self) -> pl.DataFrame:
        """scheme, group_order, age_group, low_years, high_years, comment; [low, high), null high unbounded."""
        return self._table("age_groups.tsv").with_columns(
            pl.col("group_order").cast(pl.Int32), pl.col("low_years", "high_years").cast(pl.Float64)
        )

    @cached_property
    def broken_images(self) -> pl.DataFrame:
        """dataset, image_id, problem, source."""
        return self._table("broken_images.tsv")

    @cached_property
    def labelers(self) -> pl.DataFrame:
        """labeler, title, description."""
        return self._table("labelers.tsv")

    @cached_property
    def healthy(self) -> dict[str, dict[str, str]]:
        """dataset -> the rule by which an image counts as healthy."""
        return self._toml("healthy.toml")


def _digests(folders: list[Path]) -> dict[str, str]:
    """SHA-256 of every vocabulary file, overlays under `overlay/`, for the manifest."""
    known = {*_TABLE_KEYS, "findings.toml", "healthy.toml", _REVIEW}
    digests: dict[str, str] = {}
    for level, folder in enumerate(folders):
        for path in sorted(folder.iterdir()):
            if level and path.name == "catalog":
                digests |= {
                    f"overlay/catalog/{entry.name}": hashlib.sha256(entry.read_bytes()).hexdigest()
                    for entry in sorted(path.glob("*.toml"))
                }
            if path.is_dir() or path.name.startswith((".", "README")):
                continue
            if not level and path.name in _NO_VOCABULARY:
                continue
            if path.name not in known:
                raise CxrError(
                    "CXR-505",
                    f"{path.name} is no vocabulary file",
                    where=folder.name,
                    fix=f"known files: {', '.join(sorted(known))}",
                )
            name = f"overlay/{path.name}" if level else path.name
            digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests
