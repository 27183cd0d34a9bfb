"""Cohorts: who is in a study, said as named SQL steps in a file that a person can read.

A cohort file opens with `--` lines: the first says what the cohort is, the rest caveats, and `-- source: …` where it was
published. Then come the steps. Each is a line `-- step: NAME`, optionally with `; expect: N` (images that the publication
counted here), and one SELECT of the keys dataset and image_id. From the second step on, the step before is the relation
`previous`; a step may leave images out, never bring one in. The files of `sql/cohorts/` go by their name, a user's own by
its path.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.resources import data_folder
from cxrdata.store.session import DEFAULT_SECONDS

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

KEYS = ["dataset", "image_id"]
PREVIOUS = "previous"
SUFFIX = ".sql"
_STEP = re.compile(r"^\s*--\s*step:(?P<rest>.*)$", re.IGNORECASE)
_EXPECT = re.compile(r"^\s*expect:\s*(?P<count>\d[\d,]*)\s*$", re.IGNORECASE)
_SOURCE = re.compile(r"^source:\s*(?P<source>.+)$", re.IGNORECASE)
_DOI = re.compile(r"\b10\.\d{4,9}/\S*[^\s.,;)]")
_LINE = re.compile(r"^LINE (\d+):", re.MULTILINE)
_MANY = 3
_HOW = "a step is a line `-- step: NAME` or `-- step: NAME; expect: N` and below it one SELECT of dataset and image_id"


@dataclass(frozen=True)
class Step:
    """One step: `expected` is what the publication counted after it, in images, or None; `line` is that of `-- step:`."""

    name: str
    expected: int | None
    query: str
    line: int


@dataclass(frozen=True)
class Cohort:
    """A cohort file taken apart. `file` is how messages name it; `text` is all of it, line ends as LF."""

    name: str
    file: str
    about: str
    caveats: str
    source: str | None
    steps: tuple[Step, ...]
    text: str

    @property
    def sha256(self) -> str:
        """Of the text in UTF-8."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def doi(self) -> str | None:
        """The DOI in the source line."""
        found = _DOI.search(self.source or "")
        return found.group() if found else None


@dataclass(frozen=True)
class CohortResult:
    """What a cohort chose.

    reach: dataset, image_id, n_steps (how many steps kept the image, from 1), the images of the first step, sorted by
    (dataset, image_id). As a step can only leave images out, it tells every step's images.
    """

    cohort: Cohort
    reach: pl.DataFrame

    @property
    def keys(self) -> pl.DataFrame:
        """dataset, image_id of the images that the whole cohort kept, sorted."""
        return self.after(len(self.cohort.steps))

    def after(self, n_steps: int) -> pl.DataFrame:
        """dataset, image_id of the images that are left after so many steps, sorted."""
        return self.reach.filter(pl.col("n_steps") >= n_steps).select(KEYS)


def shipped_cohorts() -> dict[str, Path]:
    """The cohorts that ship with cxrdata, by name."""
    return {path.stem: path for path in sorted((data_folder("sql") / "cohorts").glob(f"*{SUFFIX}"))}


def list_cohorts() -> pl.DataFrame:
    """The cohorts that ship: name, steps, published_images (after the last step, where published), about."""
    cohorts = [load_cohort(name) for name in shipped_cohorts()]
    rows = [(cohort.name, len(cohort.steps), cohort.steps[-1].expected, cohort.about) for cohort in cohorts]
    return pl.DataFrame(
        rows,
        schema={"name": pl.String, "steps": pl.Int64, "published_images": pl.Int64, "about": pl.String},
        orient="row",
    )


def load_cohort(name_or_path: str | Path) -> Cohort:
    """A cohort that ships, by name, or a file of the user's, by its path (it ends in `.sql` or names a folder).

    Raises CxrError: CXR-501 unknown name, CXR-101 no such file, CXR-104 not UTF-8, CXR-508 not a cohort.
    """
    given = str(name_or_path)
    known = shipped_cohorts()
    if given in known:
        return parse_cohort(_read(known[given], known[given].name), name=known[given].name)
    if given.endswith(SUFFIX) or Path(given).name != given:
        return parse_cohort(_read(Path(given), given), name=given)
    raise CxrError(
        "CXR-501",
        f"there is no cohort {given!r}{nearest(given, list(known))}",
        fix="`cxrdata cohort list` shows the cohorts; a file of your own goes by its path, such as ./mine.sql",
    )


