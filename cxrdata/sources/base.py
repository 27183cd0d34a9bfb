"""What a source is: a folder of official files in, raw canonical frames out.

A dataset is described by `catalog/<name>.toml` (files, variants, labelers, expectations)
and read by the module `cxrdata.sources.<name>`, which has two functions:

    layout.variant(role, head) -> str      which variant of the format a file is, by content
    read.read(files, context) -> RawDataset

Everything after that (ages, sexes, views, races, labels, checks, storage) is shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.resources import data_folder
from cxrdata.sources.account import Account
from cxrdata.tomlfile import read_toml
from cxrdata.vocabularies import Vocabularies

# How a label cell is stored (metadata/label_states.tsv; SILENT is its note).
POSITIVE, NEGATIVE, UNCERTAIN, UNMENTIONED, SILENT = 1, 0, -1, -2, -3


@dataclass(frozen=True)
class FileSpec:
    """A file that the dataset's distribution has, as `[[file]]` of its catalog entry says.

    `kind`: `csv`, `lines` (no header), `workbook`, `jsonlines`, `dicom`. `columns`: those by which a
    CSV is recognised, all required. `any_of`: groups of which one column each must be there;
    `absent`: columns that show it to be another file, dataset or edition.
    `names`: official file names, as patterns, without `.gz`; `generic_names` where such a name says little
    (`train.csv`). `line_pattern`: what the first line of a `lines` file must match. `sheet`: worksheet of a workbook.
    `lists_images`: the file that says which images there are. `gives`: what is null without it.
    `unused`: columns that the official file has and that are not read; any other column is remarked upon.
    `other_labels`: for a file that names labels in its cells, those of the dataset's crosswalk that only other files use.
    """

    dataset: str
    role: str
    kind: str
    names: tuple[str, ...]
    columns: tuple[str, ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()
    absent: tuple[str, ...] = ()
    lists_images: bool = False
    generic_names: bool = False
    line_pattern: str = ""
    sheet: str = ""
    gives: str = ""
    unused: tuple[str, ...] = ()
    other_labels: tuple[str, ...] = ()

    def is_named(self, file_name: str) -> bool:
        """Whether a file bears one of the official names (any case, gzipped or not)."""
        plain = file_name.lower().removesuffix(".gz")
        return any(fnmatchcase(plain, pattern.lower()) for pattern in self.names)

    def fits(self, fields: Sequence[str]) -> bool:
        """Whether a header has all that this file must have."""
        have = set(fields)
        return (
            have.issuperset(self.columns)
            and have.isdisjoint(self.absent)
            and all(have.intersection(group) for group in self.any_of)
        )

    def beyond(self, fields: Sequence[str]) -> list[str]:
        """Columns of a header that the official file does not have."""
        official = {"", *self.columns, *self.unused, *(column for group in self.any_of for column in group)}
        return [column for column in fields if column not in official]


@dataclass(frozen=True)
class LabelerSpec:
    """`[[labeler]]`: who labelled, at which level, and whether silence means negative."""

    name: str
    level: str
    closed_world: bool


@dataclass(frozen=True)
class Expectation:
    """`[[expected]]`: an official count. `confidence` V, R or M as in the reference: M is never a check.

    `variant`, `needs`: only asked where a file of this variant, or of this role, was read.
    """

    what: str
    sql: str
    count: int
    confidence: str
    source: str = ""
    variant: str = ""
    needs: str = ""


@dataclass(frozen=True)
class Source:
    """One ingestible dataset."""

    name: str
    entry: Mapping[str, Any]
    catalog_text: str = field(repr=False, default="")

    @cached_property
    def files(self) -> tuple[FileSpec, ...]:
        return tuple(
            FileSpec(
                dataset=self.name,
                role=spec["role"],
                kind=spec["kind"],
                names=tuple(spec["names"]),
                columns=tuple(spec.get("columns", ())),
                any_of=tuple(tuple(group) for group in spec.get("any_of", ())),
                absent=tuple(spec.get("absent", ())),
                lists_images=spec.get("lists_images", False),
                generic_names=spec.get("generic_names", False),
                line_pattern=spec.get("line_pattern", ""),
                sheet=spec.get("sheet", ""),
                gives=spec.get("gives", ""),
                unused=tuple(spec.get("unused", ())),
                other_labels=tuple(spec.get("other_labels", ())),
            )
            for spec in self.entry["file"]
        )

    @cached_property
    def labelers(self) -> tuple[LabelerSpec, ...]:
        """In the order of preference for `image_labels`."""
        return tuple(LabelerSpec(s["name"], s["level"], s["closed_world"]) for s in self.entry["labeler"])

    def labeler(self, name: str) -> LabelerSpec:
        return next(spec for spec in self.labelers if spec.name == name)

    @cached_property
    def expectations(self) -> tuple[Expectation, ...]:
        return tuple(Expectation(**spec) for spec in self.entry.get("expected", ()))

    @property
    def aliases(self) -> tuple[str, ...]:
        return tuple(self.entry.get("aliases", ()))

    @property
    def title(self) -> str:
        return str(self.entry["title"])

    def module(self, part: str) -> ModuleType:
        """`read`, `layout` or `synth` of the dataset's folder."""
        return import_module(f"{self.entry.get('module', f'cxrdata.sources.{self.name}')}.{part}")


