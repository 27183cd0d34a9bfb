"""The counts that are published: nothing small, nothing that follows, and where nothing is masked, what SQL says."""

from __future__ import annotations

from collections.abc import Hashable

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from cxrdata.report.contents import Contents
from cxrdata.report.disclosure import Count, Sum, about, coarse_share, rounded_share
from cxrdata.report.tallies import ALL, Tallies, band_of, tally
from cxrdata.store.catalog import Catalog
from tests.report.solve import feasible_ranges


def test_unmasked_they_are_the_catalogs(reported: Catalog, contents: Contents) -> None:
    every = tally(contents, min_cell=1)
    assert not any(getattr(every, name)["masked"].any() for name in ("groups", "races", "years", "flags", "missing"))
    asked = reported.sql("SELECT dataset, coalesce(sex, 'unknown') AS value, count(*) AS n FROM images GROUP BY ALL")
    both = every.groups.filter(attribute="sex").join(asked, on=["dataset", "value"])
    assert both.height == asked.height and (both["images"] == both["n"]).all()
    ages = every.years.group_by("dataset").agg(pl.col("images").sum()).join(
        reported.sql("SELECT dataset, count(age_years) AS n FROM images GROUP BY ALL"), on="dataset"
    )  # fmt: skip
    assert (ages["images"] == ages["n"]).all()
    missing = every.missing.filter(name="age_years").join(
        reported.sql("SELECT dataset, count(*) - count(age_years) AS n FROM images GROUP BY ALL"), on="dataset"
    )
    assert (missing["images"] == missing["n"]).all()


def test_no_small_count_is_published(tallies: Tallies) -> None:
    for name in ("groups", "races", "years", "flags", "missing"):
        frame: pl.DataFrame = getattr(tallies, name)
        assert frame.height
        for column in ("images", "persons"):
            assert not frame[column].drop_nulls().is_between(1, tallies.min_cell - 1).any(), (name, column)
    assert tallies.groups["masked"].any() and tallies.years["masked"].any()


def test_no_masked_group_or_year_follows(contents: Contents, tallies: Tallies) -> None:
    """Each dataset's whole tree, as a reader could write it down: years in bands in the total, groups in the total."""
    for dataset, whole in contents.datasets.select("dataset", "images").iter_rows():
        counts: dict[Hashable, Count] = {ALL: Count(whole, whole)}
        sums, hidden = [], set()
        for attribute in ("sex", "view", "race", "age"):
            true = contents.groups.filter(dataset=dataset, attribute=attribute)
            counts |= {(attribute, v): Count(n, n) for v, n in true.select("value", "images").iter_rows()}
            sums.append(Sum(ALL, [(attribute, value) for value in true["value"]]))
            hidden |= {(attribute, value) for value in tallies.hidden(dataset, attribute)}
        for band in {band_of(year) for year in contents.years.filter(dataset=dataset)["year"]}:
            inside = contents.years.filter(dataset=dataset).filter(
                pl.col("year").map_elements(band_of, return_dtype=pl.String) == band
            )
            counts |= {("year", year): Count(n, n) for year, n in inside.select("year", "images").iter_rows()}
            sums.append(Sum(("age", band), [("year", year) for year in inside["year"]]))
        hidden |= {("year", year) for year in tallies.years.filter("masked", dataset=dataset)["year"]}
        for key, (low, high) in feasible_ranges(counts, sums, hidden).items():
            assert low < high, (dataset, key)


def test_what_is_missing_is_masked_as_the_unknown_group_is(tallies: Tallies) -> None:
    for name, attribute in (("sex", "sex"), ("race", "race"), ("view", "view"), ("age_years", "age")):
        missing = {dataset for (dataset,) in tallies.missing.filter("masked", name=name).select("dataset").iter_rows()}
        unknown = tallies.groups.filter("masked", attribute=attribute, value="unknown")["dataset"].to_list()
        assert missing == set(unknown)


