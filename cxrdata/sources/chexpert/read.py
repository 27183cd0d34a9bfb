"""CheXpert: train, valid and test images, their labelers, the demographics workbook, CheXpert Plus."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from cxrdata.sources.base import FoundFile, LabelerStates, RawDataset, ReadContext, SourceFiles
from cxrdata.sources.chexpert import demographics, plus
from cxrdata.sources.chexpert.labels import LABELS, coded, states
from cxrdata.sources.chexpert.paths import with_image_keys, with_path_parts, with_study_keys
from cxrdata.sources.jsonlines import read_json_lines
from cxrdata.sources.rows import settle_matches, without_repeats
from cxrdata.sources.textfile import TextTable, read_csv

VIEW_SOURCE = "Frontal/Lateral|AP/PA"
# In the order in which the files are believed about an image that two of them list.
_LISTS = ("train", "valid", "test", "test_labels", "valid_labels")
_DESCRIBED = ("Sex", "Age", "Frontal/Lateral", "AP/PA")
_REPORT_CSV = {"train_chexbert": "chexbert", "train_visualchexbert": "visualchexbert"}
_REPORT_JSON = {
    "plus_findings": "chexbert_findings",
    "plus_impression": "chexbert_impression",
    "plus_report": "chexbert_report",
}


@dataclass
class _Listing:
    """What the image lists say: images, and coded labels by labeler."""

    images: list[pl.DataFrame] = field(default_factory=list)
    labels: dict[str, list[pl.DataFrame]] = field(default_factory=dict)


def read(files: SourceFiles, context: ReadContext) -> RawDataset:
    """Read what was found; `files` has at least one file that lists images."""
    account = context.account
    listing = _Listing()
    for role in _LISTS:
        if found := files.one(role):
            _list(found, listing, context)
    images = pl.concat(listing.images) if listing.images else _no_images()
    race = []
    if found := files.one("plus"):
        table = plus.read_plus(found, context)
        images = plus.merge(images, table, account)
        race.append(plus.race_records(table, account))
    images = plus.study_order(with_path_parts(images), account)
    if found := files.one("demographics"):
        people = demographics.read_demographics(found, images, context)
        race.insert(0, demographics.race_records(people, found, context.vocabularies, account))
        demographics.note_contradictions(
            images, people, top_code_years=context.source.entry["age"]["top_code_years"], account=account
        )
        images = demographics.with_sex_filled(images, people)
    images = _with_views(images, context)
    _test_studies(files, images, listing, context)
    labels = [word for labeler, frames in listing.labels.items() if (word := states(frames, labeler, account))]
    labels += _report_labels(files, images["image_id"], context)
    return RawDataset(
        images.drop("_study_number", "_projection", "_order", strict=False),
        age_form="years",
        labels=labels,
        readings=_readings(files, images, context),
        race=pl.concat(race) if race else None,
    )


def _no_images() -> pl.DataFrame:
    text = dict.fromkeys(("image_id", "sex_raw", "age_raw", "view_raw", "view_source", "source_file"), pl.String)
    return pl.DataFrame(schema={**text, "source_row": pl.UInt32, "_line": pl.UInt32})


def _list(found: FoundFile, listing: _Listing, context: ReadContext) -> None:
    """A file with one row an image: images that no earlier file has, and labels by the split of the path."""
    account = context.account
    table = read_csv(found.path, name=found.name, account=account, required=found.spec.columns)
    table = without_repeats(with_image_keys(table, account, column="Path"), account, keys=["image_id"])
    frame = table.frame.with_columns(
        pl.lit(None, pl.String).alias(c) for c in _DESCRIBED if c not in table.frame.columns
    )
    images = frame.select(
        "image_id",
        sex_raw="Sex",
        age_raw="Age",
        view_raw=plus.view(pl.col("Frontal/Lateral"), pl.col("AP/PA")),
        view_source=pl.lit(VIEW_SOURCE),
        source_file=pl.lit(found.name),
        source_row="_record",
        _line="_line",
    )
    for earlier in listing.images:
        images = images.join(earlier, on="image_id", how="anti", maintain_order="left")
    account.settle(found.name, kept=images.height, merged=frame.height - images.height)
    listing.images.append(images)
    by_report = pl.col("image_id").str.starts_with("train/")
    for labeler, rows in (("chexpert", by_report), ("radiologist", ~by_report)):
        part = frame.filter(rows)
        if part.height:
            listing.labels.setdefault(labeler, []).append(coded(part, labeler, account, found.name))


def _with_views(images: pl.DataFrame, context: ReadContext) -> pl.DataFrame:
    """The view from the file name where no column gives it, and contradictions reported."""
    account = context.account
    silent = pl.col("view_raw").is_null()
    first = pl.col("view_raw").str.split_exact("|", 1).struct[0].str.to_lowercase()
    differing = images.filter(first != pl.col("_projection")).height
    if differing:
        account.note(
            "disagreement",
            "view",
            differing,
            "images called frontal or lateral otherwise than their file name does; the column is believed",
        )
    views = context.vocabularies.views
    # `Frontal|LL`: a frontal film has no lateral projection. The vocabulary gives such a pair no view.
    paired = (pl.col("dataset") == context.source.name) & pl.col("field").str.contains("|", literal=True)
    contradictory = views.filter(paired & pl.col("view").is_null() & ~pl.col("raw_value").str.ends_with("|"))[
        "raw_value"
    ].unique()
    account.reject_values(
        pl.col("source_file"),
        images.filter(pl.col("view_raw").is_in(contradictory.implode())),
        "CXR-306",
        column="view",
        value="view_raw",
    )
    return images.with_columns(
        view_source=pl.when(silent).then(pl.lit("path")).otherwise("view_source"),
        view_raw=pl.when(silent).then("_projection").otherwise("view_raw"),
    )


def _test_studies(files: SourceFiles, images: pl.DataFrame, listing: _Listing, context: ReadContext) -> None:
    """The majority's labels by study (groundtruth.csv), for each image of the study."""
    if found := files.one("test_studies"):
        listing.labels.setdefault("radiologist", []).append(_by_study(found, images, context))


