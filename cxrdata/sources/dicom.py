"""Headers of DICOM files: read once, in parallel, and kept in a cache from build to build.

Only the elements below are read, as the text that the file has; pixels never. A file stands in
the account under its folder (`train/*.dicom`), one row a file; what is refused names the file itself.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.engines import Engine, Tell, run_tasks
from cxrdata.sources.rows import numbers
from cxrdata.stages import unfinished

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydicom.dataset import Dataset

    from cxrdata.sources.account import Account
    from cxrdata.sources.base import FoundFile, ReadContext

# Text elements (DICOM PS3.6) and the two unsigned numbers that are turned into text.
_TEXTS = (
    "PatientAge", "PatientSex", "PatientSize", "PatientWeight", "Manufacturer", "PhotometricInterpretation", "PixelSpacing", "ImagerPixelSpacing",
)  # fmt: skip
_SIDES = ("Rows", "Columns")
_ELEMENTS = (*_TEXTS, *_SIDES)
_FILE = {"name": pl.String, "bytes": pl.Int64, "mtime_ns": pl.Int64}
_READ = {**dict.fromkeys(_ELEMENTS, pl.String), "problem": pl.String}
# Raised when the meaning of a cached column changes: an older cache is then read no more.
_CACHE_FORMAT = {"cxrdata_headers": "1"}
_CHUNK = 256  # files handed to a process at once
_CANNOT_BE_READ = "cannot be read: "
_WORTH_A_PROCESS = 512  # below this, starting one takes longer than reading

# How the files of a folder stand together in ledger and source_files: `train/*.dicom`.
_GROUP = pl.col("name").str.replace(r"[^/]*?(\.[^./]*)?$", "*${1}")

HEADER_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "image_id": pl.String,
    "name": pl.String,
    "group": pl.String,
    "age_raw": pl.String,
    "sex_raw": pl.String,
    "rows_px": pl.Int32,
    "columns_px": pl.Int32,
    "pixel_spacing_row_mm": pl.Float64,
    "pixel_spacing_column_mm": pl.Float64,
    "photometric": pl.String,
    "manufacturer": pl.String,
    "patient_size_m": pl.Float64,
    "patient_weight_kg": pl.Float64,
}


def sound_headers(files: Sequence[FoundFile], context: ReadContext, *, pattern: str) -> pl.DataFrame:
    """The usable headers, one row an image, ordered by file name; columns as `HEADER_COLUMNS`.

    `image_id` is the file's stem and must match `pattern`. Refused with the file's name: what is not DICOM
    (CXR-211), a stem of another form (CXR-207), an image met before (CXR-208). The rows that are returned are
    counted as read under their `group`; settling them is the caller's. Sizes in pixels, spacing in mm (PixelSpacing,
    else ImagerPixelSpacing), patient size in m, weight in kg; cells that are no number are null and reported.
    """
    account = context.account
    if not files:
        return pl.DataFrame(schema=HEADER_COLUMNS)
    frame = read_headers(files, context).with_columns(group=_GROUP)
    for group, n in frame.group_by("group", maintain_order=True).len().iter_rows():
        account.read(group, n)
    frame = _without(frame, pl.col("problem").is_not_null(), "CXR-211", account, message=pl.col("problem"))
    frame = _without(
        frame,
        ~pl.col("image_id").str.contains(pattern),
        "CXR-207",
        account,
        message="the file's name is not an image id and .dicom",
    )
    frame = _without(
        frame,
        ~pl.col("image_id").is_first_distinct(),
        "CXR-208",
        account,
        message="another file of the same image was read before",
    )
    return _typed(frame, account)


def read_headers(files: Sequence[FoundFile], context: ReadContext) -> pl.DataFrame:
    """`scan_headers` with the context's cache, by processes of this machine."""

    def tell(done: int, total: int) -> None:
        if not done:
            context.progress(f"reading {total} DICOM headers")

    return scan_headers(files, context.header_cache, Engine(workers=context.workers), tell=tell)


