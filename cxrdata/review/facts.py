"""The review's facts: one typed row an entry of the workbook.

No sentence of the workbook is kept. What needs one, such as whether a dataset is about cancer, is decided here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.review import cells
from cxrdata.review import workbook as sheets
from cxrdata.review.aliases import canonical_name, other_names
from cxrdata.review.entry import dataset_facts
from cxrdata.review.lists import listings, papers
from cxrdata.review.workbook import PRIMARY, READ, SHEETS, Problems, Row, Sheet, check_sheets, read_rows
from cxrdata.schemas.open_datasets import FILE_NAME, OPEN_DATASETS, facts_text, open_datasets_text, read_open_datasets
from cxrdata.schemas.open_datasets import read_facts as read_table
from cxrdata.schemas.review_lists import (
    LISTINGS_FILE,
    PAPERS_FILE,
    REVIEW_LISTINGS,
    REVIEW_PAPERS,
    read_listings,
    read_papers,
)
from cxrdata.sources.workbook import Book, read_book
from cxrdata.wording import counted

_PARTS = {"Medical Segmentation Decathlon": "msd", "MedFAIR": "medfair", "AMOS": "amos"}
# Where challenges are held; null: no platform of its own part.
_LOCATIONS = {"Grand Challenge": "grand_challenge", "Kaggle": "kaggle", "Self-Hosted": None}


@dataclass(frozen=True)
class Facts:
    """What the tables of the review are made from. `datasets`: the table `open_datasets`; `papers`: `review_papers`;
    `listings`: `review_listings`.
    """

    datasets: pl.DataFrame
    papers: pl.DataFrame
    listings: pl.DataFrame


@dataclass(frozen=True)
class Import:
    """What a workbook gave. `facts`: the table `open_datasets`; `problems`: the cells that do not parse;
    `skipped_rows`: rows without a dataset's name, each among the problems; `source`: the workbook's name and digest;
    `papers` and `listings`: the tables beside it.
    """

    facts: pl.DataFrame
    problems: pl.DataFrame
    skipped_rows: int
    source: str
    papers: pl.DataFrame
    listings: pl.DataFrame

    def all_facts(self) -> Facts:
        return Facts(self.facts, self.papers, self.listings)

    def sentence(self) -> str:
        """What was read, in one line."""
        entries, cells_named = counted(self.facts.height, "dataset"), counted(self.problems.height, "cell")
        left_out = f"; {counted(self.skipped_rows, 'row')} without a name left out" if self.skipped_rows else ""
        return f"{entries} listed; {cells_named} not understood or doubtful{left_out}"


def load_facts(path: Path | None = None, *, lists: Sequence[str] = ()) -> tuple[Facts, list[str]]:
    """The facts that ship (None), of a file of facts (.tsv), or of a workbook; and remarks.

    Papers and lists that stand beside a .tsv are taken with it; else those that ship, which is remarked of
    those in `lists` (`papers`, `listings`): of what the caller shows.
    Raises CxrError as `read_open_datasets` and `import_workbook` do.
    """
    if path is None:
        return Facts(read_open_datasets(), read_papers(), read_listings()), []
    if path.suffix.lower() != ".tsv":
        made = import_workbook(path)
        told = [f"{made.sentence()}; `cxrdata review import` names them"] if made.problems.height else []
        return made.all_facts(), told
    datasets = read_open_datasets(path)
    beside = [path.parent / name for name in (PAPERS_FILE, LISTINGS_FILE)]
    found = (
        read_table(beside[0], REVIEW_PAPERS) if beside[0].is_file() else read_papers(),
        read_table(beside[1], REVIEW_LISTINGS) if beside[1].is_file() else read_listings(),
    )
    shown = zip(("papers", "listings"), beside, strict=True)
    absent = [file.name for name, file in shown if name in lists and not file.is_file()]
    told = [f"no {' and no '.join(absent)} beside {path.name}: those that ship are shown"] if absent else []
    return Facts(datasets, *found), told


def write_facts(made: Import, place: Path) -> Path:
    """Write the facts to `place`, or to `open_datasets.tsv` in it if it names no .tsv; papers and lists beside it.

    Returns the file. Raises CxrError CXR-602.
    """
    file = place if place.suffix.lower() == ".tsv" else place / FILE_NAME
    write_text_file(file, open_datasets_text(made.facts, source=made.source))
    write_lists(made.all_facts(), file.parent, source=made.source)
    return file


def write_lists(facts: Facts, folder: Path, *, source: str) -> None:
    """Write papers and lists into the folder of a file of facts, where `load_facts` finds them. Raises CxrError CXR-602."""
    papers_text = facts_text(
        facts.papers, title="Conference papers of the review: facts, one row a paper.", source=source
    )
    lists_text = facts_text(
        facts.listings, title="Datasets that papers use and others repackage: one row an entry.", source=source
    )
    write_text_file(folder / PAPERS_FILE, papers_text)
    write_text_file(folder / LISTINGS_FILE, lists_text)


def write_text_file(file: Path, text: str) -> None:
    """Write a file of facts, its folder with it. Raises CxrError CXR-602."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CxrError(
            "CXR-602",
            f"cannot write: {error.strerror}",
            where=str(file),
            fix="check the path, its permissions and the space left",
        ) from error


