"""From a reader's raw frames to the canonical tables of one dataset."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from cxrdata.harmonise.age import harmonise_age
from cxrdata.harmonise.labels import published, rolled_up
from cxrdata.harmonise.race import DEFAULT_SCHEME, harmonise_race
from cxrdata.harmonise.terms import harmonise_sex, harmonise_view
from cxrdata.schemas import tables
from cxrdata.schemas.names import ROLLED_SUFFIX
from cxrdata.schemas.tables import Table
from cxrdata.schemas.validate import conform, validate
from cxrdata.sources.account import Account
from cxrdata.sources.base import RawDataset, Source
from cxrdata.vocabularies import Vocabularies


@dataclass
class Canonical:
    """The validated tables of one dataset, by name, each with its definition."""

    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)

    def add(self, table: Table, frame: pl.DataFrame) -> None:
        self.frames[table.name] = frame
        self.tables[table.name] = table


def harmonise(
    raw: RawDataset,
    source: Source,
    vocabularies: Vocabularies,
    account: Account,
    *,
    race_rule: str = "majority",
    race_scheme: str = DEFAULT_SCHEME,
) -> Canonical:
    """Harmonise and validate one dataset; what is refused goes to `account`."""
    result = Canonical()
    images, patients = _images(raw, source, vocabularies, account, race_rule, race_scheme)
    result.add(tables.IMAGES, images)
    result.add(tables.STUDIES, _checked(_studies(images), tables.STUDIES))
    result.add(tables.PATIENTS, _checked(patients, tables.PATIENTS))
    exact = vocabularies.exact(source.name)
    boxes = tables.BOXES.empty()
    if raw.boxes is not None:
        boxes = raw.boxes.with_columns(
            dataset=pl.lit(source.name),
            finding=pl.col("native_label").replace_strict(exact, default=None, return_dtype=pl.String),
        )
        boxes = conform(boxes, tables.BOXES).sort(list(tables.BOXES.key), nulls_last=True)
    result.add(tables.BOXES, _checked(boxes, tables.BOXES))
    _labels(raw, source, vocabularies, account, result)
    if raw.readings is not None:
        labels = [c for c in raw.readings.columns if c not in ("image_id", "reader_id")]
        table = tables.readings(source.name, labels)
        result.add(table, _checked(conform(raw.readings, table).sort("image_id", "reader_id"), table))
    return result


def _checked(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Frames that are made from checked ones: a row that fails is a defect, and raises CXR-404."""
    sound, broken = validate(conform(frame, table), table)
    if not broken.is_empty():
        from cxrdata.errors import CxrError

        first = broken.row(0, named=True)
        raise CxrError(
            "CXR-404",
            f"{table.name}.{first['column_name']}: {first['message']} ({first['value']})",
            fix="this is a defect of cxrdata; please report it",
        )
    return sound


