"""The sections of a catalog's report, from what was counted and masked."""

from __future__ import annotations

import polars as pl

from cxrdata.report import charts
from cxrdata.report.contents import BANDS, CHILDREN, LOOKED_AT, OLDEST, UNKNOWN, Contents
from cxrdata.report.disclosure import MASKED
from cxrdata.report.figure import Figure
from cxrdata.report.prevalence import ATTRIBUTES, published
from cxrdata.report.section import Section, Table
from cxrdata.report.tallies import ALL, Tallies
from cxrdata.small_cells import MIN_CELL
from cxrdata.wording import counted

_SEXES = ["F", "M", "O", UNKNOWN]
_SOURCE = "Source: images of the catalog."
_ATTRIBUTE_TITLES = {ALL: "of all images", "sex": "by sex", "race": "by race", "age": "by age"}


def overview(contents: Contents, tallies: Tallies) -> Section:
    """What is in the catalog: datasets, their size, terms, and children."""
    children = tallies.groups.filter(attribute="age", value=CHILDREN).select(
        "dataset", children="images", _bad="masked"
    )
    frame = contents.datasets.join(children, on="dataset", how="left", maintain_order="left").with_columns(
        pl.col("children").fill_null(pl.when(~pl.col("_bad").fill_null(value=False)).then(0)),
        patients=pl.when("patient_ids").then("persons"),
        labelers=pl.col("labelers").list.join(", "),
    )
    small = pl.col("images") < tallies.min_cell  # a dataset so small, as in a trial, is itself a small count
    for name in ("patients", "studies"):
        frame = frame.with_columns(pl.when(pl.col(name) >= tallies.min_cell).then(name).alias(name))
    frame = frame.with_columns(pl.when(~small).then("images").alias("images"))
    table = frame.select(
        "dataset", "title", "images", "patients", "studies",
        images_of_children=pl.when(pl.col("_bad").fill_null(value=False)).then(pl.lit(MASKED)).otherwise(pl.col("children").cast(pl.String)),
    )  # fmt: skip
    made = ["synthetic" if one else "real" for one in contents.datasets["synthetic"]]
    sources = contents.datasets.select(
        "dataset",
        pl.Series("data", made),
        institution=pl.concat_str("institution", "country", separator=", "),
        doi="doi",
    )
    terms = contents.datasets.select("dataset", "licence", "terms")
    said = [
        f"{counted(contents.datasets.height, 'dataset')}, {counted(int(contents.datasets['images'].sum()), 'image')}."
    ]
    if contents.datasets["images"].min() is not None and int(contents.datasets["images"].min()) < tallies.min_cell:  # type: ignore[arg-type]
        said = [f"{counted(contents.datasets.height, 'dataset')}."]
    import altair as alt

    from cxrdata.report.theme import colour

    chart = (
        alt.Chart(table)
        .mark_bar(color=colour("blue"))
        .encode(
            y=alt.Y("dataset:N", title=None, sort=None),
            x=alt.X("images:Q", title="images", axis=alt.Axis(format="~s")),
            tooltip=[
                alt.Tooltip("dataset:N"),
                alt.Tooltip("images:Q", format=","),
                alt.Tooltip("patients:Q", format=","),
            ],
        )
        .properties(width=560)
    )
    caption = (
        "Images, patients and studies of each dataset; children are images taken under 18 by the best estimate of the age. "
        "Empty: the dataset tells no patients or studies apart, or fewer than "
        f"{tallies.min_cell}. {_SOURCE}"
    )
    shows: list[Figure | Table] = [
        Figure("datasets", "Size of the datasets", caption, chart, table),
        Table("sources", "Where the datasets come from", "Their institutions, and the DOI to cite.", sources),
        Table("terms", "Terms of use", "What each licence asks; DATA_TERMS.md beside the catalog has the same.", terms),
        Table("labelers", "Labelers", "Who or what labelled the images.", frame.select("dataset", "labelers")),
    ]
    return Section("contents", "What is in the catalog", said, shows)


