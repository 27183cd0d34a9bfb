"""Published split files turned into keys: by image id or path, or by row number of a named source file.

Row numbers are the usual way to share a split of restricted data, and the usual way to get one wrong: which file is
counted is rarely said. So a number is converted only against a file that the user names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.annotate.key_column import find_key_column
from cxrdata.annotate.run import stated_datasets
from cxrdata.annotate.tabular import read_table
from cxrdata.errors import CxrError, nearest
from cxrdata.keys import NOT_IN_CATALOG, KeyIndex
from cxrdata.splits.members import known_datasets
from cxrdata.splits.row_numbers import ambiguous, number_column, rows_by_number
from cxrdata.stages import sha256_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrdata.store.catalog import Catalog

KEY = ["dataset", "image_id"]
# What people call the subsets, in any case; and the case study's own, so that a split of ours reads back.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("valid", "validate", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
    **{name: name for name in ("calibration", "test_healthy_adult", "test_pediatric")},
}
NO_SPLIT = "in the file without a split"
NOT_FOUND = "in the file, not in the catalog"
_EXAMPLES = 5
_REFUSED = "CXR-116"


@dataclass(frozen=True)
class FromFile:
    """A split file in keys.

    frame: dataset, image_id, patient_id, split; one row an image, sorted by key. how: how its rows were read, in words.
    rows: rows of the file. unmatched: rows that name no image of the catalog (or none of the datasets asked for), and
    unmatched_examples: up to five of them. without_split: rows whose split is empty. repeated: rows that say again what
    an earlier one said. remarks: how the file itself was read. arguments: file name, SHA-256 and wishes, as a manifest
    holds them.
    """

    frame: pl.DataFrame
    how: str
    rows: int
    unmatched: int
    unmatched_examples: list[str]
    without_split: int
    repeated: int
    arguments: dict[str, Any]
    remarks: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> list[dict[str, Any]]:
        """Rows that are in no split, as a manifest lists them; which dataset they are of is not known."""
        counts = ((NOT_FOUND, self.unmatched), (NO_SPLIT, self.without_split))
        return [{"dataset": None, "reason": reason, "images": n} for reason, n in counts if n]


@dataclass(frozen=True)
class _Keyed:
    """What a file's rows name: dataset, image_id, patient_id (null: none), `said` (the key as it stands there)."""

    keys: pl.DataFrame
    how: str


def read_split_file(
    catalog: Catalog,
    path: str | Path,
    *,
    key: str | None = None,
    rows_of: str | None = None,
    listed: str | None = None,
    split_column: str | None = None,
    datasets: Sequence[str] = (),
) -> FromFile:
    """The split that a CSV (gzipped or not; comma, semicolon, tab or bar) or Parquet file holds.

    key: the column with image ids, paths or row numbers; None: found by content. rows_of: the source file whose rows the
    numbers count, from 0. listed: the split of all images of a file that only lists them. split_column: the column with
    train, valid, test (or validate, val, dev, …); None: found by content. datasets: only images of these.

    Raises CxrError: those of `annotate.tabular.read_table`; CXR-112 a split of another dataset; CXR-116 a file that
    contradicts itself or holds other words than names of splits; CXR-501 unknown names; CXR-502 row numbers of an
    unnamed file, no split column, several of them; CXR-504 no image keys.
    """
    path = Path(path)
    if not path.is_file():
        raise CxrError("CXR-101", "this file does not exist", where=path.name, fix="name a CSV or Parquet file")
    frame, remarks = read_table(path)
    asked = known_datasets(catalog, datasets)
    rows = FileRows(path, frame)
    column, words = _splits(rows, listed, split_column)
    rest = frame.drop(column) if column is not None else frame
    if key is not None and key not in rest.columns:
        raise CxrError(
            "CXR-501",
            f"there is no column {key!r}{nearest(key, rest.columns)}",
            where=path.name,
            fix=f"columns: {', '.join(rest.columns)}",
        )
    if rows_of is not None:
        numbered, source = rows_by_number(catalog, rest, rows.place, rows_of, key=key, datasets=asked)
        found = _Keyed(
            numbered, f"column {number_column(rest, key)!r} as row numbers of {source}, the first row being 0"
        )
    else:
        found = _by_key(catalog, rest, path, key=key, asked=asked)
    how = f"{found.how}; " + (
        f"split by column {column!r}" if column is not None else f"every image listed is {listed}"
    )
    wishes = {
        "from_file": path.name,
        "sha256": sha256_file(path),
        "key": key,
        "rows_of": rows_of,
        "listed": listed,
        "split_column": split_column,
    }
    arguments: dict[str, Any] = {name: value for name, value in wishes.items() if value is not None}
    if asked:
        arguments["datasets"] = asked
    return _told(rows, found.keys.with_columns(split=words), how, arguments, remarks)


