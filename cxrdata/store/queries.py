"""The named queries of `sql/queries/`: listing them, and filling their parameters.

A query's head is its `--` lines: the first says what it answers, the rest caveats, and
`-- param: NAME default VALUE in RELATION.COLUMN: meaning` declares a parameter that the text names as `$NAME`, and
the values that it may have (without `in`: any).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.resources import data_folder
from cxrdata.sources.base import Registry

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

_DATASETS = ("datasets", "dataset")

_PARAMETER = re.compile(
    r"^param: (?P<name>\w+) default (?P<value>\S+)(?: in (?P<relation>\w+)\.(?P<column>\w+))?: (?P<meaning>.+)$"
)


@dataclass(frozen=True)
class Parameter:
    """A declared parameter: its default (None: no restriction), what it means, and the column of the catalog that holds
    the values it may have (relation and column; None: any value).
    """

    name: str
    default: Any
    meaning: str
    values: tuple[str, str] | None = None

    def checked(self, value: Any, catalog: Catalog) -> Any:  # noqa: ANN401
        """The value, a dataset's alias by its name. Raises CxrError CXR-501 for one that the catalog does not know."""
        if self.values is None or value == self.default:
            return value
        if value is None:
            raise CxrError("CXR-502", f"${self.name} needs a value, not null", fix=f"its default: {self.default}")
        relation, column = self.values
        known = catalog.table(relation).select(pl.col(column).unique()).collect()[column].drop_nulls().sort().to_list()
        name = _dataset(value, known) if self.values == _DATASETS else value
        if name not in known:
            raise CxrError(
                "CXR-501",
                f"there is no {column} {str(value)!r}{nearest(str(value), known)}",
                fix=f"one of: {', '.join(known)}{' (or null: all)' if self.default is None else ''}",
            )
        return name


@dataclass(frozen=True)
class NamedQuery:
    """A query that ships: what it answers, its caveats, parameters, and the SQL."""

    name: str
    answers: str
    caveats: str
    parameters: tuple[Parameter, ...]
    text: str

    def filled(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values of all parameters: `given` over the declared defaults. Raises CxrError CXR-502 for an undeclared one."""
        declared = {parameter.name: parameter.default for parameter in self.parameters}
        for name in given:
            if name not in declared:
                raise CxrError(
                    "CXR-502",
                    f"the query {self.name} has no parameter ${name}{nearest(name, list(declared))}",
                    fix=f"parameters of the query: {', '.join(declared) or 'none'}",
                )
        return declared | dict(given)

    def checked(self, values: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
        """The values of the parameters, each looked up in the catalog. Raises CxrError CXR-501 for an unknown one."""
        return {parameter.name: parameter.checked(values[parameter.name], catalog) for parameter in self.parameters}


def _dataset(value: Any, known: list[str]) -> Any:  # noqa: ANN401
    """A dataset's name for its alias (`nih`); anything else as it is."""
    name = Registry().by_alias.get(value) if isinstance(value, str) else None
    return name if name in known else value


def typed(value: str) -> Any:  # noqa: ANN401
    """A parameter's value from text: `null`, a truth value or a number where it looks like one, else the text."""
    constants = {"true": True, "false": False, "null": None}
    if value.lower() in constants:
        return constants[value.lower()]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def read_query(path: Path) -> NamedQuery:
    """A query file taken apart."""
    text = path.read_text(encoding="utf-8")
    head = [line.removeprefix("--").strip() for line in text.splitlines() if line.startswith("--")]
    matches = [_PARAMETER.match(line) for line in head]
    parameters = tuple(
        Parameter(m["name"], typed(m["value"]), m["meaning"], (m["relation"], m["column"]) if m["relation"] else None)
        for m in matches
        if m
    )
    remarks = [line for line, match in zip(head, matches, strict=True) if not match]
    return NamedQuery(path.stem, remarks[0], " ".join(remarks[1:]), parameters, text)


def named_queries() -> dict[str, NamedQuery]:
    """All queries that ship, by name."""
    return {path.stem: read_query(path) for path in sorted((data_folder("sql") / "queries").glob("*.sql"))}


def list_named() -> pl.DataFrame:
    """name, answers, parameters (`name=default`, several separated by a blank)."""
    rows = [
        (
            query.name,
            query.answers,
            " ".join(f"{p.name}={'null' if p.default is None else p.default}" for p in query.parameters) or None,
        )
        for query in named_queries().values()
    ]
    return pl.DataFrame(rows, schema={"name": pl.String, "answers": pl.String, "parameters": pl.String}, orient="row")


def load_named(
    name: str, given: Mapping[str, Any] | None = None, catalog: Catalog | None = None
) -> tuple[str, dict[str, Any]]:
    """The SQL of a named query and the values of its parameters, which are looked up in `catalog` where it is given.

    Raises CxrError: CXR-501 unknown query or value, CXR-502 undeclared parameter.
    """
    known = named_queries()
    if name not in known:
        raise CxrError(
            "CXR-501", f"there is no query {name!r}{nearest(name, list(known))}", fix=f"queries: {', '.join(known)}"
        )
    values = known[name].filled(given or {})
    return known[name].text, known[name].checked(values, catalog) if catalog is not None else values