def age_section(contents: Contents, tallies: Tallies) -> Section:
    """Ages by dataset, children on a scale of their own."""
    every = pl.DataFrame({"year": range(OLDEST + 1)}, schema={"year": pl.Int64})
    parts, panels = [], []
    for dataset in contents.datasets["dataset"]:
        rows = tallies.years.filter(dataset=dataset)
        if rows.is_empty():
            continue
        rows = every.join(rows.drop("dataset"), on="year", how="left", maintain_order="left").with_columns(
            pl.lit(dataset).alias("dataset"),
            pl.col("masked").fill_null(value=False),
            band=pl.when(pl.col("year") < 18).then(pl.lit("children")).otherwise(pl.lit("adults")),
        )
        rows = rows.with_columns(images=pl.when(~pl.col("masked")).then(pl.col("images").fill_null(0)))
        parts.append(rows.filter((pl.col("images") > 0) | pl.col("masked")))
        panels.append(charts.ages(rows, title=dataset))
    if not parts:
        return Section("ages", "Ages", ["No image of this catalog has an age."])
    table = pl.concat(parts).select(
        "dataset", age=pl.when(pl.col("year") == OLDEST).then(pl.lit(f"{OLDEST}+")).otherwise(pl.col("year").cast(pl.String)),
        images=shown("images"), group="band",
    )  # fmt: skip
    caption = (
        f"Images by completed year of age at the study (the best estimate where a dataset gives less), {OLDEST} and above as "
        f"one. Under 18 in their own colour, and at left on a scale of their own. An x marks a masked count. {_SOURCE}"
    )
    bands = _wide(tallies.groups.filter(attribute="age"), [*BANDS.values(), UNKNOWN])
    said = (
        "Ages that a dataset cannot have meant (beyond its maximum, or a placeholder) are unknown here, not extreme; top-coded "
        f"ages stand among those of {OLDEST} and above."
    )
    band_caption = f"Images by age group; percent of the dataset's images in brackets. {_SOURCE}"
    shows: list[Figure | Table] = [
        Figure("ages", "Ages by dataset", caption, charts.stacked(panels), table),
        Table("age_groups", "Age groups", band_caption, bands),
    ]
    if tallies.flags.height:
        flags = tallies.flags.select("dataset", "flag", images=shown("images"))
        shows.append(Table("age_flags", "Images without an age", f"Why an image has no age. {_SOURCE}", flags))
    return Section("ages", "Ages", [said], shows)


def people_section(tallies: Tallies) -> Section:
    """Sex, race by ethnicity, views."""
    shows: list[Figure | Table] = []
    sex = tallies.groups.filter(attribute="sex")
    shows.append(_share_figure(sex, "sex", "Sex", [name for name in _SEXES if name in set(sex["value"])]))
    views = tallies.groups.filter(attribute="view")
    order = views.filter(pl.col("value") != UNKNOWN)["value"].unique().sort().to_list()
    order = sorted(
        order,
        key=lambda name: (
            ["PA", "AP", "LATERAL", "OBLIQUE", "DECUBITUS"].index(name)
            if name in {"PA", "AP", "LATERAL", "OBLIQUE", "DECUBITUS"}
            else 9,
            name,
        ),
    )
    if UNKNOWN in set(views["value"]):
        order.append(UNKNOWN)
    with_race = tallies.races.filter(
        ((pl.col("race") != UNKNOWN) | (pl.col("ethnicity") != UNKNOWN)).any().over("dataset")
    )
    said = []
    without = [
        name for name in tallies.races["dataset"].unique(maintain_order=True) if name not in set(with_race["dataset"])
    ]
    if without:
        said.append(f"No race or ethnicity is given by {', '.join(without)}.")
    if with_race.height:
        shows.append(_race_figure(with_race))
        race = _wide(
            tallies.groups.filter(pl.col("dataset").is_in(with_race["dataset"].unique().to_list()), attribute="race"),
            None,
            down=True,
        )
        shows.append(
            Table("race", "Race", f"Images by race; percent of the dataset's images in brackets. {_SOURCE}", race)
        )
    shows.append(_share_figure(views, "view", "Views", order))
    return Section("people", "Sex, race and ethnicity, views", said, shows)


def _share_figure(rows: pl.DataFrame, name: str, title: str, order: list[str]) -> Figure:
    chart = charts.shares(rows, row="dataset", part="value", order=order, x_title="percent of images", part_title=name)
    caption = f"Share of each dataset's images. A gap is a masked share. {_SOURCE}"
    return Figure(name, f"{title} by dataset", caption, chart, _wide(rows, order))


