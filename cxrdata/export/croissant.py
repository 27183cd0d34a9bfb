"""Croissant 1.1 (MLCommons) with RAI properties: `croissant.json` beside the Parquet files that it describes.

One record set a table, one Parquet file a record set, so that records load through mlcroissant without a network. Ids
of images, patients and studies are unique within a dataset alone, and Croissant has no compound references: the files
have `image_uid`, `patient_uid`, `study_uid` (`dataset:id`) beside them, which are the keys that record sets refer to.

The JSON-LD is our own; mlcroissant reads it back in the tests.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl

from cxrdata.cite import bibtex
from cxrdata.errors import CxrError
from cxrdata.export.parquet import copy_terms, write_plain
from cxrdata.export.place import Exported, new_folder
from cxrdata.export.rai import rai_properties
from cxrdata.export.relations import Relation, known_datasets, relations, rows, terms_notes
from cxrdata.sources.base import Registry
from cxrdata.stages import sha256_file
from cxrdata.store.database import IMAGE_UID_TEXT
from cxrdata.version import __version__

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

KIND = "croissant"
METADATA = "croissant.json"
CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
# The context that Croissant 1.1 prescribes.
_CR = (
    "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileProperty", "fileObject",
    "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
    "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{name: f"cr:{name}" for name in _CR},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
_TYPES = {pl.String: "sc:Text", pl.Boolean: "sc:Boolean", pl.Date: "sc:Date", pl.Float64: "sc:Float"}
# What is referred to: the record set, the id within a dataset that it is by, and the key made of both.
_REFERRED = {
    "images": ("image_id", "image_uid", IMAGE_UID_TEXT),
    "studies": ("study_id", "study_uid", "Study key across datasets: dataset:study_id."),
    "patients": ("patient_id", "patient_uid", "Patient key across datasets: dataset:patient_id."),
}
# No blanks, control characters, quotes or angle brackets.
_URL = re.compile(r"""https?://[^\s\x00-\x20\x7f"'<>/?#]+(?:[/?#][^\s\x00-\x20\x7f"'<>]*)?""")
# Column -> the table that it refers to, by the column of the same name. Written as a column of that table's file, not as
# a field of its record set: mlcroissant 1.1.1 keeps a record set that it joined, and then yields its column names as records.
_REFERENCES = {"dataset": "datasets", "labeler": "labelers", **{uid: table for table, (_, uid, _) in _REFERRED.items()}}


def export_croissant(
    catalog: Catalog,
    out: Path,
    *,
    datasets: Sequence[str] = (),
    url: str | None = None,
    date_published: str | None = None,
    force: bool = False,
) -> Exported:
    """Write the folder `out`: Parquet files and `croissant.json`.

    url: where the export is published, else the homepage if there is one dataset. date_published: ISO 8601, else the
    year in which the newest dataset was published, since nothing here depends on today.

    Raises CxrError: CXR-501 unknown dataset, CXR-502 no date or URL, CXR-511 something is there, CXR-602 not writable.
    """
    _check_date(date_published)
    _check_url(url)
    names = known_datasets(catalog, datasets)
    made = Exported()
    with new_folder(out, KIND, force=force) as folder:
        described = [
            relation
            for relation in relations(catalog, storage=True)
            if relation.dataset is None or relation.dataset in names
        ]
        distribution, record_sets = [], []
        held = {relation.name for relation in described}
        for relation in described:
            frame = _with_uids(_of_datasets(rows(catalog, relation), names), relation)
            file = f"{quote(relation.name, safe='')}.parquet"
            write_plain([frame], folder / file, relation.description)
            distribution.append(_file_object(folder / file, relation))
            record_sets.append(_record_set(relation, frame, file, held))
            made.files[out / file] = frame.height
        metadata = {
            "@context": _CONTEXT,
            "@type": "sc:Dataset",
            **_about(catalog, names, url=url, date_published=date_published),
            **rai_properties(catalog, names),
            "distribution": distribution,
            "recordSet": record_sets,
        }
        (folder / METADATA).write_text(json_for_html(metadata), encoding="utf-8")
        made.files[out / METADATA] = None
        copy_terms(catalog, folder)
    if url is None and len(names) > 1:
        made.notes.append("the metadata has no url, which Croissant asks for: say where you publish it with --url")
    if "datePublished" not in metadata:
        made.notes.append(
            "the metadata has no date, which Croissant asks for: say when you publish it with --date-published"
        )
    made.notes += terms_notes(catalog, names)
    made.notes.append(f"read it: mlcroissant.Dataset({str(out / METADATA)!r}).records('images')")
    return made