@dataclass(frozen=True)
class FoundFile:
    """A file that was recognised. `name` is its path below the dataset's root, POSIX."""

    spec: FileSpec
    path: Path
    name: str
    variant: str = ""
    needs: str = ""


@dataclass(frozen=True)
class SourceFiles:
    """What was found of one dataset below one root; DICOM folders are in `dicom`, file by file.

    `twins`: gzipped files beside which the same lies unpacked in `files`; they are compared and not read.
    """

    source: Source
    root: Path
    files: tuple[FoundFile, ...]
    dicom: tuple[FoundFile, ...] = ()
    twins: tuple[FoundFile, ...] = ()

    def all(self, role: str) -> list[FoundFile]:
        return [file for file in self.files if file.spec.role == role]

    def one(self, role: str) -> FoundFile | None:
        """The file of a role, or None. Raises CxrError CXR-115 for two."""
        found = self.all(role)
        if len(found) > 1:
            raise CxrError(
                "CXR-115",
                f"{found[0].name} and {found[1].name} are both the {role} file of {self.source.name}",
                where=found[1].name,
                fix="keep one of them below the folder that is named",
            )
        return found[0] if found else None


@dataclass(frozen=True)
class ReadContext:
    """What a reader is given: vocabularies, the account to keep, and a few wishes."""

    source: Source
    vocabularies: Vocabularies
    account: Account
    with_text: bool = False
    workers: int = 1
    header_cache: Path | None = None
    progress: Callable[[str], None] = lambda _: None

    def labels_of(self, spec: FileSpec) -> list[str]:
        """The labels that a file may name in its cells, sorted: all that the crosswalk has for the dataset, an overlay's
        included, but the file's `other_labels`."""
        return [label for label in self.vocabularies.native_labels(self.source.name) if label not in spec.other_labels]


@dataclass
class LabelerStates:
    """What one labeler says: `frame` has `image_id` and one Int8 column a native label (codes above;
    null = not assessed on that image), and `closed_world` (Boolean)."""

    labeler: str
    frame: pl.DataFrame

    @property
    def native_labels(self) -> list[str]:
        return [column for column in self.frame.columns if column not in ("image_id", "closed_world")]


