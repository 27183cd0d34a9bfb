"""Responsible-AI properties (Croissant RAI 1.0), each sentence from what the catalog holds or `catalog/*.toml` says.

Nothing is judged here: shares and counts are of this build's rows, quirks and terms are quoted from the dataset's entry.
A property without a fact to tell is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.sources.base import Registry
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

_SENSITIVE = (
    "age_years", "sex", "race", "ethnicity", "study_date", "patient_size_m", "patient_weight_kg", "manufacturer",
)  # fmt: skip
_GROUPS = ("age_group", "sex", "race", "ethnicity", "view")
_COUNTS = """
SELECT i.dataset, count(*) AS images, count(DISTINCT i.patient_id) AS patients, min(i.age_years) AS youngest, max(i.age_years) AS oldest,
  count(*) FILTER (i.age_group = 'pediatric') AS children, count(*) FILTER (i.age_group IS NULL) AS open,
  count(*) FILTER (i.age_flag = 'top_coded') AS top_coded
FROM images AS i GROUP BY ALL ORDER BY i.dataset
"""
_LABELERS = """
SELECT a.dataset, a.labeler, any_value(l.title) AS title, any_value(l.description) AS description, count(*) AS images
FROM assessments AS a LEFT JOIN labelers AS l USING (labeler) GROUP BY ALL ORDER BY a.dataset, a.labeler
"""
_PER_ITEM = """
SELECT dataset, min(n) AS least, max(n) AS most
FROM (SELECT i.dataset, i.image_id, count(a.labeler) AS n FROM images AS i LEFT JOIN assessments AS a USING (dataset, image_id) GROUP BY ALL)
GROUP BY dataset ORDER BY dataset
"""
_READERS = """
SELECT dataset, min(n) AS least, max(n) AS most
FROM (SELECT dataset, image_id, count(DISTINCT reader_id) AS n FROM readings GROUP BY ALL) GROUP BY dataset ORDER BY dataset
"""
_LEDGER = """
SELECT dataset, count(*) AS files, sum(rows_read)::BIGINT AS read, sum(rows_kept)::BIGINT AS kept, sum(rows_merged)::BIGINT AS merged,
  sum(rows_unmatched)::BIGINT AS unmatched, sum(rows_rejected)::BIGINT AS rejected
