"""What is known of the images to be audited: truth by label, patient, weight, groups; from a catalog.

A file can stand in for the catalog (`truth_file.py`); both answer the same three questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import polars as pl

from cxrdata.annotate.key_column import KeyColumn, find_key_column
from cxrdata.annotate.run import stated_datasets
from cxrdata.audit.names import LabelNames
from cxrdata.audit.policies import Policy
from cxrdata.errors import CxrError, nearest
from cxrdata.keys import KeyIndex, key_forms
from cxrdata.sources.base import UNCERTAIN
from cxrdata.splits.attributes import SCHEME, with_attributes
from cxrdata.splits.members import known_datasets
from cxrdata.splits.row_numbers import number_column
from cxrdata.splits.stored import open_split
from cxrdata.store.label_frames import BuildVocabularies

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

KEY = ["dataset", "image_id"]
NOT_SPLIT = "none"  # what stands for the policy of a class, which nobody left open
AMONG = ("healthy",)


@dataclass(frozen=True)
class Judged:
    """The images to be audited, sorted by key.

    frame: dataset, image_id, unit (the patient; the image where the source has none), weight (draws). states: one column a
    label, Boolean, null where the truth is not known or left open. truth: label -> who judged; classes: class ->
    attribute, of the labels that are such. groups: by -> String column; values: by -> its values in order. ages: years. left_out: label, reason, images. without_patient: images that have no patient.
    """

    frame: pl.DataFrame
    states: pl.DataFrame
    truth: dict[str, str]
    policy: dict[str, str]
    groups: pl.DataFrame
    values: dict[str, tuple[str, ...]]
    left_out: pl.DataFrame
    without_patient: int
    ages: pl.Series
    classes: dict[str, str]
    notes: list[str] = field(default_factory=list)


LEFT_OUT_SCHEMA = {"label": pl.String, "reason": pl.String, "images": pl.Int64}


class TruthSource(Protocol):
    """Where images, truth and groups come from."""

    def keyed(self, frame: pl.DataFrame, where: str, key: str | None) -> KeyColumn:
        """The column with the image key, and the images that it names."""

    def names(self, datasets: Sequence[str]) -> LabelNames:
        """What the names of labels mean in files about these datasets."""

    def subset(self, text: str, parts: Sequence[str]) -> pl.DataFrame:
        """dataset, image_id, weight of `NAME[:PART]` of the splits; without a part, of the first of `parts` that it has."""

    def everything(self) -> pl.DataFrame:
        """dataset, image_id of all images in question."""

    def judged(
        self, images: pl.DataFrame, labels: Sequence[str], by: Sequence[str], policy: Policy, among: str | None
    ) -> Judged:
        """What is known of images (dataset, image_id, weight)."""

    def age_groups(self) -> pl.DataFrame:
        """The schemes of age groups: scheme, group_order, age_group, low_years, high_years."""


class CatalogTruth:
    """Truth and groups of a catalog. datasets: only their images, where any are named; labeler: None for the one that each
    dataset prefers.

    Raises CxrError CXR-501 for datasets that the build does not have.
    """

    def __init__(self, catalog: Catalog, *, datasets: Sequence[str] = (), labeler: str | None = None) -> None:
        self.catalog = catalog
        self.datasets = known_datasets(catalog, datasets)
        self.labeler = labeler

    @cached_property
    def _index(self) -> KeyIndex:
        return KeyIndex.of(self.catalog.table("images"), key_forms(self.catalog.manifest))

    def keyed(self, frame: pl.DataFrame, where: str, key: str | None) -> KeyColumn:
        """As `TruthSource` has it. Raises CxrError: CXR-112 images of other datasets than those named; CXR-501, CXR-502, CXR-504."""
        try:
            found = find_key_column(frame, self._index, key=key, datasets=stated_datasets(frame))
        except CxrError as error:
            error.where = error.where or where
            if error.problem.startswith("no column") and number_column(frame, key) is not None:
                error.fix = (
                    f"{error.fix}; rows that are named by number alone need a keyed file in their order (--order FILE)"
                )
            raise
        if not self.datasets:
            return found
        resolved = found.resolved
        present = resolved["dataset"].drop_nulls().unique().sort().to_list()
        if not set(present) & set(self.datasets):
            raise CxrError(
                "CXR-112",
                f"{found.column!r} holds images of {', '.join(present)}, none of {', '.join(self.datasets)}",
                where=where,
                fix=f"ask for --dataset {present[0]}, or give predictions of {self.datasets[0]}",
            )
        ours = pl.col("dataset").is_in(self.datasets)
        kept = resolved.select(
            pl.when(ours).then("dataset").alias("dataset"),
            pl.when(ours).then("image_id").alias("image_id"),
            pl.when(pl.col("image_id").is_not_null() & ~ours)
            .then(pl.lit("of a dataset that was not asked for"))
            .otherwise("reason")
            .alias("reason"),
            "form",
        )
        return KeyColumn(found.column, kept, int(kept["image_id"].is_not_null().sum()), found.rivals)

    @cached_property
    def _races(self) -> list[str]:
        return self.catalog.table("race_map").select("race").collect()["race"].drop_nulls().unique().sort().to_list()

    def names(self, datasets: Sequence[str]) -> LabelNames:
        vocabularies = BuildVocabularies((), catalog=self.catalog)
        return LabelNames.of(vocabularies.finding_names, vocabularies.label_map, self._races, datasets)

    def subset(self, text: str, parts: Sequence[str]) -> pl.DataFrame:
        """As `TruthSource` has it. Raises CxrError CXR-501 for an unknown split or part."""
        name, _, part = text.partition(":")
        split = open_split(self.catalog, name)
        known = split["split"].unique().sort().to_list()
        part = part or next((one for one in parts if one in known), parts[0])
        if part not in known:
            raise CxrError(
                "CXR-501",
                f"the split {name} has no part {part!r}{nearest(part, known)}",
                fix=f"name one of its parts, such as {name}:{known[0]} (parts: {', '.join(known)})",
            )
        drawn = "n_draws" in split.columns
        weight = pl.col("n_draws").fill_null(1).cast(pl.Float64) if drawn else pl.lit(1.0)
        rows = split.filter(pl.col("split") == part).select(*KEY, weight=weight)
        if self.datasets:
            rows = rows.filter(pl.col("dataset").is_in(self.datasets))
        return pl.DataFrame(rows).filter(pl.col("weight") > 0)

    def everything(self) -> pl.DataFrame:
        images = self.catalog.table("images").select(KEY).collect()
        return images.filter(pl.col("dataset").is_in(self.datasets)) if self.datasets else images

    def judged(
        self, images: pl.DataFrame, labels: Sequence[str], by: Sequence[str], policy: Policy, among: str | None
    ) -> Judged:
        """As `TruthSource` has it. Raises CxrError: CXR-125 nobody is healthy; CXR-501 unknown attributes, labelers."""
        images = images.sort(KEY)
        healthy = (
            with_attributes(self.catalog, images.select(KEY), ["healthy"])["healthy"] == "healthy" if among else None
        )
        if healthy is not None:
            images = images.filter(healthy.fill_null(value=False))
        patients = self.catalog.table("images").select(*KEY, "patient_id", "age_years").collect()
        frame = images.join(patients, on=KEY, how="left", maintain_order="left")
        unknown = int(frame["patient_id"].is_null().sum())
        ages = frame["age_years"]
        unit = pl.concat_str(["dataset", pl.coalesce("patient_id", "image_id")], separator=":")
        frame = frame.select(*KEY, "weight", unit=unit)
        attributes = {label: self._attributes[label] for label in labels if label in self._attributes}
        findings = [label for label in labels if label not in attributes]
        states, truth, left = self._findings(frame, findings, policy, among=among)
        known = with_attributes(self.catalog, frame, [*by, *dict.fromkeys(attributes.values())])
        classes, left_classes = class_states(known, attributes)
        stated = policy.stated(findings) if among is None else dict.fromkeys(findings, f"{policy.name}, among {among}")
        return Judged(
            frame,
            pl.DataFrame([(states | classes)[label] for label in labels]),
            truth | attributes,
            stated | dict.fromkeys(attributes, NOT_SPLIT),
            known.select(by),
            {name: self.order_of(name, known[name]) for name in by},
            pl.concat([left, left_classes]),
            unknown,
            ages,
            attributes,
        )

    def age_groups(self) -> pl.DataFrame:
        return self.catalog.table("age_groups").sort("scheme", "group_order").collect()

    @property
    def _attributes(self) -> dict[str, str]:
        return self.names(()).attributes

    def order_of(self, name: str, values: pl.Series) -> tuple[str, ...]:
        """The values of an attribute that there are: age groups by age, others by name."""
        present = set(values.drop_nulls().unique().to_list())
        if name.startswith(SCHEME) or name == "age_group":
            name = name if name.startswith(SCHEME) else SCHEME + "pediatric_adult"
            groups = self.age_groups().filter(scheme=name.removeprefix(SCHEME))
            return tuple(group for group in groups["age_group"].to_list() if group in present)
        return tuple(sorted(present))

    def _findings(
        self, frame: pl.DataFrame, findings: list[str], policy: Policy, *, among: str | None
    ) -> tuple[dict[str, pl.Series], dict[str, str], pl.DataFrame]:
        """The states of findings, who judged them, and what was left open."""
        if not findings:
            return {}, {}, pl.DataFrame(schema=LEFT_OUT_SCHEMA)
        # An image is healthy because its labeler found nothing: what it knows and did not mention is not there.
        wishes = policy.stated(findings) if among is None else dict.fromkeys(findings, "zeros")
        raw, decided = (self._codes(frame, findings, wish) for wish in ("raw", wishes))
        states: dict[str, pl.Series] = {}
        left, truth = [], {}
        for finding in findings:
            code, said = decided[finding], raw[finding]
            known = code.is_in([0, 1]) & ((said != UNCERTAIN).fill_null(value=True) if among else True)
            state = pl.select(pl.when(known).then(code == 1)).to_series()
            states[finding] = state.alias(finding)
            judged = raw["labeler"].filter(state.is_not_null()).unique().sort().to_list()
            truth[finding] = "+".join(judged)
            left += [(finding, *one) for one in policy.left_out(said, state)]
        return states, truth, pl.DataFrame(left, schema=LEFT_OUT_SCHEMA, orient="row")

    def _codes(self, frame: pl.DataFrame, findings: list[str], policy: str | dict[str, str]) -> pl.DataFrame:
        """The label codes of the images, with their labeler. Raises CxrError CXR-124 where the labeler saw none of them."""
        datasets = frame["dataset"].unique().sort().to_list()
        parts = [
            self.catalog.labels(dataset=one, labeler=self.labeler, findings=findings, policy=policy)
            for one in datasets
            if self._assesses(one)
        ]
        if not parts:
            self.catalog.labels(labeler=self.labeler, findings=findings)  # raises where no dataset has such a labeler
            problem = f"{self.labeler} has labelled none of {', '.join(datasets)}"
            raise CxrError("CXR-124", problem, fix="name another labeler with --truth, or leave it out")
        return frame.select(KEY).join(pl.concat(parts), on=KEY, how="left", maintain_order="left")

    def _assesses(self, dataset: str) -> bool:
        return self.labeler is None or self.labeler in [one for one, _ in self.catalog.manifest["labelers"][dataset]]


def class_states(known: pl.DataFrame, attributes: dict[str, str]) -> tuple[dict[str, pl.Series], pl.DataFrame]:
    """One-vs-rest states of classes: among the images whose attribute is one of the classes that were predicted.

    known: the attributes as columns. attributes: class -> its attribute. Returns the states and what was left out.
    """
    states: dict[str, pl.Series] = {}
    left = []
    for value, attribute in attributes.items():
        others = [one for one, of in attributes.items() if of == attribute]
        judged = known[attribute].is_in(others)
        state = pl.select(pl.when(judged).then(known[attribute] == value)).to_series()
        states[value] = state.alias(value)
        left.append((value, f"{attribute} unknown", int(known[attribute].is_null().sum())))
        left.append((value, f"{attribute} is none of {', '.join(others)}", int((~judged).sum())))
    rows = [row for row in left if row[2]]
    return states, pl.DataFrame(rows, schema=LEFT_OUT_SCHEMA, orient="row")
