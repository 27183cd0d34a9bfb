"""What to cite and write: BibTeX, exact versions, and a sentence for the methods section."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.sources.base import Registry
from cxrdata.splits.cohorts import SUFFIX, Cohort, load_cohort, run_cohort, shipped_cohorts
from cxrdata.splits.stored import read_split_manifest, split_names
from cxrdata.store.catalog import Catalog
from cxrdata.version import __version__
from cxrdata.wording import counted

# The facts of CITATION.cff, which is not shipped with the package.
TITLE = "cxrdata: public chest X-ray datasets as one validated catalog"
AUTHORS = "{The cxrdata authors}"
YEAR = 2026
KEY = "cxrdata"

_VENUE_FIELD = {"article": "journal", "inproceedings": "booktitle"}
_DIGEST_LENGTH = 12


def cite(catalog: Catalog, name: str | None = None) -> str:
    """BibTeX of cxrdata and of every dataset in the build, its sources with variant and SHA-256 as comments, and a sentence for
    the methods section with the build's counts. `name`: a split (or cohort) of the catalog, whose making is told too.

    Raises CxrError: CXR-501 for an unknown name, CXR-405 for a split without a readable manifest.
    """
    datasets = catalog.sql(_COUNTS)
    if name is not None and name in split_names(catalog):  # what the split does not use is not cited
        datasets = datasets.filter(pl.col("dataset").is_in(list(read_split_manifest(catalog, name)["datasets"])))
    known = {source.name: source.entry for source in Registry()}
    keys = {
        row["dataset"]: known.get(row["dataset"], {}).get("citation", {}).get("key", row["dataset"])
        for row in datasets.iter_rows(named=True)
    }
    sections = [
        *_entries(datasets),
        _versions(catalog, datasets["dataset"].to_list()),
        _sentence(catalog, datasets, keys),
    ]
    if name is not None:
        sections.append(_split_or_cohort(catalog, name))
    return "\n\n".join(sections) + "\n"


def bibtex(catalog: Catalog, names: Sequence[str]) -> str:
    """BibTeX of cxrdata and of the datasets named, by name."""
    return "\n\n".join(_entries(catalog.sql(_COUNTS).filter(pl.col("dataset").is_in(list(names)))))


def _entries(datasets: pl.DataFrame) -> list[str]:
    known = {source.name: source.entry for source in Registry()}
    return [
        _software(),
        *(dataset_bibtex(row, known.get(row["dataset"], {})) for row in datasets.iter_rows(named=True)),
    ]


_COUNTS = """
SELECT d.dataset, d.title, d.doi, d.homepage, d.synthetic, i.images, p.patients
FROM datasets AS d
JOIN (SELECT dataset, count(*) AS images FROM images GROUP BY dataset) AS i USING (dataset)
LEFT JOIN (SELECT dataset, count(*) AS patients FROM patients GROUP BY dataset) AS p USING (dataset)
ORDER BY d.dataset
"""
_PARTS = """
SELECT split, count(*) AS images, count(DISTINCT dataset || ':' || patient_id) AS patients
FROM splits
WHERE split_name = $name
GROUP BY split
ORDER BY split
"""


def _software() -> str:
    return _entry("software", KEY, {"author": AUTHORS, "title": f"{{{TITLE}}}", "version": __version__, "year": YEAR})


def dataset_bibtex(row: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """The BibTeX entry of a dataset. `row`: dataset, title, homepage, doi; `entry`: its catalog entry, empty if unknown."""
    citation = entry.get("citation")
    if citation is None:  # a dataset of the user's own, or one that this version no longer knows
        return _entry(
            "misc",
            row["dataset"],
            {"title": f"{{{_escaped(row['title'])}}}", "howpublished": _escaped(row["homepage"]), "doi": row["doi"]},
        )
    kind = citation["type"]
    fields = {
        "author": _escaped(citation["author"]),
        "title": f"{{{_escaped(citation['title'])}}}",
        _VENUE_FIELD.get(kind, "howpublished"): _escaped(citation.get("venue")),
        "year": citation["year"],
        "doi": row["doi"],
    }
    return _entry(kind, citation["key"], fields)


def _entry(kind: str, key: str, fields: dict[str, Any]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value is not None]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def _escaped(text: str | None) -> str | None:
    """Characters that LaTeX would read as commands."""
    return re.sub(r"([&%#_$])", r"\\\1", text) if text is not None else None


def _versions(catalog: Catalog, datasets: list[str]) -> str:
    """Comment lines: build, versions, and each source file by variant and digest."""
    lines = [f"% catalog build {catalog.build.build_id}, made by cxrdata {catalog.manifest['cxrdata']}"]
    for source in catalog.manifest["sources"]:
        if source["dataset"] not in datasets:
            continue
        variant = f", variant {source['variant']}" if source["variant"] else ""
        lines.append(
            f"%   {source['dataset']}: {source['source_file']}{variant}, SHA-256 {source['sha256'][:_DIGEST_LENGTH]}"
        )
    return "\n".join(lines)


def _sentence(catalog: Catalog, datasets: pl.DataFrame, keys: dict[str, str]) -> str:
    parts = []
    for row in datasets.iter_rows(named=True):
        people = f" of {counted(row['patients'], 'patient')}" if row["patients"] else ", patients not identified"
        made_up = ", SYNTHETIC: not to be published" if row["synthetic"] else ""
        parts.append(
            f"{row['title']} \\cite{{{keys[row['dataset']]}}} ({counted(row['images'], 'image')}{people}{made_up})"
        )
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"We used {listed}, harmonised with cxrdata {catalog.manifest['cxrdata']} \\cite{{{KEY}}} (catalog build {catalog.build.build_id})."


def _split_or_cohort(catalog: Catalog, name: str) -> str:
    """A split goes before a cohort of the same name: it is the user's own."""
    if name in split_names(catalog) or (name not in shipped_cohorts() and not name.endswith(SUFFIX)):
        return _split(catalog, name)
    return _cohort(catalog, load_cohort(name))