FROM ledger GROUP BY dataset ORDER BY dataset
"""
_PREPROCESSING = (
    (
        "Ages, sexes, views, races and labels are harmonised; the value as the source has it stands beside each in a column …_raw, "
        "and labels keep their native name."
    ),
    (
        "A race or ethnicity is the patient's, by the build's rule over all statements; all of them are kept in patients.race_raw "
        "and patients.ethnicity_raw."
    ),
    (
        "image_labels holds labels as published, never rolled up: 1, 0, -1 uncertain, null not assessed or not mentioned. "
        "image_labels_rolled carries positives up the table finding_tree."
    ),
)
_MAINTENANCE = (
    "A build is named by the SHA-256 of its manifest. The same source files and version of cxrdata give the same bytes; "
    "`cxrdata diff` says what differs between two builds."
)


def rai_properties(catalog: Catalog, names: Sequence[str]) -> dict[str, Any]:
    """`rai:…` properties of the datasets named, ready for JSON."""
    titles = dict(catalog.sql("SELECT dataset, coalesce(title, dataset) FROM datasets").iter_rows())
    entries = {source.name: source.entry for source in Registry()}
    facts = {key: _by_dataset(catalog, query, names) for key, query in _QUERIES.items()}
    shares = {name: _shares(catalog, name) for name in names}
    known = {name: _known(catalog, name) for name in names}
    synthetic = [name for name in names if name in catalog.manifest["synthetic"]]
    found: dict[str, Any] = {
        "rai:dataCollection": " ".join(_collected(titles[n], facts["counts"][n], facts["ledger"], n) for n in names),
        "rai:dataCollectionType": ["Secondary Data Analysis"],
        "rai:dataCollectionMissingData": " ".join(_missing(titles[n], known[n]) for n in names),
        "rai:dataCollectionRawData": "The record set source_files lists every file that was read, with its variant and SHA-256; "
        "ledger and rejects account for each of their rows.",
        "rai:dataPreprocessingProtocol": list(_PREPROCESSING),
        "rai:dataAnnotationProtocol": [
            _annotated(titles[n], row) for n in names for row in facts["labelers"].get(n, [])
        ],
        "rai:annotationsPerItem": " ".join(_per_item(titles[n], n, facts) for n in names),
        "rai:dataBiases": [text for n in names for text in _biases(titles[n], facts["counts"][n][0], shares[n])],
        "rai:personalSensitiveInformation": [_sensitive(titles[n], known[n]) for n in names],
        "rai:dataUseCases": [
            f"{titles[n]}: {licence['allows']} {licence['terms']}"
            for n in names
            if (licence := entries.get(n, {}).get("licence"))
        ],
        "rai:dataLimitations": [*_made_up(titles, synthetic), *_limits(titles, entries, names)],
        "rai:dataReleaseMaintenancePlan": _MAINTENANCE,
    }
    return {key: value for key, value in found.items() if value}


_QUERIES = {"counts": _COUNTS, "labelers": _LABELERS, "per_item": _PER_ITEM, "readers": _READERS, "ledger": _LEDGER}
_Rows = Mapping[str, list[dict[str, Any]]]


def _by_dataset(catalog: Catalog, query: str, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in catalog.sql(query, seconds=None).iter_rows(named=True):
        if row["dataset"] in names:
            found.setdefault(row["dataset"], []).append(row)
    return found


def _shares(catalog: Catalog, dataset: str) -> dict[str, list[tuple[str, int]]]:
    """column -> its values with their numbers of images, most first."""
    images = catalog.table("images").filter(dataset=dataset).select(_GROUPS).collect()
    found = {}
    for name in _GROUPS:
        counts = images[name].drop_nulls().value_counts().sort(["count", name], descending=[True, False])
        found[name] = list(counts.iter_rows())
    return found


def _known(catalog: Catalog, dataset: str) -> dict[str, float | None]:
    """column -> the share of images, in percent, that have a value; None: no image."""
    columns = list(dict.fromkeys([*_SENSITIVE, *_GROUPS, "patient_id", "study_id"]))
    images = catalog.table("images").filter(dataset=dataset)
    row = images.select(pl.col(columns).count(), pl.len().alias("_n")).collect().row(0, named=True)
    return {name: 100 * row[name] / row["_n"] if row["_n"] else None for name in columns}


def _percent(share: float) -> str:
    """One digit after the point; a share is never rounded to none or to all."""
    if 0 < share < 0.1:
        return "under 0.1 %"
    if 99.9 < share < 100:
        return "over 99.9 %"
    return f"{share:.1f} %"


def _collected(title: str, counts: list[dict[str, Any]], ledger: _Rows, name: str) -> str:
    row = counts[0]
    people = f"of {counted(row['patients'], 'patient')}" if row["patients"] else "of patients who are not told apart"
    text = f"{title}: {counted(row['images'], 'image')} {people}, from the files that the dataset publishes"
    if rows := ledger.get(name):
        one = rows[0]
        text += (
            f" ({counted(one['files'], 'file')}; of {one['read']:,} rows {one['kept']:,} were kept, {one['merged']:,} merged, "
            f"{one['unmatched']:,} unmatched, {one['rejected']:,} rejected)"
        )
    return text + "."


def _missing(title: str, known: Mapping[str, float | None]) -> str:
    never = [name for name, share in known.items() if share == 0]
    parts = [
        f"{name} {_percent(100 - share)}" for name, share in known.items() if share is not None and 0 < share < 100
    ]
    text = f"{title}: " + (
        f"missing in images: {', '.join(parts)}" if parts else "no partly missing column among those looked at"
    )
    return text + (f"; not given at all: {', '.join(never)}." if never else ".")


def _annotated(title: str, row: Mapping[str, Any]) -> str:
    who = row["title"] or row["labeler"]
    said = f": {row['description']}" if row["description"] else ""
    return f"{title}, labeler {row['labeler']} ({who}; {counted(row['images'], 'image')}){said}"


def _per_item(title: str, name: str, facts: Mapping[str, _Rows]) -> str:
    row = facts["per_item"][name][0]
    text = f"{title}: {_span(row)} an image"
    if readers := facts["readers"].get(name):
        text += f", and {_span(readers[0], 'reader')} an image in readings"
    return text + "."


def _span(row: Mapping[str, Any], what: str = "labeler") -> str:
    return (
        counted(row["most"], what) if row["least"] == row["most"] else f"{row['least']} to {counted(row['most'], what)}"
    )


def _biases(title: str, counts: Mapping[str, Any], shares: Mapping[str, list[tuple[str, int]]]) -> list[str]:
    images = counts["images"]
    children = (
        f"{title}: {counted(counts['children'], 'image')} of {images:,} ({_percent(100 * counts['children'] / images)}) are certainly of "
        f"children under 18; {counted(counts['open'], 'image')} may be either."
    )
    if counts["youngest"] is not None:
        children += f" Known ages run from {counts['youngest']:g} to {counts['oldest']:g} years"
        children += f", {counts['top_coded']:,} of them top-coded." if counts["top_coded"] else "."
    parts = [children]
    for name, values in shares.items():
        if values and name != "age_group":
            told = ", ".join(f"{value} {_percent(100 * n / images)}" for value, n in values)
            parts.append(
                f"{title}: {name} of the images: {told}; unknown {_percent(100 * (1 - sum(n for _, n in values) / images))}."
            )
    return parts


def _sensitive(title: str, known: Mapping[str, float | None]) -> str:
    held = [f"{name} ({_percent(share)} of images)" for name in _SENSITIVE if (share := known[name])]
    ids = "pseudonymous patient ids" if known["patient_id"] else "no patient ids"
    return f"{title}: {ids}; {', '.join(held) if held else 'none of the attributes looked for'}."


def _made_up(titles: Mapping[str, str], synthetic: Sequence[str]) -> list[str]:
    return [
        f"SYNTHETIC: the rows of {titles[name]} are random numbers written by `cxrdata synth`, not patients."
        for name in synthetic
    ]


def _limits(titles: Mapping[str, str], entries: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    return [
        f"{titles[n]}: {quirk['text']} (source: {quirk['source']})"
        for n in names
        for quirk in entries.get(n, {}).get("quirk", ())
    ]