def _read(path: Path, shown: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CxrError("CXR-104", "a cohort file is not UTF-8", where=shown, fix="save it as UTF-8") from error
    except OSError as error:
        raise CxrError(
            "CXR-101",
            "the cohort file cannot be read",
            where=shown,
            fix="name a text file that holds a cohort; `cxrdata cohort list` shows those that ship",
        ) from error


def parse_cohort(text: str, *, name: str) -> Cohort:
    """A cohort from its text. name: of its file, as messages shall say it; the cohort is called as the file without suffix.

    Raises CxrError CXR-508 with file and line: no step, a step without a name or query, two of one name, a count that is none.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    starts = [at for at, line in enumerate(lines) if _STEP.match(line)]
    if not starts:
        raise CxrError("CXR-508", "the cohort has no step", where=name, fix=_HOW)
    head = []
    for at, line in enumerate(lines[: starts[0]]):
        if line.strip() and not line.lstrip().startswith("--"):
            raise CxrError(
                "CXR-508",
                "text stands before the first step",
                where=f"{name}:{at + 1}",
                fix=f"put a line `-- step: NAME` above it: {_HOW}",
            )
        head.append(line.strip().removeprefix("--").strip())
    steps: list[Step] = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        step = _step(lines, start, end, name)
        if step.name in (one.name for one in steps):
            raise CxrError(
                "CXR-508",
                f"two steps are called {step.name!r}",
                where=f"{name}:{step.line}",
                fix="give each step a name of its own",
            )
        steps.append(step)
    said = [line for line in head if line and not _SOURCE.match(line)]
    sources = [match["source"] for line in head if (match := _SOURCE.match(line))]
    return Cohort(
        Path(name).stem,
        name,
        said[0] if said else "",
        " ".join(said[1:]),
        " ".join(sources) or None,
        tuple(steps),
        text,
    )


def _step(lines: list[str], start: int, end: int, file: str) -> Step:
    match = _STEP.match(lines[start])
    assert match is not None
    where = f"{file}:{start + 1}"
    name, separator, expect = match["rest"].partition(";")
    if not name.strip():
        raise CxrError("CXR-508", "a step has no name", where=where, fix=_HOW)
    count = _EXPECT.match(expect)
    if separator and count is None:
        raise CxrError(
            "CXR-508",
            f"after the name of a step stands {expect.strip()!r}",
            where=where,
            fix="write `; expect: N`, N a number of images, or nothing",
        )
    body = [line for line in lines[start + 1 : end] if line.strip() and not line.lstrip().startswith("--")]
    if not body:
        raise CxrError("CXR-508", f"the step {name.strip()!r} has no query", where=where, fix=_HOW)
    # Blank lines above keep the database's line numbers those of the file.
    query = "\n" * (start + 1) + "\n".join(lines[start + 1 : end]).rstrip()
    return Step(name.strip(), int(count["count"].replace(",", "")) if count else None, query, start + 1)


# What answers otherwise from one time to the next: chance, the clock, samples.
_UNREPEATABLE = re.compile(
    r"\b(?:random|setseed|uuid|gen_random_uuid|uuidv4|uuidv7|now|today|get_current_\w+|transaction_timestamp|nextval)\s*\("
    r"|\bcurrent_(?:date|time|timestamp)\b|\blocal(?:time|timestamp)\b|\btablesample\b|\busing\s+sample\b",
    re.IGNORECASE,
)
_NOT_CODE = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)


def check_repeatable(query: str, where: str) -> None:
    """Raise CxrError CXR-503 for SQL that chance or the clock has a part in: nobody could make the same split again."""
    if found := _UNREPEATABLE.search(_NOT_CODE.sub(" ", query)):
        raise CxrError(
            "CXR-503",
            f"`{found.group().rstrip('( ')}` answers otherwise each time, so that nobody could make the split again",
            where=where,
            fix="choose by what the catalog says; chance comes from --seed, as in --max-images-per-patient 1",
        )


def run_cohort(catalog: Catalog, cohort: Cohort, *, seconds: float | None = DEFAULT_SECONDS) -> CohortResult:
    """Run the steps one after the other in the catalog's read-only session.

    seconds: most that one step may take (None: no limit); the memory is what the catalog was opened with.
    Raises CxrError, naming file, line and step: CXR-503 invalid SQL, or SQL that writes or reads files; CXR-506 a step
    that takes too long or too much memory; CXR-508 an answer that is not keys of the step before.
    """
    images = catalog.table("images").select(KEYS).collect()
    previous: pl.DataFrame | None = None
    reach = pl.DataFrame()
    for number, step in enumerate(cohort.steps, 1):
        keys = _checked(_answer(catalog, cohort, step, previous, seconds), step, cohort, images, first=previous is None)
        reached = keys.with_columns(n_steps=pl.lit(number, pl.Int64))
        reach = reached if previous is None else reach.update(reached, on=KEYS, how="left", maintain_order="left")
        previous = images = keys
    return CohortResult(cohort, reach)


def _answer(
    catalog: Catalog, cohort: Cohort, step: Step, previous: pl.DataFrame | None, seconds: float | None
) -> pl.DataFrame:
    frames: dict[str, Any] = {} if previous is None else {PREVIOUS: previous}
    check_repeatable(step.query, f"{cohort.file}:{step.line} (step {step.name!r})")
    try:
        return catalog.sql(step.query, seconds=seconds, **frames)
    except CxrError as error:
        _refuse(error, cohort, step, is_first=previous is None)


def _refuse(error: CxrError, cohort: Cohort, step: Step, *, is_first: bool) -> NoReturn:
    """Say again what a query did wrong, with the cohort's file, line and step."""
    found = _LINE.search(error.problem)
    where = f"{cohort.file}:{found.group(1) if found else step.line} (step {step.name!r})"
    problem, fix = error.problem, error.fix
    if is_first and re.search(rf"\b{PREVIOUS} does not exist", problem):
        problem, fix = f"the first step reads `{PREVIOUS}`, and there is no step before it", "begin with `FROM images`"
    elif "needs a value for $" in problem:
        problem, fix = (
            problem.replace("the query", "the step"),
            "a cohort has no parameters: write the value into the file",
        )
    elif "one query is expected" in problem:
        problem, fix = problem.replace("query is", "query a step is"), f"split it into steps: {_HOW}"
    elif "--with NAME=FILE" in (fix or ""):
        fix = (
            "a cohort reads the catalog's relations alone; split by a list of your own with `cxrdata split --from-file`"
        )
    raise CxrError(error.code, problem, where=where, fix=fix) from error


def _checked(answer: pl.DataFrame, step: Step, cohort: Cohort, allowed: pl.DataFrame, *, first: bool) -> pl.DataFrame:
    """dataset, image_id of an answer, sorted; further columns are not handed to the next step."""
    where = f"{cohort.file}:{step.line} (step {step.name!r})"
    if missing := [name for name in KEYS if name not in answer.columns]:
        raise CxrError(
            "CXR-508",
            f"the step gives no column {missing[0]}",
            where=where,
            fix=f"select dataset and image_id; it gives {', '.join(answer.columns)}",
        )
    keys = answer.select(pl.col(KEYS).cast(pl.String)).sort(KEYS)
    if n := keys.filter(pl.any_horizontal(pl.col(KEYS).is_null())).height:
        raise CxrError(
            "CXR-508",
            f"{n:,} rows of the step have no dataset or no image_id",
            where=where,
            fix="an outer join may have left them empty; keep rows whose key is known",
        )
    if n := keys.height - keys.n_unique():
        twice = keys.filter(keys.is_duplicated()).row(0)
        raise CxrError(
            "CXR-508",
            f"the step gives images more than once, {n:,} rows too many, such as {':'.join(twice)}",
            where=where,
            fix="select distinct keys, or join on all of (dataset, image_id)",
        )
    others = keys.join(allowed, on=KEYS, how="anti", maintain_order="left")
    if others.height:
        examples = ", ".join(":".join(row) for row in others.head(_MANY).iter_rows())
        if first:
            raise CxrError(
                "CXR-508",
                f"the catalog does not know {others.height:,} images of the step, such as {examples}",
                where=where,
                fix="take the keys from the relation images",
            )
        raise CxrError(
            "CXR-508",
            f"the step brings in {others.height:,} images that the step before left out, such as {examples}",
            where=where,
            fix=f"select from `{PREVIOUS}`: a step may only leave images out",
        )
    return keys
