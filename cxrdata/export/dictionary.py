"""The data dictionary: every table, column and vocabulary in words, from the definitions that the build itself uses.

`dictionary` gives sections (`pages.Section`), which `pages` writes as Markdown or HTML; docs/tables.md is
`table_sections` in Markdown.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.export.pages import Code, Grid, Section, html_page, markdown_page
from cxrdata.export.place import Exported, new_files
from cxrdata.schemas import tables, vocabulary_tables
from cxrdata.schemas.label_views import describe_label_view
from cxrdata.schemas.names import LABEL_VIEWS
from cxrdata.schemas.registered import REGISTERED
from cxrdata.schemas.tables import PUBLISHED_CODES, Table
from cxrdata.schemas.views import VIEWS
from cxrdata.sources.base import Registry
from cxrdata.store.database import IMAGE_UID_TEXT
from cxrdata.store.label_frames import BuildVocabularies
from cxrdata.version import __version__
from cxrdata.vocabularies import Vocabularies

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

TITLE = "Data dictionary"
_LABEL_KEYS = ("dataset", "image_id", "labeler")
_HEADER = ("column", "type", "unit", "values", "description")
# Units are in the names of columns (house rule), apart from these.
_UNITS = {"bytes": "bytes", "x_min": "pixels", "x_max": "pixels", "y_min": "pixels", "y_max": "pixels"}
_UNIT_ENDINGS = {"_years": "years", "_px": "pixels", "_mm": "mm", "_kg": "kg", "_m": "m"}
# As `cxrdata describe` and DuckDB name them.
_TYPES = {pl.String: "VARCHAR", pl.Int64: "BIGINT", pl.Int8: "TINYINT", pl.Float64: "DOUBLE", pl.Boolean: "BOOLEAN", pl.Date: "DATE"}  # fmt: skip
_SCHEME = "omb1997"


def export_dictionary(catalog: Catalog | None, out: Path, *, force: bool = False) -> Exported:
    """Write the dictionary to `out` (.md or .html): of a catalog, or (None) of what ships.

    Raises CxrError: CXR-502 unknown suffix, CXR-511 a file is there, CXR-602 not writable.
    """
    writers = {".md": markdown_page, ".html": html_page}
    if (write := writers.get(out.suffix.lower())) is None:
        raise CxrError(
            "CXR-502", "no format is known for this suffix", where=str(out), fix=f"use {' or '.join(writers)}"
        )
    text = write(TITLE, dictionary(catalog))
    with new_files(out, force=force) as (aside,):
        aside.write_text(text, encoding="utf-8")
    return Exported({out: None})


def dictionary(catalog: Catalog | None = None) -> list[Section]:
    """All sections: where it comes from, datasets, tables, findings and labelers, then the other vocabularies."""
    vocabularies: Vocabularies = BuildVocabularies((), catalog=catalog) if catalog is not None else Vocabularies.load()
    shipped = Vocabularies.load()
    labelers = catalog.table("labelers").collect() if catalog is not None else shipped.labelers
    ages = catalog.table("age_groups").collect() if catalog is not None else shipped.age_groups
    races = catalog.table("race_map").collect() if catalog is not None else shipped.race
    return [
        _origin(catalog),
        _datasets(catalog),
        Section("Tables", children=table_sections(vocabularies)),
        _findings(vocabularies),
        Section(
            "Finding tree",
            ["A positive child makes its parents positive in image_labels_rolled, and theirs."],
            Grid.of(vocabularies.finding_tree, "child", "parent", "source", "comment"),
        ),
        Section("Labelers", ["Who or what gave a label."], Grid.of(labelers, "labeler", "title", "description")),
        _ages(ages),
        _races(races),
        *_raw_values(shipped),
    ]


def table_sections(vocabularies: Vocabularies) -> list[Section]:
    """One section a relation, with a row a column: name, type, unit, allowed values, description."""
    titles = dict(zip(vocabularies.findings["finding"], vocabularies.findings["title"], strict=True))
    stored = [
        tables.IMAGES,
        tables.STUDIES,
        tables.PATIENTS,
        tables.BOXES,
        tables.REJECTS,
        tables.LEDGER,
        tables.SOURCE_FILES,
        tables.BUILD_NOTES,
        *(value for value in vars(vocabulary_tables).values() if isinstance(value, Table)),
    ]
    return [
        *(_table_section(table) for table in stored),
        *(_label_view_section(name, titles) for name in LABEL_VIEWS),
        *(
            _section(
                view.name,
                f"{view.description} A view.",
                [(n, sql_type, "", text) for n, (sql_type, text) in view.columns.items()],
            )
            for view in VIEWS
        ),
        *(
            _section(
                relation.name,
                f"{relation.description} A view.",
                [(name, _type(dtype), "", text) for name, (dtype, text) in relation.columns.items()],
            )
            for relation in REGISTERED.values()
        ),
    ]


def unit_of(column: str) -> str:
    """The unit of a column, or nothing: it is in the name."""
    return _UNITS.get(column) or next((unit for end, unit in _UNIT_ENDINGS.items() if column.endswith(end)), "")


def _table_section(table: Table) -> Section:
    types = table.types()
    columns = [(name, _type(types[name]), _allowed(table, name), text) for name, text in table.describe().items()]
    if table is tables.IMAGES:
        columns.append(("image_uid", "VARCHAR", "", IMAGE_UID_TEXT))
    return _section(table.name, f"{table.description} Key: {', '.join(f'`{name}`' for name in table.key)}.", columns)


def _label_view_section(name: str, titles: dict[str, str]) -> Section:
    description, columns = describe_label_view(name, titles)
    codes = ", ".join(map(str, PUBLISHED_CODES))
    rows = [
        (column, "VARCHAR", "", text) if column in _LABEL_KEYS else (column, "TINYINT", codes, text)
        for column, text in columns.items()
    ]
    return _section(name, f"{description} A view.", rows)


def _section(name: str, description: str, columns: list[tuple[str, str, str, str]]) -> Section:
    rows = [(Code(column), kind, unit_of(column), values, text) for column, kind, values, text in columns]
    return Section(name, [description], Grid(_HEADER, rows), code=True)


def _type(dtype: Any) -> str:  # noqa: ANN401 - a polars type
    if isinstance(dtype, pl.List):
        return f"{_TYPES[dtype.inner.base_type()]}[]"  # type: ignore[index]
    return _TYPES[dtype.base_type() if isinstance(dtype, pl.DataType) else dtype]


def _allowed(table: Table, name: str) -> str:
    """What the schema lets through: the values listed, a least value, and whether null is one of them."""
    column = table.schema.columns[name]
    parts = []
    for check in column.checks:
        said = check.statistics or {}
        if "allowed_values" in said:
            parts.append(", ".join(str(value) for value in said["allowed_values"]))
        elif "min_value" in said:
            parts.append(f"at least {said['min_value']:g}")
    if not column.nullable:
        parts.append("never null")
    return "; ".join(parts)


def _origin(catalog: Catalog | None) -> Section:
    if catalog is None:
        return Section("About", [f"The tables and vocabularies of cxrdata {__version__}, without a catalog."])
    said = [f"Catalog build `{catalog.build.build_id}`, made by cxrdata {catalog.manifest['cxrdata']}."]
    if made_up := catalog.manifest["synthetic"]:
        said.append(f"SYNTHETIC: the rows of {', '.join(made_up)} are random numbers, not patients.")
    return Section("About", said)


def _datasets(catalog: Catalog | None) -> Section:
    header = ("dataset", "title", "institution", "licence", "terms", "images", "patients")
    quirks = {source.name: source.entry.get("quirk", ()) for source in Registry()}
    if catalog is None:
        rows = [
            (
                Code(s.name),
                s.title,
                s.entry.get("institution"),
                s.entry["licence"]["name"],
                s.entry["licence"]["terms"],
                None,
                None,
            )
            for s in Registry()
        ]
    else:
        found = catalog.sql(_DATASETS)
        rows = [(Code(row[0]), *row[1:]) for row in found.iter_rows()]
    children = [
        Section(
            f"Known quirks of {row[1] or row[0].text}",
            grid=Grid(("what", "source"), [(quirk["text"], quirk["source"]) for quirk in quirks[row[0].text]]),
        )
        for row in rows
        if quirks.get(row[0].text)
    ]
    return Section("Datasets", grid=Grid(header, rows), children=children)


_DATASETS = """
SELECT d.dataset, d.title, d.institution, d.licence, d.terms, i.images, p.patients
FROM datasets AS d
LEFT JOIN (SELECT dataset, count(*) AS images FROM images GROUP BY dataset) AS i USING (dataset)
LEFT JOIN (SELECT dataset, count(*) AS patients FROM patients GROUP BY dataset) AS p USING (dataset)
WHERE d.in_build ORDER BY d.dataset
"""


def _findings(vocabularies: Vocabularies) -> Section:
    """Each finding: what it is, how it differs between datasets, and which native labels are mapped to it, and how."""
    children = []
    for row in vocabularies.findings.sort("finding_order").iter_rows(named=True):
        mapped = vocabularies.label_map.filter(finding=row["finding"]).sort("dataset", "native_label")
        children.append(
            Section(
                row["title"],
                [f"`{row['finding']}`: {row['definition']}", *str(row["differs"]).strip().splitlines()],
                Grid.of(mapped, "dataset", "native_label", "predicate", "comment") if mapped.height else None,
            )
        )
    unmapped = vocabularies.label_map.filter(pl.col("finding").is_null()).sort("dataset", "native_label")
    if unmapped.height:
        children.append(
            Section(
                "Labels without a finding",
                ["They keep their native name in `labels`."],
                Grid.of(unmapped, "dataset", "native_label", "comment"),
            )
        )
    told = "What each finding means, how its meaning differs between the datasets, and the native labels that stand for it. Only an exactMatch fills image_labels."
    return Section("Findings", [told], children=children)


def _ages(ages: pl.DataFrame) -> Section:
    children = [
        Section(scheme, grid=Grid.of(part, "age_group", "low_years", "high_years", "comment"), code=True)
        for (scheme,), part in ages.sort("scheme", "group_order").group_by("scheme", maintain_order=True)
    ]
    told = "A group holds ages from low_years, inclusive, to high_years, exclusive; an empty high_years is unbounded. An age whose precision straddles a bound has no group."
    return Section("Age groups", [told], children=children)


def _races(races: pl.DataFrame) -> Section:
    """The values that the build's scheme gives, and each raw statement behind them."""
    told = races.filter(scheme=_SCHEME)
    values = {
        what: ", ".join(told[column].drop_nulls().unique().sort().to_list())
        for what, column in (("race", "race"), ("ethnicity", "ethnicity"), ("reasons for none", "missing_reason"))
    }
    grid = Grid.of(told, "dataset", "field", "raw_value", "race", "ethnicity", "missing_reason")
    return Section(
        "Race and ethnicity",
        [f"Scheme `{_SCHEME}`, two questions.", *(f"{what}: {text}." for what, text in values.items() if text)],
        grid,
    )


def _raw_values(shipped: Vocabularies) -> list[Section]:
    """How raw sexes and views are read. A build does not store them: these are the ones that ship."""
    note = "As shipped; a build with overlays may read more."
    return [
        Section(
            "Views", [note], Grid.of(shipped.views, "dataset", "field", "raw_value", "view", "frontal", "position")
        ),
        Section("Sexes", [note], Grid.of(shipped.sex, "dataset", "raw_value", "sex", "comment")),
    ]