@dataclass
class RawDataset:
    """What a reader hands on. Values are as the files have them; only keys are made canonical.

    images: one row an image. Required: `image_id`, `path`, `source_file`, `source_row`, `_line`.
        Optional (null where absent): `patient_id`, `study_id`, `study_order`, `source_split`, `view_raw`, `view_source`,
        `position_raw`, `position_source`, `frontal_raw`, `sex_raw`, `age_raw`, `study_date` (Date), `anchor_age`, `anchor_year`,
        `birth_year`, `rows_px`, `columns_px`, `original_rows_px`, `original_columns_px`,
        `pixel_spacing_row_mm`, `pixel_spacing_column_mm`, `manufacturer`, `patient_size_m`, `patient_weight_kg`, `attributes_file` (where age and sex were read, if not on
        `_line` of `source_file`; a file of its own, such as a DICOM file).
    age_form: how `age_raw` is to be read: `years`, `dicom`, `birth_year`, `anchor_year` or `none`.
    labels: one a labeler.
    readings: per reader: `image_id`, `reader_id`, one Int8 column a native label.
    boxes: `image_id`, `reader_id`, `native_label`, `x_min`, `y_min`, `x_max`, `y_max` (Float64).
    race: `patient_id`, `field`, `raw_value`, `record_order`; one row a statement, ordered.
    race_asked: whether the dataset has any record of race for the files found.
    """

    images: pl.DataFrame
    age_form: str = "none"
    labels: list[LabelerStates] = field(default_factory=list)
    readings: pl.DataFrame | None = None
    boxes: pl.DataFrame | None = None
    race: pl.DataFrame | None = None


# What every entry of `catalog/` must say, by part; "" is the entry itself.
_REQUIRED = {
    "": ("name", "title", "homepage", "obtain", "licence", "age", "labeler"),
    "licence": ("name", "allows", "terms"),
    "file": ("role", "kind", "names"),
    "labeler": ("name", "level", "closed_world"),
}


def _check_entry(entry: Mapping[str, Any], where: str) -> None:
    """Raises CxrError CXR-505 where a dataset's entry lacks a key that is needed to read it."""
    for part, keys in _REQUIRED.items():
        value = entry.get(part) if part else entry
        tables = value if isinstance(value, list) else [value]
        for number, table in enumerate(tables, 1):
            what = f"[[{part}]] number {number}" if isinstance(value, list) else f"[{part}]" if part else "the entry"
            if not isinstance(table, dict):
                raise CxrError(
                    "CXR-505",
                    f"{what} is no table",
                    where=where,
                    fix=f"it needs {', '.join(keys)}; see docs/add_a_dataset.md",
                )
            missing = [key for key in keys if key not in table]
            if missing:
                raise CxrError(
                    "CXR-505",
                    f"{what} lacks {missing[0]!r}",
                    where=where,
                    fix=f"it needs {', '.join(keys)}; see docs/add_a_dataset.md",
                )


class Registry:
    """The sources that can be ingested: every `*.toml` in `catalog/` and in an overlay's `catalog/`.

    Raises CxrError CXR-505 for an entry that is not valid TOML or lacks what is needed.
    """

    def __init__(self, overlays: Path | None = None) -> None:
        self._sources: dict[str, Source] = {}
        folders = [data_folder("catalog")]
        if overlays is not None and (overlays / "catalog").is_dir():
            folders.append(overlays / "catalog")
        for folder in folders:
            for path in sorted(folder.glob("*.toml")):
                entry, text = read_toml(path, where=f"catalog/{path.name}")
                if "file" in entry:
                    _check_entry(entry, f"catalog/{path.name}")
                    self._sources[entry["name"]] = Source(entry["name"], entry, text)

    def __iter__(self) -> Iterator[Source]:
        return iter(sorted(self._sources.values(), key=lambda source: source.entry.get("order", 99)))

    @property
    def names(self) -> list[str]:
        return [source.name for source in self]

    @property
    def by_alias(self) -> dict[str, str]:
        """Name of the source by each of its names: its own and its aliases."""
        return {alias: source.name for source in self for alias in (source.name, *source.aliases)}

    def get(self, name: str) -> Source:
        """The source of a name or alias. Raises CxrError CXR-501."""
        key = name.lower().replace("-", "_")
        known = self.by_alias
        if key in known:
            return self._sources[known[key]]
        raise CxrError(
            "CXR-501",
            f"no dataset is called {name!r}{nearest(key, list(known))}",
            fix=f"datasets: {', '.join(self.names)}",
        )
