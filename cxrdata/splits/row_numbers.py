"""Rows of a named source file, by number: how split files address the images of data that may not be shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError, nearest

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

_REFUSED = "CXR-116"
_WHOLE = r"^\d+(?:\.0*)?$"
_NUMBER = r"^[+-]?\d+(?:\.\d*)?$"
_INDEX_NAMES = ("index", "row", "row_number", "row_index", "idx", "unnamed: 0", "")
# The meanings of `index` in split files of chexploration and its successors; only the first can be converted.
_MEANINGS = "the row of train.csv from 0, the place in a table sorted by Path, and the row of the demographics"
_SCHEMA = ["dataset", "image_id", "patient_id"]


def number_column(frame: pl.DataFrame, key: str | None = None) -> str | None:
    """The column that holds row numbers: `key`, else one that is called so, else the only one with whole numbers."""
    numbers = [name for name, dtype in frame.schema.items() if not dtype.is_nested() and _holds_numbers(frame[name])]
    if key is not None:
        return key if key in numbers else None
    named = [name for wanted in _INDEX_NAMES for name in numbers if name.strip().lower() == wanted]
    return named[0] if named else (numbers[0] if len(numbers) == 1 else None)


def _holds_numbers(values: pl.Series) -> bool:
    text = values.cast(pl.String).drop_nulls()
    return len(text) > 0 and bool(text.str.contains(_NUMBER).all())


def ambiguous(catalog: Catalog, file: str, column: str, asked: list[str]) -> CxrError:
    """Why row numbers of an unnamed file are refused, and the way out."""
    sources = _image_lists(catalog, asked)
    names = ", ".join(f"{dataset}:{name}" for dataset, name in sources.select("dataset", "source_file").iter_rows())
    known = (
        f"; split files of CheXpert are about with three meanings of it: {_MEANINGS}"
        if "chexpert" in sources["dataset"]
        else ""
    )
    return CxrError(
        "CXR-502",
        f"column {column!r} holds row numbers, but of which file is not said{known}",
        where=file,
        fix=f"if they count the rows of an official file from 0, name it with --rows-of (one of {names}); else give a file with image ids or paths",
    )


def rows_by_number(
    catalog: Catalog,
    frame: pl.DataFrame,
    place: Callable[[int, str | None], str],
    rows_of: str,
    *,
    key: str | None,
    datasets: list[str],
) -> tuple[pl.DataFrame, str]:
    """The image of each row, and `dataset:source_file` whose rows are counted.

    Returns dataset, image_id, patient_id (null where that row of the source holds no image of its own: it was rejected, or
    is a further reading of an image), said (the number) and reason, in the order of `frame`.

    Raises CxrError: CXR-116 numbers that are missing, no whole numbers, negative, repeated or out of range; CXR-501 no such
    source file; CXR-502 several, one that lists no images, or no column of numbers.
    """
    dataset, source = _source(catalog, rows_of, datasets)
    column = key if key is not None else number_column(frame)
    if column is None:
        raise CxrError(
            "CXR-502",
            "no column holds row numbers",
            where=place(0, None).split(":")[0].split(",")[0],
            fix=f"name it with --key (columns: {', '.join(frame.columns)})",
        )
    n_rows = catalog.sql(
        "SELECT rows_read FROM ledger WHERE dataset = $dataset AND source_file = $source",
        {"dataset": dataset, "source": source},
    ).item()
    numbers = _checked(frame[column], n_rows, source, lambda row: place(row, column))
    images = (
        catalog.table("images").filter(dataset=dataset, source_file=source).select(*_SCHEMA, "source_row").collect()
    )
    found = pl.DataFrame({"source_row": numbers}).join(images, on="source_row", how="left", maintain_order="left")
    reason = pl.when(pl.col("image_id").is_null()).then(pl.lit("this row of the source holds no image of its own"))
    return found.select(*_SCHEMA, said=pl.col("source_row").cast(pl.String), reason=reason), f"{dataset}:{source}"


def _checked(values: pl.Series, n_rows: int, source: str, place: Callable[[int], str]) -> pl.Series:
    """The numbers, each a row of a file of `n_rows`, none twice."""
    text = values.cast(pl.String).str.strip_chars()
    frame = (
        text.to_frame("said")
        .with_row_index("at")
        .with_columns(
            number=pl.when(pl.col("said").str.contains(_WHOLE))
            .then(pl.col("said").str.split(".").list.first())
            .cast(pl.Int64, strict=False)
        )
    )
    past = frame.filter(pl.col("number") >= n_rows)
    one_off = past.height == 1 and past["number"][0] == n_rows and not (frame["number"] == 0).any()
    whole = "give the file's row numbers as 0, 1, 2, …"
    counted = (
        f"the numbers seem to be counted from 1: take 1 off each; {source}"
        if one_off
        else f"is this a split of another file or version? {source}"
    )
    faults = (
        (
            frame.filter(pl.col("said").is_null() | (pl.col("said") == "")),
            "a row number is missing",
            "fill it, or leave the row out",
        ),
        (frame.filter(pl.col("said").str.contains(r"^-\d")), "the row number {} is negative", whole),
        (frame.filter(pl.col("number").is_null()), "{!r} is no row number", whole),
        (
            past,
            f"there is no row {{}}: {source} has {n_rows:,} rows, 0 to {n_rows - 1}",
            f"{counted} is the file that --rows-of named",
        ),
        (
            frame.filter(~pl.col("number").is_first_distinct()),
            "the row number {} stands here a second time",
            "leave each row in one split, once",
        ),
    )
    for wrong, problem, fix in faults:
        if not wrong.is_empty():
            at, said, _ = wrong.row(0)
            others = f" ({wrong.height - 1:,} more like it)" if wrong.height > 1 else ""
            raise CxrError(_REFUSED, problem.format(said) + others, where=place(at), fix=fix)
    return frame["number"].alias("source_row")


def _image_lists(catalog: Catalog, asked: list[str]) -> pl.DataFrame:
    """dataset, source_file of the files whose rows are images, sorted."""
    lists = (
        catalog.table("images")
        .select("dataset", "source_file")
        .unique()
        .drop_nulls()
        .sort("dataset", "source_file")
        .collect()
    )
    return lists.filter(pl.col("dataset").is_in(asked)) if asked else lists


def _source(catalog: Catalog, rows_of: str, asked: list[str]) -> tuple[str, str]:
    """The source file that is meant: `dataset:path`, its path, its name, or its name without suffix."""
    wanted = _short(rows_of)
    lists = _image_lists(catalog, asked)
    known = list(lists.select("dataset", "source_file").iter_rows())
    found = [pair for pair in known if rows_of == f"{pair[0]}:{pair[1]}"] or [
        pair for pair in known if wanted in _spellings(*pair)
    ]
    named = [f"{dataset}:{name}" for dataset, name in known]
    if len(found) > 1:
        raise CxrError(
            "CXR-502",
            f"several source files are called {rows_of!r}: {', '.join(f'{dataset}:{name}' for dataset, name in found)}",
            fix=f"say which, for example --rows-of {found[0][0]}:{found[0][1]}",
        )
    if found:
        return found[0]
    others = (
        catalog.table("source_files")
        .select("dataset", "source_file")
        .sort("dataset", "source_file")
        .collect()
        .iter_rows()
    )
    for dataset, name in others:
        if wanted in _spellings(dataset, name):
            raise CxrError(
                "CXR-502",
                f"the rows of {dataset}:{name} are no images",
                fix=f"rows of these are: {', '.join(named)}; for others give a file with image ids or paths",
            )
    names = [spelling for pair in known for spelling in _spellings(*pair)]
    raise CxrError(
        "CXR-501",
        f"no source file is called {rows_of!r}{nearest(wanted, names)}",
        fix=f"files whose rows are images: {', '.join(named)}",
    )


def _short(name: str) -> str:
    """A file name without `.gz`, which says nothing about the rows."""
    return name.removesuffix(".gz")


def _spellings(dataset: str, source: str) -> tuple[str, ...]:
    """How a source file may be named."""
    path = _short(source)
    name = path.rsplit("/", 1)[-1]
    return (f"{dataset}:{path}", path, f"{dataset}:{name}", name, name.rsplit(".", 1)[0])