def _cohort(catalog: Catalog, cohort: Cohort) -> str:
    """Where a cohort was published, and how many images of this catalog are in it."""
    keys = run_cohort(catalog, cohort).keys
    source = f" Its rules follow {cohort.source.rstrip('.')}." if cohort.source else ""
    return f"The cohort {cohort.name} (SHA-256 {cohort.sha256[:_DIGEST_LENGTH]}, {len(cohort.steps)} steps) holds {keys.height:,} images of this catalog.{source}"


def _split(catalog: Catalog, name: str) -> str:
    """How a split was made, as its manifest says, and how large its parts are."""
    known = split_names(catalog)
    if name not in known:
        hint = nearest(name, [*known, *shipped_cohorts()])
        raise CxrError(
            "CXR-501",
            f"there is no split or cohort {name!r}{hint}",
            fix=f"splits: {', '.join(known) or 'none yet'}; cohorts: `cxrdata cohort list`",
        )
    manifest = read_split_manifest(catalog, name)
    parts = catalog.sql(_PARTS, {"name": name})
    sizes = ", ".join(
        f"{split} {counted(images, 'image')}" + (f" of {counted(patients, 'patient')}" if patients else "")
        for split, images, patients in parts.iter_rows()
    )
    made = ", ".join(
        f"{key} {_shown(value)}"
        for key, value in sorted(manifest["arguments"].items())
        if _is_simple(value) and key != "sha256"
    )
    told = [f"The split {name} was made with cxrdata ({made}), by patient: {sizes}."]
    if (build := manifest["catalog_build"]) != catalog.build.build_id:
        told.append(f"It was made from catalog build {build}.")
    if manifest["cohort"] is not None and (cohort := manifest["cohort"])["name"] in shipped_cohorts():
        told.append(_cohort(catalog, load_cohort(cohort["name"])))
    return " ".join(told)


def _is_simple(value: object) -> bool:
    return isinstance(value, (str, int, float)) or (
        isinstance(value, list) and all(isinstance(item, (str, int, float)) for item in value)
    )


def _shown(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    return "+".join(str(item) for item in value) if isinstance(value, list) else str(value)