def _images(
    raw: RawDataset, source: Source, vocabularies: Vocabularies, account: Account, race_rule: str, race_scheme: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    frame = raw.images.with_columns(dataset=pl.lit(source.name))
    optional = ("patient_id", "study_id", "view_raw", "view_source", "sex_raw", "age_raw")
    frame = frame.with_columns(pl.lit(None, pl.String).alias(c) for c in optional if c not in frame.columns)
    if "study_date" not in frame.columns:
        frame = frame.with_columns(study_date=pl.lit(None, pl.Date))
    started = frame.select("source_file", "_line")
    if "attributes_file" in frame.columns:
        elsewhere = pl.col("attributes_file").is_not_null()
        frame = frame.with_columns(
            source_file=pl.coalesce("attributes_file", "source_file"), _line=pl.when(~elsewhere).then("_line")
        )
    frame = harmonise_age(frame, raw.age_form, source.entry["age"])
    account.reject_values(
        pl.col("source_file"), frame.filter("_age_unreadable"), "CXR-307", column="age_years", value="age_raw"
    )
    frame = harmonise_sex(frame, source.name, vocabularies, account)
    frame = frame.with_columns(started)
    frame = harmonise_view(frame, source.name, vocabularies, account)
    constants = {
        k: v for k, v in source.entry.get("images", {}).items() if k in tables.IMAGES.columns and k not in frame.columns
    }
    frame = frame.with_columns(pl.lit(value).alias(name) for name, value in constants.items())
    frame = _study_order(frame)
    frame = _refuse_invalid(frame, account)
    patients = _patients(frame, account)
    race = harmonise_race(
        raw.race, patients.select("patient_id"), source.name, vocabularies, account, rule=race_rule, scheme=race_scheme
    )
    patients = patients.join(race, on="patient_id", how="left", maintain_order="left").with_columns(
        dataset=pl.lit(source.name)
    )
    asked = race.select("patient_id", "race", "ethnicity", "race_ethnicity")
    frame = frame.drop("race", "ethnicity", "race_ethnicity").join(
        asked, on="patient_id", how="left", maintain_order="left"
    )
    return conform(frame, tables.IMAGES), patients.sort("patient_id")


def _study_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Where the dataset gives no order of its own: by date (and time), ties by study key."""
    if "study_order" in frame.columns and frame["study_order"].null_count() < frame.height:
        return frame
    if frame["study_date"].null_count() == frame.height or frame["study_id"].null_count() == frame.height:
        return frame.with_columns(study_order=pl.lit(None, pl.Int64))
    when = ["study_date", "study_time"] if "study_time" in frame.columns else ["study_date"]
    studies = frame.select("patient_id", "study_id", *when).filter(
        pl.col("study_id").is_not_null() & pl.col("study_date").is_not_null()
    )
    studies = studies.sort("patient_id", *when, "study_id").unique("study_id", keep="first", maintain_order=True)
    studies = studies.with_columns(study_order=pl.int_range(1, pl.len() + 1).over("patient_id"))
    return frame.drop("study_order", strict=False).join(
        studies.select("study_id", "study_order"), on="study_id", how="left", maintain_order="left"
    )


def _refuse_invalid(frame: pl.DataFrame, account: Account) -> pl.DataFrame:
    frame = frame.sort("patient_id", "study_id", "image_id", nulls_last=True, maintain_order=True)
    where = frame.select("source_file", "_line")
    sound, broken = validate(conform(frame, tables.IMAGES), tables.IMAGES)
    if not broken.is_empty():
        refused = pl.concat([where[broken["row"]], broken], how="horizontal")
        for (name,), rows in refused.group_by("source_file", maintain_order=True):
            lost = rows["row"].n_unique()
            account.settle(str(name), kept=-lost)
            account.entry(str(name)).rejected += lost
            for (faulty,), part in rows.group_by("column_name", maintain_order=True):
                account.reject_rows(
                    str(name),
                    part.rename({"value": str(faulty)}),
                    "CXR-213",
                    column=str(faulty),
                    message=pl.col("message"),
                    count=False,
                )
    return sound


def _patients(images: pl.DataFrame, account: Account) -> pl.DataFrame:
    known = images.filter(pl.col("patient_id").is_not_null())
    patients = known.group_by("patient_id").agg(
        _sexes=pl.col("sex").drop_nulls().n_unique(),
        sex=pl.col("sex").drop_nulls().min(),
        n_studies=pl.col("study_id").drop_nulls().n_unique(),
        n_images=pl.len(),
        age_min_years=pl.col("age_years").min(),
        age_max_years=pl.col("age_years").max(),
    )
    conflicting = patients.filter(pl.col("_sexes") > 1).height
    if conflicting:
        account.note(
            "disagreement",
            "sex",
            conflicting,
            "patients with images of different sex; the patient's sex is null, the images keep theirs",
        )
    return patients.with_columns(sex=pl.when(pl.col("_sexes") == 1).then("sex")).drop("_sexes").sort("patient_id")


def _studies(images: pl.DataFrame) -> pl.DataFrame:
    known = images.filter(pl.col("study_id").is_not_null())
    studies = known.group_by("dataset", "study_id").agg(
        patient_id=pl.col("patient_id").min(),
        study_date=pl.col("study_date").min(),
        study_order=pl.col("study_order").min(),
        n_images=pl.len(),
    )
    return studies.sort("patient_id", "study_id", nulls_last=True)


def _labels(raw: RawDataset, source: Source, vocabularies: Vocabularies, account: Account, result: Canonical) -> None:
    """The wide table of each labeler, and for every image the findings of the labeler that its dataset prefers."""
    images = result.frames["images"].select("image_id")
    preference = [spec.name for spec in source.labelers]
    exact, upward = vocabularies.exact(source.name), vocabularies.upward(source.name)
    chosen: list[pl.DataFrame] = []
    overridden: dict[str, int] = {}
    left = images
    for labels in sorted(raw.labels, key=lambda labels: preference.index(labels.labeler)):
        table = tables.states(source.name, labels.labeler, labels.native_labels)
        frame = images.join(conform(labels.frame, table), on="image_id", how="inner", maintain_order="left")
        result.add(table, _checked(frame, table))
        first = (
            frame
            if left.height == images.height
            else frame.join(left, on="image_id", how="semi", maintain_order="left")
        )
        if first.is_empty():
            continue
        left = left.join(first, on="image_id", how="anti", maintain_order="left")
        native = first.select(labels.native_labels)
        reached = {
            above
            for label in labels.native_labels
            for finding in upward.get(label, ())
            for above in vocabularies.ancestors[finding]
        }
        findings = [finding for finding in vocabularies.finding_names if finding in reached]
        base = published(native, exact, findings)
        rolled, counts = rolled_up(native, base, vocabularies, source.name)
        for finding, n in counts.items():
            overridden[finding] = overridden.get(finding, 0) + n
        key = first.select("image_id", labeler=pl.lit(labels.labeler))
        chosen.append(key.hstack(base).hstack(rolled.select(pl.all().name.suffix(ROLLED_SUFFIX))))
    for finding, n in sorted(overridden.items()):
        account.note(
            "rollup",
            finding,
            n,
            "explicit negatives of image_labels that a positive below them overrides in image_labels_rolled",
        )
    _compact(images, chosen, source.name, vocabularies.finding_names, result)


def _compact(
    images: pl.DataFrame, chosen: list[pl.DataFrame], dataset: str, findings: list[str], result: Canonical
) -> None:
    """One row an image; a column only for findings that say something, a rolled one only where the roll-up changes it."""
    codes = images.with_columns(labeler=pl.lit(None, pl.String))
    if chosen:
        codes = images.join(pl.concat(chosen, how="diagonal"), on="image_id", how="left", maintain_order="left")
    assessed = [finding for finding in findings if finding in codes.columns]
    present = [finding for finding in assessed if codes[finding].null_count() < codes.height]
    changed = [finding for finding in assessed if not codes[finding].equals(codes[finding + ROLLED_SUFFIX])]
    table = tables.label_codes(dataset, present, changed)
    result.add(table, _checked(codes, table))
