"""The splits of a catalog in its report: size, balance, and age, sex, race, views and labels by subset."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.report import charts
from cxrdata.report.contents import GROUPS, UNKNOWN
from cxrdata.report.disclosure import Count, Sum, about, coarse_share, masked, rounded_share, table_sums
from cxrdata.report.figure import Figure
from cxrdata.report.section import Section, Table
from cxrdata.report.sections import shown
from cxrdata.report.tallies import ALL, Tallies
from cxrdata.splits.shares import UNKNOWN as UNKNOWN_SHARE
from cxrdata.splits.shares import distances
from cxrdata.splits.stored import read_split_manifest, split_names, told
from cxrdata.store.database import literal, quoted

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

LABEL = "label"
_ORDER = ("train", "valid", "calibration", "test", "test_healthy_adult", "test_pediatric")
_PERSON = "hash(coalesce(i.patient_id, i.image_id))"


def split_section(catalog: Catalog, name: str, tallies: Tallies) -> Section:
    """One stored split. Raises CxrError: CXR-501 no such split, CXR-405 its manifest is damaged."""
    manifest = read_split_manifest(catalog, name)
    rows = _masked(_counts(catalog, name), tallies)
    slug = f"split-{name}"
    parts = sorted(
        set(rows["split"]) - {ALL}, key=lambda part: (_ORDER.index(part) if part in _ORDER else len(_ORDER), part)
    )
    rank = pl.col("split").replace_strict({part: at for at, part in enumerate(parts)}, default=len(parts))
    sizes = (
        rows.filter(pl.col("split") != ALL, attribute=ALL)
        .sort("dataset", rank)
        .select(
            "dataset",
            "split",
            images=shown("images"),
            persons=shown("persons"),
            percent=pl.col("percent_of_dataset").round(1),
        )
    )
    groups = rows.filter(pl.col("split") != ALL, ~pl.col("attribute").is_in([ALL, LABEL]))
    labels = rows.filter(pl.col("split") != ALL, attribute=LABEL)
    said = [f"Made of catalog build {manifest['catalog_build']}: {told(manifest['arguments'])}."]
    shows: list[Figure | Table] = [
        Table(
            f"{slug}-size",
            "Size",
            "Images and persons (patients; images where the dataset tells no patients apart) of each subset, and its percent of the dataset's images in the split.",
            sizes,
        )
    ]
    far = distances(
        groups.select("dataset", "attribute", "value", "split", "images", "percent")
        .filter(pl.col("percent").is_not_null())
        .with_columns(pl.col("value").replace(UNKNOWN, UNKNOWN_SHARE))
    ).with_columns(pl.col("value").replace(UNKNOWN_SHARE, UNKNOWN))
    # Where all but the empty values are masked, nothing is known of the distance.
    some_masked = groups.filter("masked").select("dataset", "attribute").unique()
    nothing = far.filter(points=0.0).join(some_masked, on=["dataset", "attribute"], how="semi")
    far = far.join(nothing, on=["dataset", "attribute"], how="anti", maintain_order="left")
    if far.height:
        balance = far.select(
            "dataset",
            "attribute",
            furthest_apart="value",
            points=pl.col("points").round(2),
            from_subset="least",
            percent_there=pl.col("low").round(2),
            to_subset="most",
            percent_here=pl.col("high").round(2),
        )
        shows.append(
            Table(
                f"{slug}-balance",
                "Balance",
                "For each attribute the value whose share differs most between subsets, in points of percent. Masked shares are left out.",
                balance,
            )
        )
    for kind, frame, title, axis in (
        ("groups", groups, "Age, sex, race and views by subset", "percent of the subset's images"),
        ("labels", labels, "Labels by subset", "percent positive of the labelled images"),
    ):
        known = _worth_showing(frame)
        if known["percent"].drop_nulls().is_empty():
            continue
        panels = [
            charts.dots(
                part,
                y="value",
                part="split",
                order=parts,
                x_title=axis,
                title=f"{dataset}: {attribute}",
                part_title="subset",
            )
            for (dataset, attribute), part in known.group_by("dataset", "attribute", maintain_order=True)
            if part["percent"].is_not_null().any()
        ]
        rough = kind == "labels" and tallies.min_cell > 1
        images = {} if rough else {"images": shown("images")}
        table = known.select("dataset", "attribute", "value", "split", **images, percent=pl.col("percent").round(2))
        caption = f"Images of each subset of the split {name}; each counts once, whatever its draws or weight. Masked shares are missing."
        if rough:
            caption += f" Percentages are in steps that are worth at least {tallies.min_cell - 1} images, so that no smaller count follows."
        shows.append(Figure(f"{slug}-{kind}", f"{title}: {name}", caption, charts.stacked(panels, columns=2), table))
    return Section(slug, f"Split {name}", said, shows)


def _worth_showing(frame: pl.DataFrame) -> pl.DataFrame:
    """Without attributes of which a dataset knows nothing."""
    known = (pl.col("value") != UNKNOWN).any().over("dataset", "attribute")
    return frame.filter(known)


def _counts(catalog: Catalog, name: str) -> pl.DataFrame:
    """dataset, split, attribute, value, images, persons; of labels the positive images, beside `of`, the labelled ones."""
    member = f"FROM splits AS s JOIN images AS i USING (dataset, image_id) WHERE s.split_name = {literal(name)}"
    counts = f"count(*) AS images, count(DISTINCT {_PERSON}) AS persons"
    frames = [
        catalog.sql(
            f"SELECT dataset, s.split, '{ALL}' AS attribute, '{ALL}' AS value, {counts} {member} GROUP BY ALL ORDER BY ALL"
        )
    ]
    for attribute, sql in GROUPS.items():
        value = f"coalesce({sql}, '{UNKNOWN}')"
        frames.append(
            catalog.sql(
                f"SELECT dataset, s.split, '{attribute}' AS attribute, {value} AS value, {counts} {member} GROUP BY ALL ORDER BY ALL"
            )
        )
    findings = catalog.sql(
        "SELECT finding, list(DISTINCT l.dataset) AS datasets FROM findings JOIN label_counts AS l USING (finding) GROUP BY finding, finding_order ORDER BY finding_order"
    )
    by_person = ", ".join(f"count(*) FILTER (l.{quoted(name)} = 1) AS {quoted(name)}" for name in findings["finding"])
    counted = ", ".join(
        f"sum({quoted(name)})::BIGINT AS {quoted(name)}, count(*) FILTER ({quoted(name)} > 0) AS {quoted(name + ' persons')}, "
        f"count(*) FILTER ({quoted(name)} < n) AS {quoted(name + ' others')}"
        for name in findings["finding"]
    )
    if findings.height:
        wide = catalog.sql(f"""
            WITH people AS (
              SELECT dataset, s.split, {_PERSON} AS person, count(*) AS n, {by_person}
              FROM splits AS s JOIN images AS i USING (dataset, image_id) JOIN image_labels AS l USING (dataset, image_id)
              WHERE s.split_name = {literal(name)} AND l.labeler IS NOT NULL GROUP BY ALL
            )
            SELECT dataset, split, sum(n)::BIGINT AS n, count(*) AS people, {counted} FROM people GROUP BY ALL ORDER BY ALL""")
        for finding, datasets in findings.iter_rows():
            frames.append(
                wide.filter(pl.col("dataset").is_in(datasets)).select(
                    "dataset", "split", pl.lit(LABEL).alias("attribute"), pl.lit(finding).alias("value"), images=finding,
                    persons=f"{finding} persons", others=f"{finding} others", of="n", of_persons="people",
                )
            )  # fmt: skip
    return pl.concat(frames, how="diagonal")


def _masked(counts: pl.DataFrame, tallies: Tallies) -> pl.DataFrame:
    """The counts to publish, with `percent` (of the subset's images; of a label, of its labelled images) and
    `percent_of_dataset`; null where masked, `masked` says so."""
    rows: list[dict[str, Any]] = []
    for (dataset,), part in counts.group_by("dataset", maintain_order=True):
        sizes = {
            s: Count(n, p) for s, n, p in part.filter(attribute=ALL).select("split", "images", "persons").iter_rows()
        }
        whole = Count(sum(one.images for one in sizes.values()), sum(one.persons for one in sizes.values()))
        small = masked({**sizes, ALL: whole}, [Sum(ALL, list(sizes))], min_cell=tallies.min_cell, shown=[ALL])
        for split, one in sizes.items():
            rows.append(
                _row(dataset, ALL, ALL, split, one, whole.images, tallies, is_masked=split in small)
                | {"percent_of_dataset": None if split in small else 100 * one.images / whole.images}
            )
        for attribute in GROUPS:
            rows += _of_groups(part.filter(attribute=attribute), str(dataset), attribute, sizes, small, tallies)
        rows += _of_labels(part.filter(attribute=LABEL), str(dataset), sizes, small, tallies)
    schema = {"dataset": pl.String, "attribute": pl.String, "value": pl.String, "split": pl.String, "images": pl.Int64, "persons": pl.Int64,
              "percent": pl.Float64, "masked": pl.Boolean, "percent_of_dataset": pl.Float64}  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def _of_groups(
    part: pl.DataFrame, dataset: str, attribute: str, sizes: dict[str, Count], small: set[Hashable], tallies: Tallies
) -> list[dict[str, Any]]:
    """A table of values by subsets; what the catalog's own table masks is masked here."""
    found = {(v, s): Count(n, p) for v, s, n, p in part.select("value", "split", "images", "persons").iter_rows()}
    values = part["value"].unique().sort().to_list()
    counts: dict[Hashable, Count] = dict(found)
    for value in values:
        inside = [found[key] for key in found if key[0] == value]
        counts[value, ALL] = Count(sum(one.images for one in inside), sum(one.persons for one in inside))
    counts |= {(ALL, split): one for split, one in sizes.items()}
    counts[ALL, ALL] = Count(sum(one.images for one in sizes.values()), sum(one.persons for one in sizes.values()))
    hidden = [*((value, ALL) for value in tallies.hidden(dataset, attribute)), *((ALL, split) for split in small)]
    totals = [key for key in counts if ALL in key]  # type: ignore[operator]
    bad = masked(counts, table_sums(values, list(sizes), ALL), min_cell=tallies.min_cell, hidden=hidden, shown=totals)
    return [
        _row(
            dataset,
            attribute,
            value,
            split,
            found.get((value, split), Count(0, 0)),
            sizes[split].images,
            tallies,
            is_masked=(value, split) in bad,
            no_whole=split in small,
        )
        for value in values
        for split in sizes
    ]


def _of_labels(
    part: pl.DataFrame, dataset: str, sizes: dict[str, Count], small: set[Hashable], tallies: Tallies
) -> list[dict[str, Any]]:
    """Of each label a table of subsets by positive and other. The labelled images of a subset differ by few from all of it, so
    of positives only the percentage is told, coarsely (`disclosure.coarse_share`)."""
    rows: list[dict[str, Any]] = []
    for (finding,), one in part.group_by("value", maintain_order=True):
        counts: dict[Hashable, Count] = {}
        for split, n, p, others, of, of_persons in one.select(
            "split", "images", "persons", "others", "of", "of_persons"
        ).iter_rows():
            counts |= {
                (split, "positive"): Count(n, p),
                (split, "other"): Count(of - n, others),
                (split, ALL): Count(of, of_persons),
            }
        splits = one["split"].to_list()
        for kind in ("positive", "other", ALL):
            inside = [counts[split, kind] for split in splits]
            counts[ALL, kind] = Count(sum(c.images for c in inside), sum(c.persons for c in inside))
        totals = [key for key in counts if ALL in key]  # type: ignore[operator]
        bad = masked(
            counts,
            table_sums(splits, ["positive", "other"], ALL),
            min_cell=tallies.min_cell,
            hidden=[(split, ALL) for split in small],
            shown=totals,
        )
        for split in splits:
            is_bad = (split, "positive") in bad or (split, "other") in bad
            rows.append(
                _row(
                    dataset,
                    LABEL,
                    str(finding),
                    split,
                    counts[split, "positive"],
                    counts[split, ALL].images,
                    tallies,
                    is_masked=is_bad,
                    no_whole=(split, ALL) in bad,
                )
            )
            if not is_bad and tallies.min_cell > 1:
                n, of = counts[split, "positive"].images, counts[split, ALL].images
                whole = about(of, sizes[split].images, min_cell=tallies.min_cell)
                share = coarse_share(n, of, of_about=whole, min_cell=tallies.min_cell) if of else None
                rows[-1] |= {"images": None, "persons": None, "percent": share[0] if share else None}
    return rows


def _row(
    dataset: object,
    attribute: str,
    value: str,
    split: str,
    one: Count,
    whole: int,
    tallies: Tallies,
    *,
    is_masked: bool,
    no_whole: bool = False,
) -> dict[str, Any]:
    percent: float | None = None
    if not is_masked and not no_whole:
        percent = 100 * one.images / whole if whole else None
    elif not no_whole and (
        told := rounded_share(lambda n, of: (100 * n / of,), one.images, whole, min_cell=tallies.min_cell)
    ):
        percent = told[0]
    return {
        "dataset": dataset, "attribute": attribute, "value": value, "split": split, "images": None if is_masked else one.images,
        "persons": None if is_masked else one.persons, "percent": percent, "masked": is_masked,
    }  # fmt: skip


def chosen(catalog: Catalog, names: Sequence[str] | None) -> list[str]:
    """The splits to tell of: those named, all if None."""
    return split_names(catalog) if names is None else list(dict.fromkeys(names))
