from __future__ import annotations

import polars as pl
import pytest
from nih_files import rows

from cxrdata.describe import describe, rejects
from cxrdata.errors import CxrError
from cxrdata.store.catalog import Catalog


def test_every_relation_is_counted_and_described(synthetic_catalog: Catalog) -> None:
    told = describe(synthetic_catalog, storage=True)
    assert set(told["relation"]) == set(synthetic_catalog.tables)
    shown = describe(synthetic_catalog)["relation"].to_list()
    assert "labels" in shown
    assert not [name for name in shown if name.startswith("states_")]
    assert told["description"].null_count() == 0
    for relation, _, count, _ in told.iter_rows():
        assert synthetic_catalog.sql(f'SELECT count(*) FROM "{relation}"').item() == count, relation


def test_columns_of_a_table(tiny_catalog: Catalog) -> None:
    told = {row["column_name"]: row for row in describe(tiny_catalog, "images").iter_rows(named=True)}
    women = sum(row["sex"] == "F" for row in rows())
    assert sorted(told["sex"]["frequent"].split(", ")) == sorted([f"F ({women})", f"M ({len(rows()) - women})"])
    assert told["race"]["nulls_percent"] == 100.0
    assert told["image_id"]["distinct_values"] == len(rows())
    assert all(row["description"] for row in told.values())


def test_labels_are_told_as_if_they_were_counted(synthetic_catalog: Catalog) -> None:
    long = synthetic_catalog.sql("FROM labels")
    told = {row["column_name"]: row for row in describe(synthetic_catalog, "labels").iter_rows(named=True)}
    assert list(told) == long.columns
    for name in long.columns:
        if name != "image_id":
            assert told[name]["distinct_values"] == long[name].drop_nulls().n_unique(), name
        assert told[name]["nulls_percent"] == pytest.approx(100 * long[name].null_count() / long.height, abs=0.01), name
    top = long["state"].value_counts(sort=True).row(0)
    assert told["state"]["frequent"].startswith(f"{top[0]} ({top[1]:,})")


@pytest.mark.parametrize("relation", ["splits", "readings", "healthy", "rejects", "patients", "expected_counts"])
def test_any_relation_can_be_described(synthetic_catalog: Catalog, relation: str) -> None:
    told = describe(synthetic_catalog, relation)
    assert told.height == synthetic_catalog.sql(f"FROM {relation} LIMIT 0").width
    assert told["description"].null_count() == 0


def test_unknown_relation(tiny_catalog: Catalog) -> None:
    with pytest.raises(CxrError, match="did you mean images") as caught:
        describe(tiny_catalog, "imagse")
    assert caught.value.code == "CXR-501"


def test_rejects_are_filtered(synthetic_catalog: Catalog) -> None:
    everything = rejects(synthetic_catalog)
    assert everything.height == synthetic_catalog.sql("SELECT count(*) FROM rejects").item()
    code, dataset = everything.row(0, named=True)["code"], everything.row(0, named=True)["dataset"]
    assert rejects(synthetic_catalog, code=code.lower()).equals(everything.filter(pl.col("code") == code))
    assert rejects(synthetic_catalog, dataset=dataset, kind="value").equals(
        everything.filter((pl.col("dataset") == dataset) & (pl.col("kind") == "value"))
    )
    with pytest.raises(CxrError, match="no code"):
        rejects(synthetic_catalog, code="CXR-999")