def scan_headers(
    files: Sequence[FoundFile], cache: Path | None, engine: Engine, *, tell: Tell = lambda _done, _total: None
) -> pl.DataFrame:
    """Header elements as text, one row a file in order of `name`, whatever their order in `files`.

    Columns: `name`, `bytes`, `mtime_ns`, `image_id` (file stem), the DICOM keywords of `_ELEMENTS` (null: absent or empty) and
    `problem` (null, or why the file is no DICOM file). With a cache, only files that are new or differ in size or time of
    change are opened. Raises CxrError as `run_tasks` does.
    """
    ordered = sorted(files, key=_by_name)
    states = [os.stat(file.path) for file in ordered]  # noqa: PTH116 - Path.stat takes twice the time
    now = pl.DataFrame(
        {
            "name": [file.name for file in ordered],
            "bytes": [s.st_size for s in states],
            "mtime_ns": [s.st_mtime_ns for s in states],
        },
        schema=_FILE,
    )
    known = _load_cache(cache)
    fresh = now.with_row_index("_at").join(known, on=list(_FILE), how="anti", maintain_order="left")
    if not fresh.is_empty():
        paths = [str(ordered[at].path) for at in fresh["_at"]]
        values = pl.DataFrame(_read_all(paths, engine, tell), schema=_READ, orient="row")
        known = pl.concat([known, fresh.drop("_at").hstack(values)])
    frame = now.join(known, on=list(_FILE), how="left", maintain_order="left")
    if not fresh.is_empty():
        _save_cache(frame, cache)
    stem = pl.col("name").str.extract(r"([^/]*)$", 1).str.replace(r"\.[^.]*$", "")
    return frame.with_columns(image_id=stem)


def _by_name(file: FoundFile) -> str:
    return file.name


def _load_cache(path: Path | None) -> pl.DataFrame:
    """What is known from earlier builds; a cache that is damaged or of another format counts as none."""
    nothing = pl.DataFrame(schema={**_FILE, **_READ})
    if path is None or not path.is_file():
        return nothing
    try:
        if not _CACHE_FORMAT.items() <= pl.read_parquet_metadata(path).items():
            return nothing
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        return nothing
    return frame.unique(list(_FILE), keep="first", maintain_order=True) if frame.schema == nothing.schema else nothing


def _save_cache(frame: pl.DataFrame, path: Path | None) -> None:
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = unfinished(path)
    frame.write_parquet(aside, metadata=_CACHE_FORMAT, row_group_size=1 << 17)
    aside.replace(path)


def _read_all(paths: list[str], engine: Engine, tell: Tell) -> list[tuple[str | None, ...]]:
    if engine.name == "local":
        engine = Engine(workers=min(engine.workers, math.ceil(len(paths) / _WORTH_A_PROCESS)))
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    found = run_tasks(_read_some, chunks, engine, sizes=[len(chunk) for chunk in chunks], tell=tell)
    rows = [row for rows in found for row in rows]
    if engine.name == "local":
        return rows
    # A file that a node does not see, and this machine does, is no fault of the file.
    unseen = [at for at, row in enumerate(rows) if (row[-1] or "").startswith(_CANNOT_BE_READ)]
    for at, row in zip(unseen, _read_some([paths[at] for at in unseen]), strict=True):
        rows[at] = row
    return rows


def _read_some(paths: Iterable[str], tell: Callable[[int], None] = lambda _: None) -> list[tuple[str | None, ...]]:
    """Elements and problem of each file, in the order of `_READ`."""
    from pydicom import config
    from pydicom.datadict import tag_for_keyword

    tags = {keyword: tag_for_keyword(keyword) for keyword in _ELEMENTS}
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")  # ages such as `Y` break the standard; they are judged later
        rows = []
        for path in paths:
            rows.append(_read_one(path, tags))
            tell(len(rows))
        return rows


