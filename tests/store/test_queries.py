"""Each named query against the same question answered row by row in Polars or Python."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.store.catalog import Catalog
from cxrdata.store.queries import list_named, load_named, named_queries, typed
from cxrdata.vocabularies import Vocabularies


def run(catalog: Catalog, name: str, **given: Any) -> pl.DataFrame:
    return catalog.sql(*load_named(name, given))


def whole(catalog: Catalog, relation: str) -> pl.DataFrame:
    return catalog.table(relation).collect()


def keyed(frame: pl.DataFrame, *keys: str) -> dict[Any, dict[str, Any]]:
    return {
        tuple(row[key] for key in keys) if len(keys) > 1 else row[keys[0]]: row for row in frame.iter_rows(named=True)
    }


def images(catalog: Catalog) -> list[dict[str, Any]]:
    return whole(catalog, "images").to_dicts()


@pytest.mark.parametrize("name", list(named_queries()))
def test_every_query_runs_on_any_catalog(name: str, tiny_catalog: Catalog, synthetic_catalog: Catalog) -> None:
    for catalog in (tiny_catalog, synthetic_catalog):
        rows = run(catalog, name)
        assert not any(dtype == pl.Int128 or isinstance(dtype, pl.Decimal) for dtype in rows.dtypes), (
            "a type that files and JSON cannot hold"
        )
        assert rows.equals(run(catalog, name))


def test_every_query_says_what_it_answers() -> None:
    listed = list_named()
    assert listed["name"].to_list() == sorted(named_queries())
    for query in named_queries().values():
        assert query.answers.endswith(".")
        assert all(f"${parameter.name}" in query.text for parameter in query.parameters)


def test_parameters_are_filled_and_checked() -> None:
    assert load_named("label_prevalence", {"dataset": "nih_cxr14"})[1] == {
        "finding": "cardiomegaly",
        "dataset": "nih_cxr14",
    }
    with pytest.raises(CxrError, match="did you mean finding") as caught:
        load_named("label_prevalence", {"findings": "x"})
    assert caught.value.code == "CXR-502"
    with pytest.raises(CxrError, match="did you mean children") as caught:
        load_named("childern")
    assert caught.value.code == "CXR-501"
    assert [typed(text) for text in ("null", "TRUE", "3", "0.5", "edema")] == [None, True, 3, 0.5, "edema"]


@pytest.mark.parametrize(
    ("query", "given", "code", "text"),
    [
        (
            "label_prevalence",
            {"finding": "cardiomegalie"},
            "CXR-501",
            "there is no finding 'cardiomegalie'; did you mean cardiomegaly?",
        ),
        ("label_prevalence", {"finding": None}, "CXR-502", "$finding needs a value, not null"),
        ("labeler_disagreement", {"dataset": "mimc"}, "CXR-501", "there is no dataset 'mimc'; did you mean mimic_cxr?"),
        ("uncertain_labels", {"labeler": 3}, "CXR-501", "there is no labeler '3'"),
        (
            "cardiomegaly_by_age_group",
            {"scheme": "decade"},
            "CXR-501",
            "there is no scheme 'decade'; did you mean decades?",
        ),
    ],
)
def test_values_of_parameters_are_looked_up(
    synthetic_catalog: Catalog, query: str, given: dict[str, Any], code: str, text: str
) -> None:
    with pytest.raises(CxrError) as caught:
        load_named(query, given, synthetic_catalog)
    assert (caught.value.code, caught.value.problem) == (code, text)
    assert caught.value.fix


def test_every_parameter_declares_its_values(synthetic_catalog: Catalog) -> None:
    for query in named_queries().values():
        head = [line for line in query.text.splitlines() if line.startswith("-- param")]
        assert len(head) == len(query.parameters), f"{query.name}: a declaration that is not understood"
        for parameter in query.parameters:
            assert parameter.values is not None
            relation, column = parameter.values
            assert column in synthetic_catalog.table(relation).collect_schema()
    assert load_named("missingness", {"dataset": "mimic"}, synthetic_catalog)[1] == {"dataset": "mimic_cxr"}


def test_age_coverage(synthetic_catalog: Catalog) -> None:
    found = keyed(run(synthetic_catalog, "age_coverage"), "dataset")
    for (dataset,), rows in whole(synthetic_catalog, "images").group_by("dataset"):
        row, ages = found[dataset], rows["age_years"].drop_nulls()
        assert (row["n"], row["known"]) == (rows.height, len(ages))
        assert (row["age_min"], row["age_median"], row["age_max"]) == (ages.min(), ages.median(), ages.max())
        assert {
            flag: row[flag] for flag in ("ok", "top_coded", "placeholder", "implausible", "missing") if row[flag]
        } == dict(rows["age_flag"].value_counts().iter_rows())
        assert row["children_certain"] == (rows["age_group"] == "pediatric").sum()


def test_children(synthetic_catalog: Catalog) -> None:
    certain, possible = Counter(), Counter()
    for image in images(synthetic_catalog):
        key = (image["dataset"], image["view"])
        certain[key] += image["age_group"] == "pediatric"
        possible[key] += image["age_group"] is None and (image["age_low_years"] is None or image["age_low_years"] < 18)
    found = keyed(run(synthetic_catalog, "children"), "dataset", "view")
    assert {key: row["certain"] for key, row in found.items()} == dict(certain)
    assert {key: row["possible"] for key, row in found.items()} == dict(possible)
    assert all(row["possible"] == row["straddling"] + row["without_age"] for row in found.values())


@pytest.mark.parametrize("finding", ["cardiomegaly", "edema"])
def test_label_prevalence(synthetic_catalog: Catalog, finding: str) -> None:
    codes = {
        (row["dataset"], row["image_id"]): row[finding] for row in whole(synthetic_catalog, "image_labels").to_dicts()
    }
    people: dict[tuple[str, str], list[Any]] = {}
    for image in images(synthetic_catalog):
        if (code := codes[image["dataset"], image["image_id"]]) is not None:
            sexes, race, positive = people.setdefault(
                (image["dataset"], image["patient_id"] or image["image_id"]), [set(), image["race_ethnicity"], []]
            )
            sexes.add(image["sex"])
            positive.append(code == 1)
    groups: dict[Any, list[bool]] = {}
    for (dataset, _), (sexes, race, positive) in people.items():
        known = sexes - {None}
        groups.setdefault((dataset, race, known.pop() if len(known) == 1 else None), []).append(any(positive))
    found = keyed(run(synthetic_catalog, "label_prevalence", finding=finding), "dataset", "race_ethnicity", "sex")
    assert {key: (row["patients_positive"], row["patients_assessed"]) for key, row in found.items()} == {
        key: (sum(v), len(v)) for key, v in groups.items()
    }
    assert all(row["share_positive"] == row["patients_positive"] / row["patients_assessed"] for row in found.values())
    one = run(synthetic_catalog, "label_prevalence", finding=finding, dataset="mimic_cxr")
    assert one.to_dicts() == [row for row in found.values() if row["dataset"] == "mimic_cxr"]


def test_uncertain_labels(synthetic_catalog: Catalog) -> None:
    labels = synthetic_catalog.sql("FROM labels").filter((pl.col("state") != "unmentioned") & pl.col("stated"))
    expected = labels.group_by("dataset", "labeler", "native_label").agg(
        mentioned=pl.len(), uncertain=(pl.col("state") == "uncertain").sum()
    )
    expected = expected.filter(pl.col("uncertain") > 0).with_columns(
        share_uncertain=pl.col("uncertain") / pl.col("mentioned")
    )
    found = run(synthetic_catalog, "uncertain_labels").drop("finding")
    assert found.sort(found.columns).equals(expected.select(found.columns).cast(found.schema).sort(found.columns))
    assert found["labeler"].n_unique() > 2


def test_label_counts_count_labels(synthetic_catalog: Catalog) -> None:
    names = {
        ("positive", True): "n_positive",
        ("negative", True): "n_negative",
        ("negative", False): "n_negative_by_silence",
        ("uncertain", True): "n_uncertain",
        ("unmentioned", True): "n_unmentioned",
    }
    counted = keyed(synthetic_catalog.sql("FROM label_counts"), "dataset", "labeler", "native_label")
    long = synthetic_catalog.sql(
        "SELECT dataset, labeler, native_label, state, stated, count(*) AS n FROM labels GROUP BY ALL"
    )
    assert long["n"].sum() == sum(row[name] for row in counted.values() for name in names.values())
    for dataset, labeler, label, state, stated, n in long.iter_rows():
        assert counted[dataset, labeler, label][names[state, stated]] == n


def test_labeler_disagreement(synthetic_catalog: Catalog) -> None:
    labels = synthetic_catalog.sql(
        "SELECT dataset, image_id, labeler, finding, state FROM labels WHERE finding IS NOT NULL AND state IN ('positive', 'negative')"
    )
    both = labels.join(labels, on=["dataset", "image_id", "finding"], suffix="_other").filter(
        pl.col("labeler") < pl.col("labeler_other")
    )
    expected = both.group_by("dataset", "labeler", "labeler_other", "finding").agg(
        n=pl.len(), contradict=(pl.col("state") != pl.col("state_other")).sum()
    )
    wanted = {(d, frozenset((a, b)), f): (n, c) for d, a, b, f, n, c in expected.iter_rows()}
    found = run(synthetic_catalog, "labeler_disagreement")
    assert {
        (row["dataset"], frozenset((row["labeler"], row["other_labeler"])), row["finding"]): (
            row["n"],
            row["contradict"],
        )
        for row in found.to_dicts()
    } == wanted
    assert len(wanted) > 10
    assert (found["agree"] + found["contradict"]).equals(found["n"].alias("agree"))


def test_race_conflicts(synthetic_catalog: Catalog) -> None:
    expected: Counter[Any] = Counter()
    for patient in whole(synthetic_catalog, "patients").to_dicts():
        if patient["race_conflict"]:
            expected[patient["dataset"], " | ".join(patient["race_raw"]), patient["race"]] += 1
    found = keyed(run(synthetic_catalog, "race_conflicts"), "dataset", "statements", "race_taken")
    assert {key: row["patients"] for key, row in found.items()} == dict(expected)


def test_reader_disagreement(synthetic_catalog: Catalog) -> None:
    states: dict[Any, list[str]] = {}
    for row in synthetic_catalog.sql("FROM readings").to_dicts():
        states.setdefault((row["dataset"], row["native_label"], row["image_id"]), []).append(row["state"])
    images_of, differ = Counter(), Counter()
    for (dataset, label, _), given in states.items():
        if len(given) > 1:
            images_of[dataset, label] += 1
            differ[dataset, label] += len(set(given)) > 1
    found = keyed(run(synthetic_catalog, "reader_disagreement"), "dataset", "native_label")
    assert {key: (row["images"], row["differ"]) for key, row in found.items()} == {
        key: (n, differ[key]) for key, n in images_of.items()
    }
    assert sum(differ.values()) > 0


@pytest.mark.parametrize("scheme", ["case_study", "decades"])
def test_cardiomegaly_by_age_group(synthetic_catalog: Catalog, vocabularies: Vocabularies, scheme: str) -> None:
    groups = vocabularies.age_groups.filter(pl.col("scheme") == scheme).to_dicts()
    codes = {
        (row["dataset"], row["image_id"]): row["cardiomegaly"]
        for row in whole(synthetic_catalog, "image_labels").to_dicts()
    }
    expected: dict[Any, list[Any]] = {}
    for image in images(synthetic_catalog):
        low, high = image["age_low_years"], image["age_high_years"]
        fits = [
            g["age_group"]
            for g in groups
            if low is not None
            and low >= g["low_years"]
            and (g["high_years"] is None or (high is not None and high <= g["high_years"]))
        ]
        reason = None if fits else "no age" if low is None else "straddles a bound"
        expected.setdefault((image["dataset"], fits[0] if fits else None, reason), []).append(
            codes[image["dataset"], image["image_id"]]
        )
    found = keyed(run(synthetic_catalog, "cardiomegaly_by_age_group", scheme=scheme), "dataset", "age_group", "reason")
    counts = {key: (len(v), sum(c is not None for c in v), sum(c == 1 for c in v)) for key, v in expected.items()}
    assert {key: (row["n"], row["assessed"], row["positive"]) for key, row in found.items()} == counts
    assert any(reason == "straddles a bound" for *_, reason in found)


def healthy_keys(catalog: Catalog, vocabularies: Vocabularies) -> set[tuple[str, str]]:
    """The rules of healthy.toml as Polars reads them."""
    labels = whole(catalog, "image_labels_rolled")
    parts = [
        labels.filter(pl.col("dataset") == name).filter(pl.sql_expr(rule["sql"])).select("dataset", "image_id")
        for name, rule in vocabularies.healthy.items()
    ]
    return {row for part in parts for row in part.iter_rows()}


def test_healthy(synthetic_catalog: Catalog, vocabularies: Vocabularies) -> None:
    found = synthetic_catalog.sql("FROM healthy")
    labelers = {
        (row["dataset"], row["image_id"]): row["labeler"] for row in whole(synthetic_catalog, "image_labels").to_dicts()
    }
    expected = healthy_keys(synthetic_catalog, vocabularies)
    assert {(d, i) for d, i, h in found.iter_rows() if h} == expected
    assert {(d, i) for d, i, h in found.iter_rows() if h is None} == {
        key for key, labeler in labelers.items() if labeler is None
    }
    assert {dataset for dataset, _ in expected} == set(synthetic_catalog.manifest["datasets"])


def test_first_study_healthy_adults(synthetic_catalog: Catalog, vocabularies: Vocabularies) -> None:
    healthy = healthy_keys(synthetic_catalog, vocabularies)
    people: dict[Any, list[dict[str, Any]]] = {}
    for image in images(synthetic_catalog):
        people.setdefault((image["dataset"], image["patient_id"] or f"image {image['image_id']}"), []).append(image)
    expected = set()
    for rows in people.values():
        orders = [row["study_order"] for row in rows]
        single = len({row["study_id"] for row in rows}) == 1
        if not single and None in orders:
            continue
        first = rows if single else [row for row in rows if row["study_order"] == min(orders)]
        if all(row["age_group"] == "adult" and (row["dataset"], row["image_id"]) in healthy for row in first):
            expected |= {(row["dataset"], row["image_id"]) for row in first}
    found = run(synthetic_catalog, "first_study_healthy_adults")
    assert set(found.select("dataset", "image_id").iter_rows()) == expected
    assert found.height == len(expected) > 20
    one = run(synthetic_catalog, "first_study_healthy_adults", dataset="padchest")
    assert one.equals(found.filter(pl.col("dataset") == "padchest"))


def test_dataset_overview(synthetic_catalog: Catalog) -> None:
    found = keyed(run(synthetic_catalog, "dataset_overview"), "dataset")
    tables = {name: whole(synthetic_catalog, name) for name in ("images", "patients", "studies", "boxes")}
    for dataset, row in found.items():
        part = {name: table.filter(pl.col("dataset") == dataset) for name, table in tables.items()}
        assert {name: row[name] or 0 for name in part} == {name: table.height for name, table in part.items()}
        assert row["images_lateral"] == (part["images"]["view"] == "LATERAL").sum()
        assert row["images_of_children"] == (part["images"]["age_group"] == "pediatric").sum()
        assert row["share_race_known"] == round(part["images"]["race"].count() / row["images"], 4)
        assert row["synthetic"] is True
    assert set(found) == set(synthetic_catalog.manifest["datasets"])


def test_missingness(synthetic_catalog: Catalog) -> None:
    expected = {}
    for (dataset,), rows in whole(synthetic_catalog, "images").drop("image_uid").group_by("dataset"):
        nulls = rows.null_count().row(0, named=True)
        expected |= {(dataset, name): n for name, n in nulls.items() if n}
    found = keyed(run(synthetic_catalog, "missingness"), "dataset", "column_name")
    assert {key: row["missing"] for key, row in found.items()} == expected
    assert run(synthetic_catalog, "missingness", dataset="padchest").height == sum(
        dataset == "padchest" for dataset, _ in expected
    )


def test_rejects_summary(synthetic_catalog: Catalog) -> None:
    keys = ("dataset", "source_file", "kind", "code", "column_name")
    expected = Counter(tuple(row[key] for key in keys) for row in whole(synthetic_catalog, "rejects").to_dicts())
    found = keyed(run(synthetic_catalog, "rejects_summary"), *keys)
    assert {key: row["n"] for key, row in found.items()} == dict(expected)