def _readings(files: SourceFiles, images: pl.DataFrame, context: ReadContext) -> pl.DataFrame | None:
    """The single radiologists of the test set, named as their files are (`bc1`)."""
    readings = [
        _by_study(found, images, context).select(
            "image_id", *LABELS, reader_id=pl.lit(found.path.name.split(".")[0].removesuffix("_gt"))
        )
        for found in files.all("test_readers")
    ]
    return pl.concat(readings) if readings else None


def _by_study(found: FoundFile, images: pl.DataFrame, context: ReadContext) -> pl.DataFrame:
    account = context.account
    table = read_csv(
        found.path, name=found.name, account=account, required=found.spec.columns, columns=found.spec.columns
    )
    table = without_repeats(with_study_keys(table, account, column="Study"), account, keys=["study_path"])
    known = images.select("image_id", study_path=pl.concat_str("source_split", "study_id", separator="/"))
    frame = settle_matches(table, account, known["study_path"].unique(), column="study_path")
    return known.join(
        coded(frame, "radiologist", account, found.name), on="study_path", how="inner", maintain_order="left"
    ).select("image_id", *LABELS)


def _report_labels(files: SourceFiles, known: pl.Series, context: ReadContext) -> list[LabelerStates]:
    """Other labelers of the reports: CSVs in train.csv's form, and Plus's JSON lines."""
    account = context.account
    words = []
    for role, labeler in (_REPORT_CSV | _REPORT_JSON).items():
        if found := files.one(role):
            key = "Path" if role in _REPORT_CSV else "path_to_image"
            table = _labelled(found, key, context)
            table = without_repeats(with_image_keys(table, account, column=key), account, keys=["image_id"])
            frame = settle_matches(table, account, known, column="image_id")
            words.append(states([coded(frame, labeler, account, found.name)], labeler, account))
    return [word for word in words if word]


def _labelled(found: FoundFile, key: str, context: ReadContext) -> TextTable:
    if found.spec.kind == "jsonlines":
        return read_json_lines(found.path, name=found.name, account=context.account, columns=found.spec.columns)
    return read_csv(
        found.path, name=found.name, account=context.account, required=found.spec.columns, columns=[key, *LABELS]
    )
