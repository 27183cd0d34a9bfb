"""Image and study keys from the paths that CheXpert's files give.

The same image is `CheXpert-v1.0-small/train/…`, `CheXpert-v1.0/train/…`, `train/…` (Plus) or, where a path was
rewritten to the AIMI download's folders, `CheXpert-v1.0 batch 2 (train 1)/…`. The key is what all share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.sources.rows import with_sound_keys
from cxrdata.sources.textfile import TextTable

if TYPE_CHECKING:
    from cxrdata.sources.account import Account

# The split's folder; in the batches of the AIMI download its name ends in `(train 1)` or `(validate & csv)`.
SPLIT = r"(?:^|[/(])(train|valid|test)(?: \d+\)|ate & csv\))?/"
_STUDY = r"patient\d{5,}/study\d+"
_IMAGE = _STUDY + r"/view\d+_(?:frontal|lateral)\.jpg"
_STUDY_FORM = "train|valid|test/patient00001/study1"
PATIENT = r"^patient\d{5,}$"


def with_image_keys(table: TextTable, account: Account, *, column: str) -> TextTable:
    """Replace the path in `column` by `image_id`, `train/patient00001/study1/view1_frontal.jpg`.

    Rows without a path (CXR-206) or with another kind of path (CXR-207) are refused.
    """
    return _with_keys(
        table, account, column=column, pattern=_IMAGE, key="image_id", form=f"{_STUDY_FORM}/view1_frontal.jpg"
    )


def with_study_keys(table: TextTable, account: Account, *, column: str) -> TextTable:
    """Replace the path in `column` by `study_path`, `test/patient64741/study1`; refusals as for images."""
    return _with_keys(table, account, column=column, pattern=_STUDY, key="study_path", form=_STUDY_FORM)


def _with_keys(table: TextTable, account: Account, *, column: str, pattern: str, key: str, form: str) -> TextTable:
    plain = pl.col(column).str.extract(rf"(?:^|/)((?:train|valid|test)/{pattern})$", 1)
    frame = table.frame.with_columns(plain.alias(key))
    if frame[key].null_count():  # paths of the batches, or no paths at all
        parts = pl.col(column).str.strip_chars().str.extract_groups(rf"{SPLIT}({pattern})/?$").struct
        rewritten = pl.concat_str(parts[0], parts[1], separator="/")
        frame = frame.with_columns(pl.when(pl.col(key).is_null()).then(rewritten).otherwise(key).alias(key))
    malformed = frame[key].is_null() & frame[column].is_not_null()
    if malformed.any():
        account.reject_rows(
            table.source_file,
            frame.filter(malformed),
            "CXR-207",
            column=column,
            message=f"{column} does not end in {form}",
        )
        frame = frame.filter(~malformed)
    table = with_sound_keys(TextTable(frame, table.source_file), account, column=column)
    return TextTable(table.frame.drop(column), table.source_file)


def with_path_parts(images: pl.DataFrame) -> pl.DataFrame:
    """Add what `image_id` says: `path`, `source_split`, `patient_id`, `study_id`, `_study_number`, and
    `_projection` (`frontal` or `lateral`).
    """
    parts = pl.col("image_id").str.splitn("/", 4).struct
    frame = images.with_columns(source_split=parts[0], patient_id=parts[1], _study=parts[2], _view=parts[3])
    return frame.with_columns(
        path="image_id",
        study_id=pl.concat_str("patient_id", "_study", separator="/"),
        _study_number=pl.col("_study").str.strip_prefix("study").cast(pl.Int64),
        _projection=pl.when(pl.col("_view").str.ends_with("_lateral.jpg"))
        .then(pl.lit("lateral"))
        .otherwise(pl.lit("frontal")),
    ).drop("_study", "_view")