def import_workbook(path: Path) -> Import:
    """Read the published workbook into facts. Raises CxrError as `read_book` and `read_rows` do."""
    problems = Problems()
    book = read_book(path, name=path.name, sheets=[sheet.title for sheet in READ], again=sheets.AGAIN)
    check_sheets(book, problems)
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    skipped = 0
    for sheet in SHEETS:
        benchmark: str | None = None
        for row in read_rows(book, sheet, problems):
            benchmark = row[sheets.BENCHMARK] or benchmark  # named in the first row of its datasets
            name = cells.whole_text(row, sheets.NAME, row[sheets.NAME] or "")
            if name is None:
                row.refuse(sheets.NAME, "the row has no name of a dataset and is left out")
                skipped += 1
                continue
            facts = dataset_facts(row, sheet)
            facts |= {
                "entry": len(rows) + 1, "source": sheet.source, "part": _part(row, sheet, benchmark),
                "dataset_name": name, "canonical_name": canonical_name(name), "aliases": other_names(name),
                "listed_before": name in seen,
            }  # fmt: skip
            seen.add(name)
            rows.append(facts)
    if not rows:
        raise CxrError("CXR-111", "no sheet names a dataset", where=path.name, fix=sheets.AGAIN)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    secondary = _secondary(book)
    for row_of_facts in rows:
        row_of_facts["secondary_of"] = secondary.get(row_of_facts["dataset_name"])
    others = papers(book, problems), listings(book, problems)
    return Import(
        pl.DataFrame(rows, schema=OPEN_DATASETS.types()),
        problems.frame(),
        skipped,
        f"{path.name}, SHA-256 {digest}",
        *others,
    )


def _secondary(book: Book) -> dict[str, list[str]]:
    """Dataset -> those that it takes data from. Its cells are reported where the list itself is read."""
    rows = read_rows(book, PRIMARY, Problems())
    found = {row[sheets.NAME]: cells.items(row, sheets.SECONDARY) for row in rows}
    return {name: datasets for name, datasets in found.items() if name and datasets}


def _part(row: Row, sheet: Sheet, benchmark: str | None) -> str | None:
    if sheets.BENCHMARK in sheet.columns:
        part = _PARTS.get(benchmark or "")
        if part is None:
            row.refuse(sheets.BENCHMARK, "the benchmark is not one of the review's three", value=benchmark)
        return part
    if sheets.LOCATION not in sheet.columns:
        return sheet.part
    location = row[sheets.LOCATION]
    if location is not None and location not in _LOCATIONS:
        hint = nearest(location, [*_LOCATIONS], most=1)
        row.refuse(sheets.LOCATION, f"the place is not known, the entry is of no part{hint}")
    return _LOCATIONS.get(location or "")