def _race_figure(rows: pl.DataFrame) -> Figure:
    order = [name for name in ("Hispanic", "Non-Hispanic", UNKNOWN) if name in set(rows["ethnicity"])]
    order += sorted(set(rows["ethnicity"]) - set(order))
    panels = []
    import altair as alt

    for dataset in rows["dataset"].unique(maintain_order=True):
        part = rows.filter(pl.col("percent").is_not_null(), dataset=dataset)
        panels.append(
            alt.Chart(part)
            .mark_bar()
            .encode(
                y=alt.Y("race:N", title=None, sort="-x"),
                x=alt.X("percent:Q", title="percent of images", stack=True),
                color=alt.Color("ethnicity:N", sort=order, scale=charts.categories(order)),
                tooltip=[
                    alt.Tooltip("race:N"),
                    alt.Tooltip("ethnicity:N"),
                    alt.Tooltip("images:Q", format=","),
                    alt.Tooltip("percent:Q", format=".1f"),
                ],
            )
            .properties(width=300, title=dataset)
        )
    table = rows.select("dataset", "race", "ethnicity", images=shown("images"), percent=pl.col("percent").round(1))
    caption = f"Race and ethnicity are two questions (OMB 1997); each bar is a race, its colours the answers on ethnicity. A masked share is missing. {_SOURCE}"
    return Figure("race_ethnicity", "Race and ethnicity", caption, charts.stacked(panels, columns=2), table)


def label_section(prevalence: pl.DataFrame, contents: Contents, *, min_cell: int = MIN_CELL) -> Section:
    """Prevalence of the findings by group."""
    prevalence = published(prevalence, contents, min_cell=min_cell)
    without = contents.datasets.filter(~pl.col("patient_ids"))["dataset"].to_list()
    how = "Intervals are 95 %: Wilson's, with the number of images divided by the design effect of images of the same patient."
    if without:
        how += f" {' and '.join(without)} tell{'s' if len(without) == 1 else ''} no patients apart: there each image counts as independent, and intervals are too narrow."
    what = (
        "An image counts for a finding if its labeler assesses that finding, and as positive if the label says so; uncertain and "
        "unmentioned are not positive. The labeler of an image is the first of the dataset's order of preference; findings of "
        "different labelers and datasets are not the same thing under one name."
    )
    shows: list[Figure | Table] = []
    for attribute in ATTRIBUTES:
        rows = prevalence.filter(attribute=attribute)
        if attribute == "race":  # where none is known, nothing is said by race
            rows = rows.filter((pl.col("value") != UNKNOWN).any().over("dataset"))
        if rows.filter(pl.col("percent").is_not_null(), pl.col("value") != UNKNOWN).is_empty():
            continue
        order = _group_order(attribute, rows["value"].unique().sort().to_list())
        rank = {name: at for at, name in enumerate(order)}
        # The unknown are no group to compare with; their numbers are in the table.
        drawn = rows.filter(pl.col("value") != UNKNOWN)
        panels = [
            charts.intervals(
                part,
                y="finding",
                part="value",
                order=[name for name in order if name != UNKNOWN],
                x_title="percent positive",
                title=str(dataset[0]),
                part_title=attribute,
            )
            for dataset, part in drawn.group_by("dataset", maintain_order=True)
            if part["percent"].is_not_null().any()
        ]
        rows = rows.with_columns(_rank=pl.col("value").replace_strict(rank)).sort(
            "dataset", "finding", "_rank", maintain_order=True
        )
        table = rows.select(
            "dataset", "finding", *([] if attribute == ALL else [pl.col("value").alias(attribute)]),
            images_about=shown("images_about", pl.col("images_about").is_null()),
            percent=pl.col("percent").round(2), ci_low=pl.col("ci_low").round(2), ci_high=pl.col("ci_high").round(2),
        )  # fmt: skip
        caption = (
            "Percent of the assessed images that are positive, with 95 % intervals "
            f"({'of images, and of patients where they are known' if without else 'that know which images are of one patient'}). "
            f"{_rounded(min_cell)}Source: image_labels of the catalog."
        )
        title = f"Prevalence {_ATTRIBUTE_TITLES[attribute]}"
        shows.append(Figure(f"prevalence_{attribute}", title, caption, charts.stacked(panels, columns=2), table))
    if not shows:
        return Section("labels", "Labels", ["No image of this catalog has a label."])
    return Section("labels", "Labels", [what, how], shows)


def _rounded(min_cell: int) -> str:
    """How prevalence is rounded, for its captions."""
    if min_cell == 1:
        return ""
    return (
        f"So that no count of fewer than {min_cell} follows, images are told to the nearest {5 * (min_cell - 1)}, and a "
        f"percentage and its interval in steps that are worth at least {min_cell - 1} images; empty: so rounded, it would "
        "say nothing. "
    )


def _group_order(attribute: str, values: list[str]) -> list[str]:
    known = {"sex": _SEXES, "age": [*BANDS.values(), UNKNOWN]}.get(attribute, [])
    rest = [name for name in values if name not in known and name != UNKNOWN]
    last = [UNKNOWN] if UNKNOWN in values and UNKNOWN not in known else []
    return [name for name in known if name in values] + rest + last


