"""Cohort files: those that ship, the format, and everything a file may do wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.sources.base import Registry
from cxrdata.splits.cohorts import list_cohorts, load_cohort, parse_cohort, run_cohort, shipped_cohorts
from cxrdata.splits.funnel import funnel
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog

ALL = "-- step: all\nSELECT dataset, image_id FROM images\n"


@pytest.fixture(scope="module")
def synthetic_all(registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory):  # noqa: ANN201
    """A catalog of all six synthetic datasets."""
    folder = tmp_path_factory.mktemp("cohorts") / "catalog"
    build_catalog(BuildRequest(folder, named=[(source, synthetic(source.name)) for source in registry], workers=1))
    with Catalog(folder) as catalog:
        yield catalog


def refused(catalog: Catalog, text: str, *, seconds: float = 60.0) -> CxrError:
    cohort = parse_cohort(text, name="mine.sql")
    with pytest.raises(CxrError) as caught:
        run_cohort(catalog, cohort, seconds=seconds)
    assert caught.value.fix
    return caught.value


# --- those that ship


def test_every_shipped_cohort_runs_and_only_leaves_out(synthetic_all: Catalog) -> None:
    assert len(shipped_cohorts()) == 14
    for name in shipped_cohorts():
        cohort = load_cohort(name)
        assert cohort.about.endswith("."), name
        assert cohort.doi, name
        images = funnel(synthetic_all, cohort).frame["images"].to_list()
        assert images == sorted(images, reverse=True), name
        assert images[-1] > 0, name


def test_published_counts_are_those_of_the_papers() -> None:
    counts = {
        name: [step.expected for step in load_cohort(name).steps]
        for name in ("chexploration_chexpert", "chexploration_mimic", "race_balanced_chexpert")
    }
    assert counts["chexploration_chexpert"] == [223_414, 221_006, 160_724, 149_283, 127_130, 127_118]
    assert counts["chexploration_mimic"][-1] == 183_207
    listed = dict(list_cohorts().select("name", "published_images").iter_rows())
    assert (listed["chexploration_chexpert"], listed["age_bias_vindr_careful"]) == (127_118, None)


def test_race_balanced_is_chexploration_without_its_last_step() -> None:
    shorter, longer = (load_cohort(name).steps for name in ("race_balanced_chexpert", "chexploration_chexpert"))
    assert [(step.name, step.query.strip()) for step in shorter] == [
        (step.name, step.query.strip()) for step in longer[:-1]
    ]


def test_chexploration_on_raw_race_and_ethnicity(synthetic_all: Catalog) -> None:
    """The CheXpert rules said again row by row in Python."""
    patients = {
        row["patient_id"]: row
        for row in synthetic_all.table("patients").filter(dataset="chexpert").collect().to_dicts()
    }

    def kept(image: dict[str, object]) -> bool:
        patient = patients[image["patient_id"]]  # type: ignore[index]
        races, ethnicities = patient["race_raw"] or [], patient["ethnicity_raw"] or []
        return (
            any(race in text for text in races for race in ("White", "Asian", "Black"))
            and any(text in ("Non-Hispanic/Non-Latino", "Not Hispanic") for text in ethnicities)
            and image["view_raw"] in ("Frontal|AP", "Frontal|PA")
        )

    images = synthetic_all.table("images").filter(dataset="chexpert", source_split="train").collect().to_dicts()
    expected = sorted(image["image_id"] for image in images if kept(image))
    assert 0 < len(expected) < len(images)
    assert synthetic_all.cohort("chexploration_chexpert")["image_id"].to_list() == expected


def test_mimic_patients_with_two_raw_races_leave(synthetic_all: Catalog) -> None:
    keys = synthetic_all.cohort("chexploration_mimic")
    rows = synthetic_all.sql(
        "SELECT race_raw, view_raw FROM keys JOIN images USING (dataset, image_id) JOIN patients USING (dataset, patient_id)",
        keys=keys,
    )
    assert rows["race_raw"].list.len().unique().to_list() == [1]
    assert set(rows["race_raw"].explode()) <= {"ASIAN", "BLACK/AFRICAN AMERICAN", "WHITE"}
    assert set(rows["view_raw"]) == {"AP", "PA"}


def test_careful_cohorts_have_no_minor_no_device_and_known_views(synthetic_all: Catalog) -> None:
    for dataset, name in (
        ("chexpert", "chexpert"),
        ("nih_cxr14", "nih"),
        ("padchest", "padchest"),
        ("vindr_cxr", "vindr"),
    ):
        keys = synthetic_all.cohort(f"age_bias_{name}_careful")
        rows = synthetic_all.sql(
            "SELECT * FROM keys JOIN images USING (dataset, image_id) JOIN healthy USING (dataset, image_id) JOIN image_labels USING (dataset, image_id)",
            keys=keys,
        )
        assert rows["dataset"].unique().to_list() == [dataset]
        assert rows.filter(pl.col("age_low_years") < 18).is_empty()
        assert rows.filter(~((pl.col("cardiomegaly") == 1).fill_null(value=False) | pl.col("healthy"))).is_empty()
        if name != "vindr":
            assert set(rows["view"]) == {"PA"}
            assert set(rows["age_group"]) == {"adult"}
    children = synthetic_all.sql(
        "SELECT * FROM keys JOIN images USING (dataset, image_id)",
        keys=synthetic_all.cohort("age_bias_children_careful"),
    )
    assert set(children["age_group"]) == {"pediatric"}
    assert set(children.filter(dataset="vindr_pcxr")["view"]) == {None}


def test_published_cohorts_draw_one_image_a_unit(synthetic_all: Catalog) -> None:
    units = {"chexpert": "patient_id", "nih": "patient_id", "padchest": "study_id"}
    for name, unit in units.items():
        keys = synthetic_all.cohort(f"age_bias_{name}_published")
        counted = synthetic_all.sql(
            f"SELECT count(*) AS n, count(DISTINCT {unit}) AS units FROM keys JOIN images USING (dataset, image_id)",
            keys=keys,
        )
        assert counted["n"].equals(counted["units"].alias("n")), name


def test_the_place_drawn_is_numpys_in_every_file_that_has_it() -> None:
    found = 0
    for path in shipped_cohorts().values():
        for places in re.findall(r"coalesce\(\[([\d,\s]+)\]\[n\], 0\)", path.read_text(encoding="utf-8")):
            listed = [int(place) for place in places.split(",")]
            drawn = [int(np.random.RandomState(42).choice(n, 1, replace=False)[0]) for n in range(1, len(listed) + 1)]
            assert listed == drawn, path.name
            found += 1
    assert found == 4


# --- the real NIH file


def test_real_nih_cohorts(nih_catalog: Path) -> None:
    with Catalog(nih_catalog) as catalog:
        whole = funnel(catalog, load_cohort("chexnet_nih")).frame
        assert whole.select("images", "patients", "delta").rows() == [(112_120, 30_805, 0)] * 2
        published = funnel(catalog, load_cohort("age_bias_nih_published")).frame["images"].to_list()
        assert published == [112_120, 30_805, 21_890, 20_698]
        careful = funnel(catalog, load_cohort("age_bias_nih_careful")).frame["images"].to_list()
        assert careful == [112_120, 67_310, 64_582, 38_934]


def test_size_of_the_published_healthy_test(nih_catalog: Path) -> None:
    """1,923 were published. The rule was fitted to that number (head of the file), so this guards it and proves nothing."""
    with Catalog(nih_catalog) as catalog:
        keys = catalog.cohort("age_bias_nih_published")
        ages = catalog.sql(
            "SELECT age_years FROM keys JOIN images USING (dataset, image_id) JOIN image_labels USING (dataset, image_id) WHERE no_finding = 1",
            keys=keys,
        )["age_years"]
    bins = [((ages >= low) & (ages < high)).sum() for low, high in ((18, 25), (25, 40), (40, 60), (60, 80), (80, 100))]
    assert sum(math.ceil(n / 10) for n in bins) == 1923


# --- the format


def test_a_file_taken_apart(tmp_path: Path) -> None:
    text = (
        "\ufeff-- Mine.\r\n-- Careful here.\r\n-- source: Someone 2020. doi:10.1000/xyz.\r\n\r\n-- step: all; expect: 1,234\r\n"
        + ALL.split("\n")[1]
        + ";\r\n-- STEP: PA\r\nSELECT 1\r\n"
    )
    path = tmp_path / "mine.sql"
    path.write_bytes(text.encode())
    cohort = load_cohort(path)
    assert (cohort.name, cohort.about, cohort.caveats, cohort.doi) == ("mine", "Mine.", "Careful here.", "10.1000/xyz")
    assert [(step.name, step.expected, step.line) for step in cohort.steps] == [("all", 1234, 5), ("PA", None, 7)]
    assert cohort.sha256 == parse_cohort(text.lstrip("\ufeff").replace("\r\n", "\n"), name="other.sql").sha256


def test_keys_do_not_depend_on_the_order_of_rows(tiny_images: Catalog) -> None:
    down, up = (
        run_cohort(tiny_images, parse_cohort(f"{ALL} ORDER BY image_id {way}", name="c.sql")) for way in ("DESC", "ASC")
    )
    assert down.reach.equals(up.reach)
    assert down.keys["image_id"].is_sorted()


def test_further_columns_are_allowed_and_not_handed_on(tiny_images: Catalog) -> None:
    text = (
        "-- step: all\nFROM images\n-- step: PA\nFROM previous JOIN images USING (dataset, image_id) WHERE view = 'PA'"
    )
    assert run_cohort(tiny_images, parse_cohort(text, name="c.sql")).keys.columns == ["dataset", "image_id"]


@pytest.fixture
def tiny_images(nih_synthetic: Path):  # noqa: ANN201
    with Catalog(nih_synthetic) as catalog:
        yield catalog


@pytest.fixture(scope="module")
def nih_synthetic(registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "catalog"
    build_catalog(BuildRequest(folder, named=[(registry.get("nih"), synthetic("nih_cxr14"))], workers=1))
    return folder


# --- bad files


@pytest.mark.parametrize(
    ("text", "problem", "where"),
    [
        ("", "the cohort has no step", "mine.sql"),
        ("SELECT dataset, image_id FROM images", "the cohort has no step", "mine.sql"),
        ("-- Mine.\nSELECT 1\n" + ALL, "text stands before the first step", "mine.sql:2"),
        ("-- step:\nSELECT 1", "a step has no name", "mine.sql:1"),
        ("-- step: a; expected 5\nSELECT 1", "after the name of a step stands 'expected 5'", "mine.sql:1"),
        ("-- step: a; expect: many\nSELECT 1", "after the name of a step stands 'expect: many'", "mine.sql:1"),
        (ALL + "\n-- step: b\n-- nothing\n", "the step 'b' has no query", "mine.sql:4"),
        (ALL + ALL, "two steps are called 'all'", "mine.sql:3"),
    ],
)
def test_a_file_that_is_no_cohort(text: str, problem: str, where: str) -> None:
    with pytest.raises(CxrError) as caught:
        parse_cohort(text, name="mine.sql")
    assert (caught.value.code, caught.value.problem, caught.value.where) == ("CXR-508", problem, where)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("SELECT image_id FROM images", "the step gives no column dataset"),
        ("SELECT count(*) AS n FROM images", "the step gives no column dataset"),
        ("SELECT dataset, NULL AS image_id FROM images", "112 rows of the step have no dataset or no image_id"),
        (
            "SELECT dataset, image_id FROM images UNION ALL SELECT dataset, image_id FROM images",
            "the step gives images more than once, 112 rows too many, such as nih_cxr14:",
        ),
        (
            "SELECT dataset, image_id || 'x' AS image_id FROM images",
            "the catalog does not know 112 images of the step, such as nih_cxr14:",
        ),
    ],
)
def test_answers_that_are_no_keys(tiny_images: Catalog, step: str, problem: str) -> None:
    error = refused(tiny_images, f"-- Mine.\n-- step: first\n{step}")
    assert (error.code, error.where) == ("CXR-508", "mine.sql:2 (step 'first')")
    assert error.problem.startswith(problem)


def test_a_step_brings_images_back(tiny_images: Catalog) -> None:
    error = refused(tiny_images, "-- step: few\nSELECT dataset, image_id FROM images ORDER BY ALL LIMIT 6\n" + ALL)
    assert error.problem.startswith("the step brings in 106 images that the step before left out, such as nih_cxr14:")
    assert error.where == "mine.sql:3 (step 'all')"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("COPY images TO 'out.csv'", "COPY statements are refused: a catalog is read-only"),
        ("DELETE FROM images", "DELETE statements are refused: a catalog is read-only"),
        ("CREATE TABLE mine AS FROM images", "CREATE statements are refused: a catalog is read-only"),
        ("SELECT * FROM read_csv('/etc/passwd')", "file system operations are disabled"),
        ("SELECT content AS dataset FROM read_text('/etc/passwd')", "file system operations are disabled"),
        ("SELECT 1; SELECT 2", "one query a step is expected, found 2"),
    ],
)
def test_a_step_that_writes_or_reads_files(
    tiny_images: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    error = refused(tiny_images, f"-- Mine.\n{ALL}-- step: bad\n{step}")
    assert (error.code, error.where) == ("CXR-503", "mine.sql:4 (step 'bad')")
    assert said in error.problem
    assert list(tmp_path.iterdir()) == []


def test_a_syntax_error_names_its_own_line(tiny_images: Catalog) -> None:
    error = refused(tiny_images, f"-- Mine.\n{ALL}\n-- step: bad\nSELECT dataset,\n  image_id\nFRM previous x y")
    assert error.where == "mine.sql:8 (step 'bad')"
    assert "syntax error" in error.problem


def test_the_first_step_has_no_previous(tiny_images: Catalog) -> None:
    error = refused(tiny_images, "-- step: all\nSELECT dataset, image_id FROM previous")
    assert error.problem == "the first step reads `previous`, and there is no step before it"
    assert (error.code, error.where) == ("CXR-503", "mine.sql:1 (step 'all')")


def test_a_cohort_has_no_parameters(tiny_images: Catalog) -> None:
    assert (
        refused(tiny_images, "-- step: all\nSELECT dataset, image_id FROM images WHERE age_years > $age").problem
        == "the step needs a value for $age"
    )


def test_a_step_that_never_ends(tiny_images: Catalog) -> None:
    error = refused(
        tiny_images,
        f"{ALL}-- step: endless\nSELECT dataset, image_id FROM previous, range(10000000000000) AS t(n) WHERE n * n < 0",
        seconds=0.3,
    )
    assert (error.code, error.where) == ("CXR-506", "mine.sql:3 (step 'endless')")
    assert "longer than 0.3 s" in error.problem


def test_names_and_paths_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CxrError, match="did you mean chexnet_nih") as caught:
        load_cohort("chexnet_nhi")
    assert caught.value.code == "CXR-501"
    with pytest.raises(CxrError) as caught:
        load_cohort(tmp_path / "none.sql")
    assert caught.value.code == "CXR-101"
    (tmp_path / "latin.sql").write_bytes("-- Kohorte für mich\n".encode("latin-1"))
    with pytest.raises(CxrError) as caught:
        load_cohort(tmp_path / "latin.sql")
    assert caught.value.code == "CXR-104"
