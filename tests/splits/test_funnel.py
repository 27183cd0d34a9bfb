"""The funnel: counts against the images themselves, published counts, remarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cxrdata.sources.base import Registry
from cxrdata.splits.cohorts import parse_cohort
from cxrdata.splits.funnel import funnel
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog
from cxrdata.wording import slug

TEXT = """-- <Mine> & more.
-- step: all; expect: 5
SELECT dataset, image_id FROM images
-- step: frontal
SELECT dataset, image_id FROM previous JOIN images USING (dataset, image_id) WHERE dataset <> 'chexpert' OR frontal
-- step: none
SELECT dataset, image_id FROM previous WHERE false
"""


@pytest.fixture(scope="module")
def catalog(registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory):  # noqa: ANN201
    folder = tmp_path_factory.mktemp("funnel") / "catalog"
    build_catalog(
        BuildRequest(
            folder,
            named=[(registry.get(name), synthetic(registry.get(name).name)) for name in ("chexpert", "vindr")],
            workers=1,
        )
    )
    with Catalog(folder) as opened:
        yield opened


def test_counts_are_those_of_the_images(catalog: Catalog) -> None:
    found = funnel(catalog, parse_cohort(TEXT, name="mine.sql")).to_frame()
    images = catalog.table("images").collect().to_dicts()
    frontal = [image for image in images if image["dataset"] != "chexpert" or image["frontal"]]
    for row, left in zip(found.rows(named=True), (images, frontal, []), strict=True):
        assert row["images"] == len(left)
        assert row["patients"] == len({image["patient_id"] for image in left} - {None})
        for column, value in (
            ("race_white", "White"),
            ("race_native_hawaiian_pacific_islander", "Native Hawaiian/Pacific Islander"),
            ("race_unknown", None),
        ):
            assert row[column] == sum(image["race"] == value for image in left)
        assert sum(value for name, value in row.items() if name.startswith("race_")) == len(left)
        assert sum(value for name, value in row.items() if name.startswith("sex_")) == len(left)
    assert found.columns[:5] == ["step", "images", "patients", "expected_images", "delta"]
    assert found.columns[-4:] == ["sex_f", "sex_m", "sex_o", "sex_unknown"]
    assert found.select("expected_images", "delta").rows() == [(5, len(images) - 5), (None, None), (None, None)]


def test_remarks(catalog: Catalog) -> None:
    assert funnel(catalog, parse_cohort(TEXT, name="mine.sql")).remarks == (
        "SYNTHETIC: chexpert, vindr_cxr; the published counts are those of the real data",
        "vindr_cxr: no patient ids, so the images count towards no patient",
    )
    nobody = funnel(
        catalog,
        parse_cohort("-- step: none\nSELECT dataset, image_id FROM images WHERE dataset = 'padchest'", name="mine.sql"),
    )
    assert nobody.remarks == ("the first step chose no image; datasets of this catalog: chexpert, vindr_cxr",)
    assert nobody.frame.select("images", "patients").row(0) == (0, 0)


def test_patients_are_null_where_there_are_no_ids(catalog: Catalog) -> None:
    only = funnel(
        catalog,
        parse_cohort("-- step: all\nSELECT dataset, image_id FROM images WHERE dataset = 'vindr_cxr'", name="mine.sql"),
    )
    assert only.frame["patients"].to_list() == [None]


def test_notebook_and_names(catalog: Catalog) -> None:
    found = funnel(catalog, parse_cohort(TEXT, name="mine.sql"))
    page = found._repr_html_()
    assert "&lt;Mine&gt; &amp; more." in page
    assert page.count("<tr>") == 4
    assert repr(found).startswith("<Funnel mine: all ")
    assert slug("American Indian/Alaska Native") == "american_indian_alaska_native"
