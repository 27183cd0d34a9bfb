"""The analysis: every model judged on its test, the sets counted and checked, what switching units off does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.wording import counted
from cxrtrain.probe.rows import SCHEMA as PROBE
from cxrtrain.studies.implicit_attributes.design import ORIGIN_NAMES, ORIGINS, RACES, Wish
from cxrtrain.studies.implicit_attributes.evaluate import CONFUSION, EVALUATION, ROC, judge
from cxrtrain.studies.implicit_attributes.files import Read
from cxrtrain.studies.implicit_attributes.sets import CHECKS, COUNTS, count_sets

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

ABLATION = {"model": pl.String, **PROBE}
MODELS = "models"
_TABLES = {
    "sets": COUNTS, "checks": CHECKS, "evaluation": EVALUATION, "confusion": CONFUSION, "roc": ROC, "ablation": ABLATION,
}  # fmt: skip
_NOTES = "notes.json"
FILES = tuple(f"{name}.csv" for name in _TABLES)


@dataclass(frozen=True)
class Analysis:
    """What came of it, a frame a table. planted: the race whose phantoms bear a mark; empty where
    none does, None where it is not known how the pictures came about."""

    sets: pl.DataFrame
    checks: pl.DataFrame
    evaluation: pl.DataFrame
    confusion: pl.DataFrame
    roc: pl.DataFrame
    ablation: pl.DataFrame
    notes: list[str] = field(default_factory=list)
    synthetic: bool = False
    planted: str | None = None

    def save(self, folder: Path) -> None:
        """Write every table, and the notes."""
        for name in _TABLES:
            getattr(self, name).write_csv(folder / f"{name}.csv")
        said = {"notes": self.notes, "synthetic": self.synthetic, "planted": self.planted}
        (folder / _NOTES).write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Analysis:
        """What `save` wrote."""
        tables = {name: pl.read_csv(folder / f"{name}.csv", schema=schema) for name, schema in _TABLES.items()}
        said = json.loads((folder / _NOTES).read_text(encoding="utf-8"))
        return cls(**tables, notes=said["notes"], synthetic=said["synthetic"], planted=said["planted"])


def analyse(
    read: Read,
    folder: Path,
    wish: Wish,
    *,
    catalog: Catalog | None = None,
    splits: Mapping[int, str] | None = None,
    synthetic: bool = False,
    planted: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Analysis:
    """The whole analysis; of each model also predictions.csv and evaluation.json in a folder of `folder`/models.

    splits: the catalog's sets, by images a patient. Raises those of `cxrdata.audit`.
    """
    judged = []
    for one in read.models:
        tell(one.model.name)
        judged.append(judge(one, folder / MODELS / one.model.name, wish))
    notes = [*read.notes, *_remarks({one.model.name: own.notes for one, own in zip(read.models, judged, strict=True)})]
    sets, checks = pl.DataFrame(schema=COUNTS), pl.DataFrame(schema=CHECKS)
    if catalog is not None and splits:
        tell("counting the sets")
        sets, checks = count_sets(catalog, splits, min_cell=wish.min_cell)
    else:
        notes.append("the sets are not counted: that takes a catalog (-c)")
    evaluation = pl.concat([pl.DataFrame(schema=EVALUATION), *(one.evaluation for one in judged)])
    ablation = pl.concat([pl.DataFrame(schema=ABLATION), *read.probes])
    return Analysis(
        sets, checks, evaluation, pl.concat([pl.DataFrame(schema=CONFUSION), *(one.confusion for one in judged)]),
        pl.concat([pl.DataFrame(schema=ROC), *(one.roc for one in judged)]), ablation,
        [*notes, *_missing(evaluation, ablation, notes)], synthetic, planted,
    )  # fmt: skip


def _remarks(notes: Mapping[str, list[str]]) -> list[str]:
    """What the audit remarked, each once, with the models that it holds of."""
    of: dict[str, list[str]] = {}
    for model, own in notes.items():
        for note in own:
            of.setdefault(note, []).append(model)
    return [
        f"{'all models' if len(models) == len(notes) > 1 else ', '.join(models)}: {note}" for note, models in of.items()
    ]


def _missing(evaluation: pl.DataFrame, ablation: pl.DataFrame, said: Sequence[str]) -> list[str]:
    """Parts of the two experiments that are not here, but for those that notes have `said` already."""
    notes = []
    of_race = evaluation.filter(pl.col("label").is_in(RACES))
    there = set(of_race["origin"].drop_nulls())
    if of_race.height and (
        lacking := [
            ORIGIN_NAMES[one]
            for one in ORIGINS
            if one not in there and not any(note.startswith(f"{one} is left out") for note in said)
        ]
    ):
        notes.append(
            f"experiment 1: no model of race by {counted(len(lacking), 'backbone')} that the study compares: {', '.join(lacking)}"
        )
    if ablation.filter(pl.col("units") != "none").is_empty():
        notes.append(
            "experiment 2: units are switched off in a model, not in predictions, and no table of `cxrdata probe` is here"
        )
    return notes
