"""Truth and groups from one file: private data are audited without a catalog, and never enter one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import polars as pl

from cxrdata.annotate.key_column import KeyColumn
from cxrdata.annotate.tabular import read_table
from cxrdata.audit.names import LabelNames, plain
from cxrdata.audit.policies import Policy
from cxrdata.audit.truth import KEY, LEFT_OUT_SCHEMA, NOT_SPLIT, Judged, class_states
from cxrdata.errors import CxrError, nearest
from cxrdata.harmonise.age import age_group_in
from cxrdata.splits.attributes import SCHEME
from cxrdata.splits.binary import Binary
from cxrdata.splits.from_file import FileRows
from cxrdata.vocabularies import Vocabularies

DATASET = "file"
_PATIENT = ("patient_id", "patient", "patientid", "subject_id", "subject")
_AGE = ("age_years", "age", "patient_age")
_DRAWS = "n_draws"
_HEALTHY = "healthy"
# A state as people write it.
_STATES = {
    **dict.fromkeys(("1", "1.0", "true", "yes", "positive", "pos"), 1),
    **dict.fromkeys(("0", "0.0", "false", "no", "negative", "neg"), 0),
    **dict.fromkeys(("-1", "-1.0", "uncertain"), -1),
}
_NOT_WORD = re.compile(r"^\s*$")


class FileTruth:
    """A CSV or Parquet file with one row an image: its key, its labels (1, 0, -1, blank; or positive, negative, uncertain),
    groups, and a patient column where it has one (`patient_id`, `patient`, `subject_id`).

    Raises CxrError: those of `annotate.tabular.read_table`, CXR-101 not there.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise CxrError("CXR-101", "this file does not exist", where=path.name, fix="name a CSV or Parquet file")
        self.path = path
        self.table, self.remarks = read_table(path)
        self.rows = FileRows(path, self.table)
        self._key: str | None = None

    def _column(self, names: Sequence[str]) -> str | None:
        """The column that is called so, in any spelling."""
        called = {plain(column): column for column in reversed(self.table.columns)}
        return next((called[name] for name in names if name in called), None)

    def keyed(self, frame: pl.DataFrame, where: str, key: str | None) -> KeyColumn:
        """The columns of both files that share most values; keys are compared as they stand, blanks around them aside.

        Raises CxrError: CXR-128 an image twice in the truth; CXR-501 no column `key`; CXR-504 nothing in common.
        """
        if key is not None and key not in frame.columns:
            known = ", ".join(frame.columns)
            raise CxrError(
                "CXR-501",
                f"there is no column {key!r}{nearest(key, frame.columns)}",
                where=where,
                fix=f"columns: {known}",
            )
        named = [key] if key else [name for name in frame.columns if _may_be_key(frame[name])]
        own = [self._key] if self._key else [name for name in self.table.columns if _may_be_key(self.table[name])]
        best: tuple[str, str] | None = None
        shared = 0
        for ours in own:
            values = _text(self.table[ours])
            if values.null_count() or _NOT_WORD.match("".join(values.head(1).to_list())):
                continue
            for theirs in named:
                # A key names each row of its own; a column of states or groups shares values too.
                common = _text(frame[theirs]).filter(_text(frame[theirs]).is_in(values.implode())).n_unique()
                if common > shared:
                    best, shared = (ours, theirs), common
        if best is None:
            raise CxrError(
                "CXR-504",
                f"no column has values in common with one of {self.path.name}",
                where=where,
                fix="give both files the same image ids, in the same spelling, or name the column with --key",
            )
        self._key = best[0]
        self._check_once()
        values = _text(frame[best[1]])
        here = values.is_in(_text(self.table[best[0]]).implode()).fill_null(value=False)
        resolved = pl.select(
            dataset=pl.when(here).then(pl.lit(DATASET)),
            image_id=pl.when(here).then(values),
            reason=pl.when(~here).then(pl.lit(f"not in {self.path.name}")),
            form=pl.lit(None, pl.String),
        )
        return KeyColumn(best[1], resolved, int(here.sum()))

    def _check_once(self) -> None:
        assert self._key is not None
        again = (~_text(self.table[self._key]).is_first_distinct()).arg_true()
        if len(again):
            at = int(again[0])
            raise CxrError(
                "CXR-128",
                f"the image {self.table[self._key][at]!r} stands here a second time",
                where=self.rows.place(at, self._key),
                fix="give each image one row; draws go into a column n_draws",
            )

    def names(self, datasets: Sequence[str]) -> LabelNames:
        """A label is a column of this file, under any spelling or any dataset's name of the same finding; a class is a value
        of one of its columns `race` and `sex`."""
        words = Vocabularies.load()
        races = words.race["race"].drop_nulls().unique().sort().to_list()
        general = LabelNames.of(words.finding_names, words.label_map, races, datasets)
        states = [column for column in self.table.columns if column != self._key and self._holds_states(column)]
        by_meaning = {general.find(column): column for column in states if general.find(column)}
        findings = {plain(column): column for column in states}
        findings |= {
            name: by_meaning[one]
            for name, one in general.findings.items()
            if one in by_meaning and name not in findings
        }
        present = {column for column in ("race", "sex") if column in self.table.columns}
        classes = {name: one for name, one in general.classes.items() if one[0] in present and name not in findings}
        return LabelNames(findings, classes)

    def _holds_states(self, column: str) -> bool:
        """Whether most cells are states; a single odd one is to be shown, not to hide the label."""
        text = _text(self.table[column]).str.to_lowercase().drop_nulls()
        return len(text) > 0 and int(text.is_in(list(_STATES)).sum()) * 2 > len(text)

    def subset(self, text: str, parts: Sequence[str]) -> pl.DataFrame:  # noqa: ARG002 - as the catalog has it
        """Refused: a split is of a catalog."""
        raise CxrError(
            "CXR-502",
            f"the split {text!r} is of a catalog, and the truth comes from {self.path.name}",
            fix="leave the rows of other parts out of the file, and leave --split out",
        )

    def everything(self) -> pl.DataFrame:
        assert self._key is not None
        return self._images.select(KEY)

    @cached_property
    def _images(self) -> pl.DataFrame:
        """dataset, image_id, unit, and all columns of the file behind `:` prefixes that no name of ours can meet."""
        assert self._key is not None
        patient = self._column(_PATIENT)
        key = _text(self.table[self._key])
        unit = pl.coalesce(_text(self.table[patient]), key) if patient else key
        return self.table.select(
            pl.lit(DATASET).alias("dataset"),
            key.alias("image_id"),
            pl.select(unit).to_series().alias("unit"),
            *(pl.col(name).alias(f":{name}") for name in self.table.columns),
        )

    def judged(
        self, images: pl.DataFrame, labels: Sequence[str], by: Sequence[str], policy: Policy, among: str | None
    ) -> Judged:
        """As `TruthSource` has it. Raises CxrError: CXR-128 a state that is none; CXR-501 no such group column."""
        whole = images.sort(KEY).join(self._images, on=KEY, how="left", maintain_order="left")
        if among is not None:
            whole = whole.filter(self._healthy(whole))
        if f":{_DRAWS}" in whole.columns:
            whole = whole.with_columns(weight=pl.col(f":{_DRAWS}").cast(pl.Float64)).filter(pl.col("weight") > 0)
        attributes = {
            one: of for one, of in self.names(()).attributes.items() if one in labels and one not in self.table.columns
        }
        states: dict[str, pl.Series] = {}
        left = []
        for label in labels:
            if label in attributes:
                continue
            codes = self._codes(whole[f":{label}"], label)
            state = policy.decide(codes, label)
            states[label] = state.alias(label)
            left += [(label, reason.removesuffix(" or not assessed"), n) for reason, n in policy.left_out(codes, state)]
        classes, left_classes = class_states(
            whole.select(pl.col(f":{of}").alias(of) for of in dict.fromkeys(attributes.values())), attributes
        )
        groups = whole.select(self._group(whole, name) for name in by)
        patient = self._column(_PATIENT)
        return Judged(
            whole.select(*KEY, "weight", "unit"),
            pl.DataFrame([(states | classes)[label] for label in labels]),
            {label: attributes.get(label, self.path.name) for label in labels},
            policy.stated([one for one in labels if one not in attributes]) | dict.fromkeys(attributes, NOT_SPLIT),
            groups,
            {name: self._order(name, groups[name]) for name in by},
            pl.concat([pl.DataFrame(left, schema=LEFT_OUT_SCHEMA, orient="row"), left_classes]),
            int(whole[f":{patient}"].is_null().sum()) if patient else whole.height,
            self._ages(whole),
            attributes,
        )

    def _healthy(self, whole: pl.DataFrame) -> pl.Series:
        if f":{_HEALTHY}" not in whole.columns:
            raise CxrError(
                "CXR-501",
                "the file has no column 'healthy'",
                where=self.path.name,
                fix="add one with 1 and 0, or leave --among out",
            )
        return (self._codes(whole[f":{_HEALTHY}"], _HEALTHY) == 1).fill_null(value=False)

    def _codes(self, values: pl.Series, label: str) -> pl.Series:
        """1, 0, -1, null of a column of states."""
        text = _text(values).str.to_lowercase()
        codes = text.replace_strict(_STATES, default=None, return_dtype=pl.Int8)
        strange = values.filter(text.is_not_null() & codes.is_null())
        if len(strange):
            at = int((_text(self.table[label]) == str(strange[0]).strip()).arg_true()[0])
            raise CxrError(
                "CXR-128",
                f"{strange[0]!r} is no state of a label",
                where=self.rows.place(at, label),
                fix="write 1, 0, -1 or leave the cell blank (positive, negative, uncertain are understood)",
            )
        return codes

    def _ages(self, whole: pl.DataFrame) -> pl.Series:
        age = self._column(_AGE)
        nobody = pl.Series([None] * whole.height, dtype=pl.Float64)
        return whole[f":{age}"].cast(pl.Float64, strict=False) if age is not None else nobody

    def _ranges(self, whole: pl.DataFrame) -> pl.DataFrame:
        """A whole number of years is a range: who is 17 is not yet 18."""
        years = self._ages(whole)
        return pl.select(
            age_low_years=years, age_high_years=pl.when(years == years.floor()).then(years + 1).otherwise(years)
        )

    def age_groups(self) -> pl.DataFrame:
        return Vocabularies.load().age_groups

    def _group(self, whole: pl.DataFrame, name: str) -> pl.Series:
        if f":{name}" in whole.columns:
            return _text(whole[f":{name}"]).alias(name)
        if name.startswith(SCHEME) and self._column(_AGE) is not None:
            schemes = self.age_groups()
            scheme = name.removeprefix(SCHEME)
            if scheme in schemes["scheme"]:
                group = age_group_in(schemes.filter(scheme=scheme)).alias(name)
                return self._ranges(whole).select(group).to_series()
        if (binary := Binary.parse(name)) is not None:
            if binary.above is not None and self._column(_AGE) is not None:
                return self._ranges(whole).select(binary.expression(pl.lit(None))).to_series()
            if f":{binary.of}" in whole.columns:
                return pl.select(binary.expression(pl.lit(_text(whole[f":{binary.of}"])))).to_series()
        known = [column for column in self.table.columns if column != self._key]
        raise CxrError(
            "CXR-501",
            f"there is no column {name!r}{nearest(name, known)}",
            where=self.path.name,
            fix=f"group by one of {', '.join(known)}, or age_group:SCHEME with a column age_years",
        )

    def _order(self, name: str, values: pl.Series) -> tuple[str, ...]:
        present = set(values.drop_nulls().unique().to_list())
        if name.startswith(SCHEME) and name not in self.table.columns:
            groups = self.age_groups().filter(scheme=name.removeprefix(SCHEME)).sort("group_order")
            return tuple(group for group in groups["age_group"].to_list() if group in present)
        return tuple(sorted(present))


def _may_be_key(values: pl.Series) -> bool:
    return values.dtype == pl.String or values.dtype.is_integer()


def _text(values: pl.Series) -> pl.Series:
    """As text without blanks around it; empty is null."""
    text = values.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)
