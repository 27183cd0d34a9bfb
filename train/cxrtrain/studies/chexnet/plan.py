"""The stages of the study from anyone's predictions to the page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrtrain.studies.chexnet.analyse import Analysis, Given, Wish, analyse
from cxrtrain.studies.chexnet.predictions import digests, find_files
from cxrtrain.studies.stages import Plan, Stage, Work, study_digest

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

STAGES = "stages"
ANALYSE, REPORT = "analyse", "report"
# What ends up in the folder that was named; everything else stays with its stage.
OUTPUTS = {
    ANALYSE: ("aucs.csv", "audit.csv", "auroc_by_group.csv"),
    REPORT: ("report.html", "published.csv", "figures"),
}


def plan_of_predictions(
    out: Path, place: Path, catalog: Catalog | None, wish: Wish, *, order: Path | None = None, split: str | None = None
) -> Plan:
    """analyse → report. Raises CxrError: those of `find_files`, and CXR-501 no such split."""
    assert catalog is not None  # the command takes the default one where none is named
    inputs = {
        "files": digests(place, order),
        "catalog": catalog.build.build_id,
        "split": None if split is None else [split, _split_digest(catalog, split)],
        **wish_inputs(wish),
    }

    def work(on: Work) -> None:
        analyse(Given(find_files(place), catalog, order, split), wish, tell=on.tell).save(on.folder)

    return Plan(out / STAGES, [Stage(ANALYSE, work, inputs=inputs), report_stage()])


def wish_inputs(wish: Wish) -> dict[str, Any]:
    """What a result depends on of a wish, and of the code."""
    return {"wish": {name: value for name, value in asdict(wish).items() if name != "threads"}, "code": study_digest()}


def _split_digest(catalog: Catalog, split: str) -> str:
    """What the split is made of: another one of the same name is another input."""
    from cxrdata.stages import sha256_file

    name = split.partition(":")[0]
    catalog.split(name)  # raises where there is none
    return sha256_file(catalog.folder.splits / name / "manifest.json")


def report_stage() -> Stage:
    """The page and its figures."""

    def work(on: Work) -> None:
        from cxrtrain.studies.chexnet.report import write_report

        on.tell("drawing")
        write_report(Analysis.read(on.of[ANALYSE]), on.folder)

    return Stage(REPORT, work, (ANALYSE,), {"code": study_digest()})