class FileRows:
    """The rows of a file, and where each stands in it."""

    def __init__(self, path: Path, frame: pl.DataFrame) -> None:
        self.path = path
        self.frame = frame

    def place(self, row: int, column: str | None = None) -> str:
        """Where a row (from 0) stands: its line where every row is a line of a text file, else its number, from 1."""
        headless = self.frame.columns[0] == "column_1"
        lines = self._n_lines()
        at = (
            f":{row + (1 if headless else 2)}"
            if lines == self.frame.height + (0 if headless else 1)
            else f", row {row + 1}"
        )
        return f"{self.path.name}{at}" + (f" {column}" if column else "")

    def _n_lines(self) -> int | None:
        import gzip

        body = self.path.read_bytes()
        body = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        return None if body.startswith(b"PAR1") else len(body.splitlines())


def _splits(rows: FileRows, listed: str | None, column: str | None) -> tuple[str | None, pl.Series]:
    """The split column, if there is one, and the split of each row (null: in none)."""
    frame = rows.frame
    if column is not None and listed is not None:
        raise CxrError(
            "CXR-502",
            "--listed says what all rows are, and --split-column that each row says it",
            fix="give one of them",
        )
    if column is not None and column not in frame.columns:
        raise CxrError(
            "CXR-501",
            f"there is no column {column!r}{nearest(column, frame.columns)}",
            where=rows.path.name,
            fix=f"columns: {', '.join(frame.columns)}",
        )
    column = column if column is not None else _split_column(rows, listed)
    if column is None:
        assert listed is not None
        name = SPLIT_WORDS.get(listed.strip().lower())
        if name is None:
            raise CxrError(
                "CXR-501",
                f"{listed!r} is no split{nearest(listed, list(SPLIT_WORDS))}",
                fix="give train, valid or test",
            )
        return None, pl.Series("split", [name] * frame.height, dtype=pl.String)
    said = _plain(frame[column])
    words = said.replace_strict(SPLIT_WORDS, default=None, return_dtype=pl.String)
    unknown = (
        frame.select(said=said, word=words, raw=pl.col(column).cast(pl.String))
        .with_row_index("at")
        .filter(pl.col("said").is_not_null() & pl.col("word").is_null())
    )
    if not unknown.is_empty():
        named = ", ".join(repr(value) for value in unknown["raw"].unique(maintain_order=True).head(_EXAMPLES).to_list())
        raise CxrError(
            _REFUSED,
            f"column {column!r} holds {named}, which {'name' if unknown['raw'].n_unique() > 1 else 'names'} no split",
            where=rows.place(unknown["at"][0], column),
            fix="write train, valid or test (training, validate, validation, val, dev and testing are understood; numbers of folds are not)",
        )
    return column, words.alias("split")


def _plain(values: pl.Series) -> pl.Series:
    """Words without blanks around them and without case; an empty cell is null."""
    text = values.cast(pl.String).str.strip_chars().str.to_lowercase()
    return text.set(text == "", None)


