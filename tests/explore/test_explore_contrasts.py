"""Tests and their adjustment against scipy and statsmodels; which contrasts there are; what was not independent."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import ks_2samp
from statsmodels.stats.multitest import multipletests

from cxrdata.errors import CxrError
from cxrdata.explore.contrasts import KS_SCHEMA, PUBLISHED, Contrast, Wish, compared, contrasts_of

VALUES = {
    "disease": ("No Finding", "Other", "Pleural Effusion"),
    "race": ("Asian", "Black", "White"),
    "sex": ("F", "M"),
    "view": ("AP", "LATERAL", "PA"),
}
MARGINALS = ("pca_1", "pca_2")


def _rows(n: int = 240, *, images: int = 240, patients: int = 240) -> pl.DataFrame:
    rng = np.random.default_rng(11)
    at = np.arange(n)
    numbers = {"pca_1": rng.normal(size=n) + 0.6 * (at % 2), "pca_2": rng.normal(size=n).round(1)}
    groups = {name: [values[one % len(values)] for one in at] for name, values in VALUES.items()}
    keys = {"dataset": ["d"] * n, "image_id": [str(one % images) for one in at]}
    return pl.DataFrame(keys | {"patient": [str(one % patients) for one in at]} | numbers | groups)


def test_statistics_and_p_values_are_those_of_scipy_and_statsmodels() -> None:
    rows = _rows()
    found = compared(rows, MARGINALS, PUBLISHED, resampled=False)
    assert dict(found.schema) == KS_SCHEMA
    assert found.height == len(MARGINALS) * len(PUBLISHED) == 10
    p_values = []
    for row in found.iter_rows(named=True):
        sides = [rows.filter(pl.col(row["attribute"]) == row[side])[row["marginal"]].to_numpy() for side in ("first", "second")]  # fmt: skip
        reference = ks_2samp(*sides)
        assert (row["statistic"], row["p_value"]) == (reference.statistic, reference.pvalue)
        assert (row["n_first"], row["n_second"]) == tuple(map(len, sides))
        p_values.append(reference.pvalue)
    adjusted = multipletests(p_values, method="fdr_by")[1]
    np.testing.assert_allclose(found["p_adjusted"].to_numpy(), adjusted, rtol=1e-12)
    assert found["n_tests"].unique().to_list() == [10]
    assert found["note"].null_count() == 10
    # What is planted is found, and no more.
    below = found.filter(pl.col("p_adjusted") < 0.05).select("marginal", "attribute").rows()
    assert below == [("pca_1", "sex")]


def test_a_side_without_images_is_no_test_and_does_not_count() -> None:
    rows = _rows().with_columns(pca_2=pl.when(pl.col("sex") == "M").then("pca_2"))
    contrasts = [Contrast("sex", "F", "M"), Contrast("race", "White", "Multiple"), Contrast("race", "White", "Black")]
    found = compared(rows, MARGINALS, contrasts, resampled=True)
    assert found["n_tests"].unique().to_list() == [3]
    said = found.select("marginal", "second", "n_first", "n_second", "note").rows()
    assert said[1] == ("pca_1", "Multiple", 80, 0, "a group has no images")
    assert said[3] == ("pca_2", "M", 0, 120, "a group has no images")
    assert found["p_value"].null_count() == found["p_adjusted"].null_count() == 3
    tested = found.filter(pl.col("p_value").is_not_null())
    adjusted = multipletests(tested["p_value"].to_numpy(), method="fdr_by")[1]
    np.testing.assert_allclose(tested["p_adjusted"].to_numpy(), adjusted, rtol=1e-12)


def test_a_side_of_few_patients_is_no_test_and_does_not_count() -> None:
    """However many images they have, and nothing tells how many."""
    rows = _rows().with_columns(patient=pl.when(pl.col("sex") == "M").then(pl.lit("m")).otherwise("patient"))
    contrasts = [Contrast("sex", "F", "M"), Contrast("race", "White", "Black")]
    masked = compared(rows, ["pca_1"], contrasts, resampled=False, min_cell=2)
    assert masked.select("n_first", "n_second", "statistic", "n_tests", "note").rows()[0] == (
        120, None, None, 1, "masked: a group has fewer than 2 patients",
    )  # fmt: skip
    every = compared(rows, ["pca_1"], contrasts, resampled=False, min_cell=1)
    assert every["n_tests"].to_list() == [2, 2] and every["n_second"][0] == 120
    assert compared(rows, ["pca_1"], contrasts, resampled=False)["n_second"][0] is None  # the house's own number


@pytest.mark.parametrize(
    ("images", "patients", "note"),
    [
        (240, 240, None),
        (240, 40, "240 images of 40 patients count as independent"),
        (120, 40, "240 draws of 120 images of 40 patients count as independent"),
    ],
)
def test_what_counted_as_independent_is_said(images: int, patients: int, note: str | None) -> None:
    found = compared(_rows(images=images, patients=patients), ["pca_1"], [Contrast("sex", "F", "M")], resampled=False)
    assert found["note"].to_list() == [note]


def test_the_published_contrasts_and_no_others_unless_asked() -> None:
    assert contrasts_of(VALUES) == (list(PUBLISHED), [])
    found, notes = contrasts_of(VALUES | {"race": ("Black", "White")})
    assert found == [PUBLISHED[0], PUBLISHED[3], PUBLISHED[4]]
    assert notes == ["of the published contrasts there are no images for race Asian and White; race Black and Asian"]


def test_a_wish_adds_once() -> None:
    wishes = [Wish.of("view:*"), Wish.of("view:PA:AP"), Wish.of("sex:M:F"), Wish.of("disease:Other:No Finding")]
    found, _ = contrasts_of(VALUES, wishes)
    assert found[5:] == [
        Contrast("view", "AP", "LATERAL"),
        Contrast("view", "AP", "PA"),
        Contrast("view", "LATERAL", "PA"),
        Contrast("disease", "Other", "No Finding"),
    ]


def test_schemes_of_age_groups_have_a_colon_of_their_own() -> None:
    assert Wish.of("age_group:decades:[30,40):[70,80)") == Wish("age_group:decades", ("[30,40)", "[70,80)"))
    assert Wish.of("age_group:decades:*") == Wish("age_group:decades", ())


@pytest.mark.parametrize("text", ["", "race", "race:White", "race:White:Black:Asian", "race:White:White", ":F:M", ":*", "race::"])  # fmt: skip
def test_what_names_no_two_values_is_refused(text: str) -> None:
    with pytest.raises(CxrError) as error:
        Wish.of(text)
    assert str(error.value) == (
        f"error CXR-502: {text!r} names no two values of an attribute\n"
        "  fix: --contrast ATTRIBUTE:FIRST:SECOND, such as view:AP:PA, or ATTRIBUTE:* for all pairs of its values"
    )


def test_a_value_that_nobody_has_is_refused() -> None:
    with pytest.raises(CxrError) as error:
        contrasts_of(VALUES, [Wish.of("race:White:Asain")])
    assert str(error.value) == (
        "error CXR-501: no image has the race 'Asain'; did you mean Asian?\n  fix: values here: Asian, Black, White"
    )