def json_for_html(metadata: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """JSON that is also safe inside an HTML page's <script>, where search engines look for it: `<`, `>`, `&` are \\u-escaped."""
    text = json.dumps(metadata, indent=1, ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text + "\n"


def _about(catalog: Catalog, names: list[str], *, url: str | None, date_published: str | None) -> dict[str, Any]:
    """What the dataset is, whose, and under which terms."""
    facts = {row["dataset"]: row for row in catalog.table("datasets").collect().iter_rows(named=True)}
    entries = {source.name: source.entry for source in Registry()}
    chosen = [facts[name] for name in names]
    titles = [row["title"] or row["dataset"] for row in chosen]
    synthetic = [name for name in names if name in catalog.manifest["synthetic"]]
    years = [entries[name]["citation"]["year"] for name in names if "citation" in entries.get(name, {})]
    url = url or (chosen[0]["homepage"] if len(chosen) == 1 else None)
    date = date_published or (str(max(years)) if years else None)
    about = {
        "name": ("SYNTHETIC: " if synthetic else "") + f"{', '.join(titles)}, harmonised by cxrdata",
        "description": f"Metadata and labels of {', '.join(titles)} in one schema, without the images: catalog build "
        f"{catalog.build.build_id}, made by cxrdata {catalog.manifest['cxrdata']}."
        + (f" The rows of {', '.join(synthetic)} are random numbers, not patients." if synthetic else ""),
        "conformsTo": CONFORMS_TO,
        "license": [
            _creative_work(f"{row['licence']} ({title})", row["terms"])
            for row, title in zip(chosen, titles, strict=True)
        ],
        "url": url,
        "citeAs": bibtex(catalog, names),
        "version": f"{__version__}+{catalog.build.build_id}",
        "datePublished": date,
        "creator": [
            {"@type": "sc:Organization", "name": place}
            for place in dict.fromkeys(row["institution"] for row in chosen if row["institution"])
        ],
        "keywords": ["chest X-ray", "radiology", *titles],
        "isBasedOn": [_source(catalog, row) for row in chosen],
    }
    return {key: value for key, value in about.items() if value}


def _creative_work(name: str, text: str | None) -> dict[str, str]:
    return {"@type": "sc:CreativeWork", "name": name} | ({"description": text} if text else {})


def _source(catalog: Catalog, row: dict[str, Any]) -> dict[str, Any]:
    """A dataset that was read: its home, DOI, terms, and the variants of its files, which are its version."""
    variants = sorted(
        {
            source["variant"]
            for source in catalog.manifest["sources"]
            if source["dataset"] == row["dataset"] and source["variant"]
        }
    )
    work: dict[str, Any] = _creative_work(row["title"] or row["dataset"], row["terms"])
    work |= {"url": row["homepage"], "license": row["licence"], "version": ", ".join(variants)}
    if row["doi"]:
        work["identifier"] = f"https://doi.org/{row['doi']}"
    return {key: value for key, value in work.items() if value}


def _of_datasets(frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    return frame.filter(pl.col("dataset").is_in(names)) if "dataset" in frame.columns else frame


def _with_uids(frame: pl.DataFrame, relation: Relation) -> pl.DataFrame:
    """The rows with the keys across datasets that their ids allow."""
    if relation.dataset is not None:
        frame = frame.select(pl.lit(relation.dataset).alias("dataset"), pl.all())
    if "dataset" not in frame.columns:
        return frame
    uids = [
        (pl.col("dataset") + ":" + pl.col(column)).alias(uid)
        for column, uid, _ in _REFERRED.values()
        if column in frame.columns and uid not in frame.columns
    ]
    return frame.with_columns(uids)


def _file_object(path: Path, relation: Relation) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "description": f"{relation.name}: {relation.description}",
        "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": sha256_file(path),
    }


def _record_set(relation: Relation, frame: pl.DataFrame, file: str, held: set[str]) -> dict[str, Any]:
    texts = (
        relation.columns
        | {uid: text for _, uid, text in _REFERRED.values()}
        | {"dataset": "Dataset."}
        | relation.columns
    )
    key = _key(relation, frame)
    fields = []
    for name, dtype in frame.schema.items():
        inner = dtype.inner if isinstance(dtype, pl.List) else dtype
        field: dict[str, Any] = {
            "@type": "cr:Field",
            "@id": _id(relation.name, name),
            "name": name,
            "description": texts[name],
            "dataType": _TYPES.get(inner.base_type(), "sc:Integer"),  # type: ignore[call-overload]
            "source": {"fileObject": {"@id": file}, "extract": {"column": name}},
        }
        if isinstance(dtype, pl.List):
            field |= {"isArray": True, "arrayShape": "-1"}
        table = _REFERENCES.get(name)
        if table in held and table != relation.name:
            field["references"] = {"fileObject": {"@id": f"{table}.parquet"}, "extract": {"column": name}}
        fields.append(field)
    return {
        "@type": "cr:RecordSet",
        "@id": quote(relation.name, safe=""),
        "name": relation.name,
        "description": relation.description,
        "key": [{"@id": _id(relation.name, name)} for name in key],
        "field": fields,
    }


def _key(relation: Relation, frame: pl.DataFrame) -> list[str]:
    """The columns that identify a row; an id within its dataset and the dataset are one key, which others can refer to."""
    key = list(relation.key)
    for column, uid, _ in _REFERRED.values():
        if column in key and uid in frame.columns:
            key = [uid if name == column else name for name in key if name != "dataset"]
    return key


def _id(relation: str, column: str) -> str:
    """An IRI: labels such as `Nodule/Mass` are escaped."""
    return f"{quote(relation, safe='')}/{quote(column, safe='')}"


def _check_url(url: str | None) -> None:
    """Only what stands in JSON-LD, and in a page made of it, as the link that it is."""
    if url is not None and not _URL.fullmatch(url):
        raise CxrError("CXR-502", f"{url!r} is no URL", fix="write it whole, such as https://example.org/my-dataset")


def _check_date(date: str | None) -> None:
    if date is None:
        return
    try:
        dt.date.fromisoformat(date)
    except ValueError as error:
        raise CxrError("CXR-502", f"{date!r} is no date", fix="give it as YYYY-MM-DD") from error