def _split_column(rows: FileRows, listed: str | None) -> str | None:
    """The column that holds nothing but names of splits; None if there is none and the file is a list.

    Where none does, one that is called so is taken, for its values to be refused by name.
    """
    frame = rows.frame
    flat = [name for name, dtype in frame.schema.items() if not dtype.is_nested()]
    found = [
        name
        for name in flat
        if frame[name].null_count() < frame.height and _plain(frame[name]).drop_nulls().is_in(list(SPLIT_WORDS)).all()
    ]
    named = [name for name in flat if name.strip().lower() == "split"]
    found = [name for name in found if name in named] or found or named
    if listed is not None and found:
        raise CxrError(
            "CXR-502", f"the file has a split column, {found[0]!r}", where=rows.path.name, fix="leave --listed out"
        )
    if len(found) > 1:
        raise CxrError(
            "CXR-502",
            f"{' and '.join(map(repr, found))} both hold splits",
            where=rows.path.name,
            fix="say which with --split-column COLUMN",
        )
    if not found and listed is None:
        raise CxrError(
            "CXR-502",
            "no column says which split an image is in",
            where=rows.path.name,
            fix=f"if the file lists the images of one split, say which: --listed test; else name the column with --split-column (columns: {', '.join(frame.columns)})",
        )
    return found[0] if found else None


def _by_key(catalog: Catalog, frame: pl.DataFrame, path: Path, *, key: str | None, asked: list[str]) -> _Keyed:
    index = KeyIndex.of(catalog.table("images"))
    try:
        found = find_key_column(frame, index, key=key, datasets=stated_datasets(frame))
    except CxrError as error:
        if error.code == "CXR-504" and (column := number_column(frame, key)) is not None:
            raise ambiguous(catalog, path.name, column, asked) from error
        error.where = error.where or path.name
        raise
    resolved = found.resolved
    if asked:
        elsewhere = resolved["dataset"].is_not_null() & ~resolved["dataset"].is_in(asked)
        present = resolved["dataset"].drop_nulls().unique().sort().to_list()
        if not set(present) & set(asked):
            raise CxrError(
                "CXR-112",
                f"{found.column!r} holds images of {', '.join(present)}, none of {', '.join(asked)}",
                where=path.name,
                fix=f"ask for --dataset {present[0]}, or give a split file of {asked[0]}",
            )
        resolved = resolved.with_columns(
            dataset=pl.when(~elsewhere).then("dataset"),
            image_id=pl.when(~elsewhere).then("image_id"),
            reason=pl.when(elsewhere).then(pl.lit("of a dataset that was not asked for")).otherwise("reason"),
        )
    keys = resolved.with_columns(said=frame[found.column].cast(pl.String))
    patients = catalog.table("images").select(*KEY, "patient_id").collect()
    keys = keys.join(patients, on=KEY, how="left", maintain_order="left")
    return _Keyed(keys.select(*KEY, "patient_id", "said", "reason"), f"column {found.column!r} as image keys")


def _told(rows: FileRows, keys: pl.DataFrame, how: str, arguments: dict[str, Any], remarks: list[str]) -> FromFile:
    """Every row accounted for: in a split, repeated, without a split, or of no image."""
    keys = keys.with_row_index("at")
    matched = keys.filter(pl.col("image_id").is_not_null())
    placed = matched.filter(pl.col("split").is_not_null())
    if placed.is_empty():
        raise CxrError(
            _REFUSED,
            "no image of the catalog is in a split of this file",
            where=rows.path.name,
            fix="fill the split column, or name the right one with --split-column",
        )
    by_image = placed.group_by(KEY).agg(
        first=pl.col("at").min(), splits=pl.col("split").unique().sort(), patient_id=pl.col("patient_id").first()
    )
    torn = by_image.filter(pl.col("splits").list.len() > 1).sort("first")
    if not torn.is_empty():
        one = torn.row(0, named=True)
        raise CxrError(
            _REFUSED,
            f"{torn.height:,} image{'s stand' if torn.height > 1 else ' stands'} in more than one split, such as {one['dataset']}:{one['image_id']} in {' and '.join(one['splits'])}",
            where=rows.place(one["first"]),
            fix="leave each image in one split",
        )
    frame = by_image.select(*KEY, "patient_id", split=pl.col("splits").list.first()).sort(KEY)
    unmatched = keys.filter(pl.col("image_id").is_null())
    examples = [
        f"{rows.place(at)}: {said!r} ({reason or NOT_IN_CATALOG})"
        for at, said, reason in unmatched.head(_EXAMPLES).select("at", "said", "reason").iter_rows()
    ]
    return FromFile(
        frame,
        how,
        keys.height,
        unmatched.height,
        examples,
        matched.height - placed.height,
        placed.height - frame.height,
        arguments,
        remarks,
    )