def _read_one(path: str, tags: dict[str, int | None]) -> tuple[str | None, ...]:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=list(tags.values()))  # type: ignore[arg-type]
        values = tuple(_text(header, keyword, tag) for keyword, tag in tags.items())
    except InvalidDicomError:
        return (*(None for _ in tags), _what_is_wrong(path, tags))
    except OSError as error:
        return (*(None for _ in tags), f"{_CANNOT_BE_READ}{error.strerror}")
    except Exception as error:  # noqa: BLE001 - a damaged header fails in as many ways as it has bytes
        return (*(None for _ in tags), f"the header is damaged ({type(error).__name__})")
    if all(value is None for value in values):
        return (*values, "the header has none of the elements of an image; the file may be cut short")
    return (*values, None)


def _text(header: Dataset, keyword: str, tag: Any) -> str | None:  # noqa: ANN401 - pydicom's tag
    """An element as its file writes it: pydicom would refuse numbers and ages that are none."""
    if tag not in header:
        return None
    element = header.get_item(tag)
    value = element.value
    if isinstance(value, bytes):
        if keyword in _SIDES:
            return str(int.from_bytes(value, "little" if element.is_little_endian else "big")) if value else None
        value = value.decode("latin-1")
    return (str(value).strip("\0 ") or None) if value is not None else None


def _what_is_wrong(path: str, tags: dict[str, int | None]) -> str:
    from pydicom import dcmread

    with Path(path).open("rb") as file:
        start = file.read(64).lstrip().lower()
    if not start:
        return "the file is empty"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "this is a web page, not data (most likely a login page)"
    if start.startswith(b"version https://git-lfs"):
        return "this is a Git LFS pointer, not the file itself"
    try:
        header = dcmread(path, stop_before_pixels=True, force=True)
    except Exception:  # noqa: BLE001 - as above
        return "no DICOM file: the mark DICM is missing"
    if any(tag in header for tag in tags.values() if tag is not None):
        return "the DICOM preamble is missing, so the elements that follow cannot be trusted"
    return "no DICOM file: the mark DICM is missing"


def _without(frame: pl.DataFrame, bad: pl.Expr, code: str, account: Account, *, message: str | pl.Expr) -> pl.DataFrame:
    """Refuse files: counted with their folder, named by themselves."""
    refused = frame.filter(bad)
    for (group,), part in refused.group_by("group", maintain_order=True):
        account.entry(str(group)).rejected += part.height
    for (name,), part in refused.group_by("name", maintain_order=True):
        account.reject_rows(str(name), part, code, message=message, count=False)
    return frame.filter(~bad)


def _typed(frame: pl.DataFrame, account: Account) -> pl.DataFrame:
    spacing = pl.coalesce("PixelSpacing", "ImagerPixelSpacing").str.splitn("\\", 2)
    frame = frame.with_columns(_row=spacing.struct.field("field_0"), _column=spacing.struct.field("field_1"))
    reals = {
        "_row": "PixelSpacing",
        "_column": "PixelSpacing (second value)",
        "PatientSize": "PatientSize",
        "PatientWeight": "PatientWeight",
    }
    frame = frame.drop("PixelSpacing", "ImagerPixelSpacing").rename({k: v for k, v in reals.items() if k != v})
    frame = numbers(
        frame, {**dict.fromkeys(reals.values(), pl.Float64), **dict.fromkeys(_SIDES, pl.Int32)}, account, pl.col("name")
    )
    for side in _SIDES:
        none = pl.col(side) < 1
        account.reject_values(
            pl.col("name"),
            frame.filter(none),
            "CXR-301",
            column=side,
            message="an image has at least one row and one column",
        )
        frame = frame.with_columns(pl.when(~none).then(side).alias(side))
    return frame.select(
        "image_id",
        "name",
        "group",
        age_raw="PatientAge",
        sex_raw="PatientSex",
        rows_px="Rows",
        columns_px="Columns",
        pixel_spacing_row_mm="PixelSpacing",
        pixel_spacing_column_mm="PixelSpacing (second value)",
        photometric="PhotometricInterpretation",
        manufacturer="Manufacturer",
        patient_size_m="PatientSize",
        patient_weight_kg="PatientWeight",
    ).cast(pl.Schema(HEADER_COLUMNS))