def test_the_ledger_is_masked_with_its_rejects() -> None:
    ledger = pl.DataFrame(
        {"dataset": ["d"], "source_file": ["f.csv"], "rows_read": [1000], "rows_kept": [982], "rows_merged": [0], "rows_unmatched": [0], "rows_rejected": [18]}
    )  # fmt: skip
    rejects = pl.DataFrame(
        {"dataset": ["d"] * 2, "source_file": ["f.csv"] * 2, "kind": ["row"] * 2, "code": ["CXR-201", "CXR-207"], "column_name": [None, "id"], "n": [15, 3]},
        schema_overrides={"column_name": pl.String},
    )  # fmt: skip
    nothing = {"dataset": pl.String, "images": pl.Int64, "persons": pl.Int64}
    contents = Contents(
        datasets=pl.DataFrame(schema=nothing),
        groups=pl.DataFrame(schema=nothing | {"attribute": pl.String, "value": pl.String}),
        races=pl.DataFrame(schema=nothing | {"race": pl.String, "ethnicity": pl.String}),
        years=pl.DataFrame(schema=nothing | {"year": pl.Int64}),
        flags=pl.DataFrame(schema=nothing | {"flag": pl.String}),
        missing=pl.DataFrame(schema=nothing | {"name": pl.String}),
        ledger=ledger,
        rejects=rejects,
    )
    found = tally(contents)
    assert found.rejects.filter(code="CXR-207")["n"].to_list() == [None]
    shown = [*found.ledger.row(0)[2:], *found.rejects["n"]]
    assert 3 not in shown and shown.count(None) >= 2  # 15 or 18 is hidden with it


def test_a_share_is_told_so_coarsely_that_the_count_may_move() -> None:
    def told(n: int, whole: int) -> tuple[float, ...]:
        return (100 * n / whole,)

    assert rounded_share(told, 91_234, 224_316) == (40.7,)
    assert rounded_share(told, 5, 224_316) is None  # small itself: it may not be told from others
    assert rounded_share(told, 30, 61) is None  # whatever the rounding, ten more or less would show
    assert rounded_share(told, 5_050, 10_000) == (50.5,)  # 50.4 to 50.6: in steps of a half


def test_no_share_is_rounded_to_none_or_onto_the_end_of_its_interval() -> None:
    def told(n: int, whole: int) -> tuple[float, ...]:
        share = 100 * n / whole
        return share, share - 0.1, share + 0.1

    assert rounded_share(lambda n, whole: (100 * n / whole,), 30, 21_400) is None  # 0.14 %: not 0.0
    assert rounded_share(told, 30, 21_400) is None
    assert rounded_share(told, 2_305, 10_000) is None  # at a step so coarse that it fits, 23 (23 to 23)
    assert coarse_share(30, 21_400, (0.10, 0.20)) == (0.15, 0.1, 0.2)
    assert coarse_share(30, 21_400, (0.13, 0.15)) is None
    assert coarse_share(0, 21_400, (0.0, 0.02)) is None
    assert coarse_share(0, 21_400, (0.0, 0.4), persons=5_000) == (0.0, 0.0, 0.4)


@given(st.integers(200, 20_000), st.integers(0, 50), st.floats(0, 1))
def test_a_rough_whole_and_its_share_leave_open_by_how_few_it_differs(whole: int, fewer: int, share: float) -> None:
    n = whole - fewer
    told, positive = about(n, whole), round(share * n)
    percent = coarse_share(positive, n, of_about=told)
    possible = [
        other
        for other in range(11)
        if about(whole - other, whole) == told
        and (
            percent in (None, (0.0,), (100.0,))
            or any(
                coarse_share(y, whole - other, of_about=told) == percent
                for y in range(max(0, positive - 120), positive + 121)
            )
        )
    ]
    assert possible == list(range(11))


def test_a_min_cell_of_one_rounds_no_whole() -> None:
    assert about(37, 39, min_cell=1) == 37
    assert about(37, 39) == about(39, 39) == 50
