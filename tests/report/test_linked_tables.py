"""Tables that share totals are solved together: of one finding all its groups, of one split all its subsets."""

from __future__ import annotations

from collections.abc import Hashable

import polars as pl

from cxrdata.report.contents import GROUPS
from cxrdata.report.disclosure import Count, Sum, table_sums
from cxrdata.report.prevalence import ATTRIBUTES, prevalence
from cxrdata.report.split_sections import LABEL, _counts, _masked
from cxrdata.report.tallies import ALL, Tallies, tally
from cxrdata.store.catalog import Catalog
from tests.report.solve import feasible_ranges


def unmasked(tallies: Tallies) -> Tallies:
    return Tallies(**{**vars(tallies), "min_cell": 1, "groups": tallies.groups.with_columns(masked=False)})


def test_no_masked_positive_follows_from_any_group_of_its_finding(reported: Catalog, tallies: Tallies) -> None:
    shown, true = prevalence(reported, tallies), prevalence(reported, unmasked(tallies))
    solved = 0
    for (dataset, finding), part in true.group_by("dataset", "finding", maintain_order=True):
        counts: dict[Hashable, Count] = {}
        sums: list[Sum] = []
        hidden: set[Hashable] = set()
        for attribute, value, n, y in part.select("attribute", "value", "images", "positive").iter_rows():
            counts |= {
                (attribute, value, "n"): Count(n, n),
                (attribute, value, "y"): Count(y, y),
                (attribute, value, "o"): Count(n - y, n - y),
            }
            sums.append(Sum((attribute, value, "n"), [(attribute, value, "y"), (attribute, value, "o")]))
        for attribute in ATTRIBUTES[1:]:
            values = part.filter(attribute=attribute)["value"].to_list()
            sums += [Sum((ALL, ALL, kind), [(attribute, value, kind) for value in values]) for kind in "nyo"]
        for row in shown.filter(dataset=dataset, finding=finding).iter_rows(named=True):
            key = (row["attribute"], row["value"])
            hidden |= {(*key, "n")} if row["images"] is None else set()
            hidden |= {(*key, "y"), (*key, "o")} if row["positive"] is None else set()
        for key, (low, high) in feasible_ranges(counts, sums, hidden).items() if hidden else ():
            assert low < high, (dataset, finding, key)
            solved += 1
    assert solved > 100


def test_no_masked_count_of_a_split_follows(reported: Catalog, tallies: Tallies) -> None:
    counted = _counts(reported, "plain")
    shown = _masked(counted, tallies)
    assert not shown["images"].drop_nulls().is_between(1, 10).any()
    solved = 0
    for (dataset, attribute), part in counted.filter(pl.col("attribute").is_in(list(GROUPS))).group_by(
        "dataset", "attribute", maintain_order=True
    ):
        true = {(value, split): n for value, split, n in part.select("value", "split", "images").iter_rows()}
        values, splits = part["value"].unique().to_list(), part["split"].unique().to_list()
        whole = {(value, split): true.get((value, split), 0) for value in values for split in splits}
        whole |= {(value, ALL): sum(whole[value, split] for split in splits) for value in values}
        whole |= {(ALL, split): sum(whole[value, split] for value in values) for split in [*splits, ALL]}
        hidden: set[Hashable] = {(value, ALL) for value in tallies.hidden(str(dataset), str(attribute))}
        hidden |= set(shown.filter("masked", dataset=dataset, attribute=attribute).select("value", "split").iter_rows())
        counts: dict[Hashable, Count] = {key: Count(n, n) for key, n in whole.items()}
        hidden &= set(counts)
        if hidden:
            for key, (low, high) in feasible_ranges(counts, table_sums(values, splits, ALL), hidden).items():
                assert low < high, (dataset, attribute, key)
                solved += 1
    assert solved > 20


def test_unmasked_a_split_counts_what_it_holds(reported: Catalog, tallies: Tallies, contents: object) -> None:
    shown = _masked(_counts(reported, "plain"), tally(contents, min_cell=1))  # type: ignore[arg-type]
    asked = reported.sql(
        "SELECT s.dataset, s.split, coalesce(sex, 'unknown') AS value, count(*) AS n FROM splits AS s JOIN images USING (dataset, image_id) "
        "WHERE split_name = 'plain' GROUP BY ALL"
    )
    both = shown.filter(attribute="sex").join(asked, on=["dataset", "split", "value"])
    assert both.height == asked.height and (both["images"] == both["n"]).all()
    labels = reported.sql(
        "SELECT s.dataset, s.split, 'mass' AS value, count(*) FILTER (mass = 1) AS n, count(*) AS of FROM splits AS s "
        "JOIN image_labels USING (dataset, image_id) WHERE split_name = 'plain' AND dataset = 'nih_cxr14' GROUP BY ALL"
    )
    both = shown.filter(attribute=LABEL).join(labels, on=["dataset", "split", "value"])
    assert both.height == labels.height and (both["images"] == both["n"]).all()
    assert (both["percent"] - 100 * both["n"] / both["of"]).abs().max() < 1e-9  # type: ignore[operator]


def test_of_labels_a_split_tells_no_count_from_which_the_labelled_images_follow(
    reported: Catalog, tallies: Tallies
) -> None:
    labels = _masked(_counts(reported, "plain"), tallies).filter(attribute=LABEL)
    assert labels["images"].is_null().all() and labels["persons"].is_null().all()
    told = labels.filter(pl.col("percent").is_not_null(), ~pl.col("masked"))
    true = _counts(reported, "plain").filter(attribute=LABEL).select("dataset", "split", "value", "of", n="images")
    both = told.join(true, on=["dataset", "split", "value"])
    assert both.height > 5
    # Ten images more or less are within the step.
    least = 1000 / both["of"].cast(pl.Float64)
    assert (both["percent"] - 100 * both["n"] / both["of"]).abs().max() <= 5  # type: ignore[operator]
    for percent, step in zip(both["percent"], least, strict=True):
        assert round(percent * 100) % (5 if step > 0.02 else 1) == 0