def missing_section(tallies: Tallies) -> Section:
    """What is missing, by dataset and column."""
    names = [*LOOKED_AT, "labels"]
    rows = tallies.missing.with_columns(
        told=pl.when(pl.col("percent").is_null()).then(pl.lit(MASKED)).otherwise(_percent_text("percent"))
    ).with_columns(percent=pl.col("percent").fill_null(0.0))
    # A dataset without a masked or missing image has no row of labels.
    every = rows.select("dataset").unique(maintain_order=True).join(pl.DataFrame({"name": names}), how="cross")
    rows = every.join(rows, on=["dataset", "name"], how="left", maintain_order="left").with_columns(
        pl.col("told").fill_null("0"), pl.col("percent").fill_null(0.0), pl.col("masked").fill_null(value=False)
    )
    table = (
        rows.with_columns(
            cell=pl.when(pl.col("images").is_null() & pl.col("masked"))
            .then("told")
            .otherwise(pl.format("{} ({})", _thousands(pl.col("images").fill_null(0)), "told"))
        )
        .pivot("dataset", index="name", values="cell")
        .rename({"name": "what"})
    )
    caption = (
        "Images without a value, percent of the dataset's images (0: none; 100: the dataset does not give it). "
        + _SOURCE
    )
    chart = charts.grid(
        rows, row="name", column="dataset", x_order=rows["dataset"].unique(maintain_order=True).to_list()
    )
    return Section("missing", "What is missing", [], [Figure("missing", "Missing values", caption, chart, table)])


def ledger_section(tallies: Tallies) -> Section:
    """Ledger and rejects."""
    from cxrdata.errors import PROBLEMS

    ledger = tallies.ledger.with_columns(
        shown(name, pl.col(name).is_null()) for name in tallies.ledger.columns if name.startswith("rows_")
    ).rename({name: name.removeprefix("rows_") for name in tallies.ledger.columns if name.startswith("rows_")})
    titles = {code: problem.title for code, problem in PROBLEMS.items()}
    rejects = tallies.rejects.select(
        "dataset", "source_file", "kind", "code", problem=pl.col("code").replace_strict(titles, default=""),
        column="column_name", rows=shown("n"),
    )  # fmt: skip
    said = (
        "Every row of every source file is kept, merged into another's, unmatched (its image or patient is not in the image list) "
        "or rejected: read is the sum of the four."
    )
    shows: list[Figure | Table] = [Table("ledger", "Ledger", "Rows of each source file.", ledger)]
    if rejects.height:
        shows.append(Table("rejects", "Rejects", "Rows refused (row) and values emptied (value), by code.", rejects))
    else:
        said += " Nothing was rejected."
    return Section("ledger", "Ledger and rejects", [said], shows)


def shown(name: str, is_masked: pl.Expr | None = None) -> pl.Expr:
    """A count as text: its digits, or that it is masked. A page writes it with thousands."""
    bad = pl.col("masked") if is_masked is None else is_masked
    return pl.when(bad).then(pl.lit(MASKED)).otherwise(pl.col(name).cast(pl.String)).alias(name)


def _thousands(count: pl.Expr) -> pl.Expr:
    return count.map_elements(lambda n: f"{n:,}", return_dtype=pl.String)


def _percent_text(name: str) -> pl.Expr:
    value = pl.col(name)
    return (
        pl.when(value == 0).then(pl.lit("0"))
        .when(value < 0.1).then(pl.lit("<0.1"))
        .when((value > 99.9) & (value < 100)).then(pl.lit(">99.9"))
        .when(value == 100).then(pl.lit("100"))
        .otherwise(value.round(1).cast(pl.String))
    )  # fmt: skip


def _wide(rows: pl.DataFrame, order: list[str] | None, *, down: bool = False) -> pl.DataFrame:
    """One row a dataset, one column a value (`down`: the other way round): its images and their percentage, or that it is
    masked."""
    order = order or _group_order("", rows["value"].unique().sort().to_list())
    count = pl.when("masked").then(pl.lit(MASKED)).otherwise(_thousands(pl.col("images")))
    share = pl.format(" ({} %)", _percent_text("percent")).fill_null("")
    cells = rows.with_columns(cell=pl.concat_str(count, share))
    if down:
        wide = cells.pivot("dataset", index="value", values="cell", maintain_order=True)
        rank = pl.col("value").replace_strict({name: at for at, name in enumerate(order)})
        return wide.sort(rank).with_columns(pl.exclude("value").fill_null("0"))
    wide = cells.pivot("value", index="dataset", values="cell", maintain_order=True)
    return wide.select("dataset", *(name for name in order if name in wide.columns)).with_columns(
        pl.exclude("dataset").fill_null("0")
    )
