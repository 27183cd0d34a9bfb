"""The stages of the study, from anyone's predictions to the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrtrain.studies.implicit_attributes.analyse import FILES, MODELS
from cxrtrain.studies.implicit_attributes.design import SIZES, Wish, split_name
from cxrtrain.studies.implicit_attributes.files import digests
from cxrtrain.studies.stages import Plan, Stage, Work, study_digest

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

STAGES = "stages"
ANALYSE, REPORT = "analyse", "report"
# What ends up in the folder that was named; everything else stays with its stage.
OUTPUTS = {ANALYSE: (*FILES, MODELS), REPORT: ("report.html", "published.csv", "figures")}
SPLITS = {size: split_name(size) for size in SIZES}


@dataclass(frozen=True)
class Given:
    """Predictions to analyse. order: the keyed file whose rows they follow. catalog: who the images are, and the sets; notes:
    of how the predictions came about; planted: see `Analysis`."""

    place: Path
    order: Path | None = None
    catalog: Catalog | None = None
    notes: tuple[str, ...] = ()
    synthetic: bool = False
    planted: str | None = None


def plan_of_predictions(out: Path, given: Given, wish: Wish) -> Plan:
    """analyse → report. Raises CxrError: see `files.digests`."""
    return Plan(out / STAGES, [_analyse_stage(given, wish), report_stage()])


def inputs_of(wish: Wish) -> dict[str, Any]:
    """What every analysis depends on besides what it reads."""
    return {"wish": {name: value for name, value in asdict(wish).items() if name != "threads"}, "code": study_digest()}


def _analyse_stage(given: Given, wish: Wish) -> Stage:
    def work(on: Work) -> None:
        run_analysis(given, wish, on)

    catalog = None if given.catalog is None else [given.catalog.build.build_id, _split_digests(given.catalog)]
    inputs = {"files": digests(given.place, given.order), "catalog": catalog, **inputs_of(wish)}
    return Stage(ANALYSE, work, inputs=inputs)


def _split_digests(catalog: Catalog) -> dict[str, str]:
    from cxrdata.stages import sha256_file

    manifests = {name: catalog.folder.splits / name / "manifest.json" for name in SPLITS.values()}
    return {name: sha256_file(path) for name, path in manifests.items() if path.is_file()}


def run_analysis(given: Given, wish: Wish, on: Work) -> None:
    """Read, analyse, and write the tables into the stage's folder."""
    from cxrtrain.studies.implicit_attributes.analyse import analyse
    from cxrtrain.studies.implicit_attributes.files import read_files

    read = read_files(given.place, given.order, given.catalog, on.tell)
    read.notes = [*given.notes, *read.notes]
    synthetic = given.synthetic or (given.catalog is not None and bool(given.catalog.manifest["synthetic"]))
    analyse(
        read, on.folder, wish, catalog=given.catalog, splits=SPLITS, synthetic=synthetic, planted=given.planted, tell=on.tell
    ).save(on.folder)  # fmt: skip


def report_stage() -> Stage:
    """The page and its figures."""

    def work(on: Work) -> None:
        from cxrtrain.studies.implicit_attributes.analyse import Analysis
        from cxrtrain.studies.implicit_attributes.report import write_report

        on.tell("drawing")
        write_report(Analysis.read(on.of[ANALYSE]), on.folder)

    return Stage(REPORT, work, after=(ANALYSE,), inputs={"code": study_digest()})
