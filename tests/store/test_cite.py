from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest
from nih_files import rows

from cxrdata import cite as module
from cxrdata.cite import cite
from cxrdata.errors import CxrError
from cxrdata.store.catalog import Catalog
from cxrdata.version import __version__

REPOSITORY = Path(__file__).resolve().parents[2]


def test_facts_are_those_of_the_citation_file() -> None:
    text = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert f'title: "{module.TITLE}"' in text
    assert f"version: {__version__}\n" in text
    assert f"date-released: {module.YEAR}-" in text


def test_entries_versions_and_counts(tiny_catalog: Catalog) -> None:
    text = cite(tiny_catalog)
    assert re.findall(r"^@(\w+)\{([^,]+),$", text, re.MULTILINE) == [
        ("software", "cxrdata"),
        ("inproceedings", "wang2017chestxray8"),
    ]
    assert text.count("{") == text.count("}")
    patients = len({row["patient"] for row in rows()})
    assert f"({len(rows())} images of {patients} patients)" in text
    assert f"build {tiny_catalog.build.build_id}" in text
    source = next(source for source in tiny_catalog.manifest["sources"] if source["variant"] == "C")
    assert f"{source['source_file']}, variant C, SHA-256 {source['sha256'][:12]}" in text


def test_every_dataset_has_an_entry_and_synthetic_data_say_so(synthetic_catalog: Catalog) -> None:
    text = cite(synthetic_catalog)
    cited = set(re.findall(r"\\cite\{([^}]+)\}", text))
    assert cited == set(re.findall(r"^@\w+\{([^,]+),$", text, re.MULTILINE))
    assert len(cited) == 7
    assert text.count("SYNTHETIC") == 6
    assert "patients not identified" in text


def test_split_tells_how_it_was_made(tiny_copy: Path) -> None:
    folder = tiny_copy / "splits" / "mine"
    folder.mkdir(parents=True)
    images = pl.read_parquet(next(tiny_copy.glob("builds/*/tables/images/*/*.parquet"))).select(
        "dataset", "image_id", "patient_id"
    )
    images.with_columns(
        split=pl.when(pl.col("patient_id") == "1").then(pl.lit("test")).otherwise(pl.lit("train"))
    ).write_parquet(folder / "split.parquet")
    manifest = {
        "catalog_build": "0123456789abcdef",
        "datasets": {"nih_cxr14": []},
        "arguments": {"seed": 7, "balance": ["race", "sex"]},
        "cohort": None,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with Catalog(tiny_copy) as catalog:
        text = cite(catalog, "mine")
    assert (
        "The split mine was made with cxrdata (balance race+sex, seed 7), by patient: test 2 images of 1 patient, train"
        in text
    )
    assert "It was made from catalog build 0123456789abcdef." in text


def test_unknown_split(tiny_catalog: Catalog) -> None:
    with pytest.raises(CxrError) as caught:
        cite(tiny_catalog, "mine")
    assert caught.value.code == "CXR-501"
