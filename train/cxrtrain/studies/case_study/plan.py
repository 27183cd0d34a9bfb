"""The stages of the case study, from anyone's predictions to the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrtrain.studies.case_study.files import TABLE, digests, find_files
from cxrtrain.studies.case_study.fpr import Wish
from cxrtrain.studies.case_study.predictions import SPLIT
from cxrtrain.studies.stages import Plan, Stage, Work, study_digest

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

STAGES = "stages"
ANALYSE, REPORT = "analyse", "report"
# What ends up in the folder that was named; everything else stays with its stage.
OUTPUTS = {
    ANALYSE: (TABLE, "details.csv", "thresholds.csv", "sensitivity.csv", "trends.csv"),
    REPORT: ("report.html", "published.csv", "figures"),
}


@dataclass(frozen=True)
class Given:
    """Predictions to analyse. catalog, split: who the images are, where the files do not say."""

    folder: Path
    catalog: Catalog | None = None
    split: str = SPLIT


def plan_of_predictions(out: Path, given: Given, wish: Wish) -> Plan:
    """analyse → report. Raises CxrError: see `find_files`."""
    return Plan(out / STAGES, [analyse_stage(given, wish), report_stage()])


def analyse_stage(given: Given, wish: Wish) -> Stage:
    """The analysis of files that are there already."""
    inputs = {
        "files": digests(given.folder),
        "left_out": find_files(given.folder)[1],
        "catalog": None if given.catalog is None else [given.catalog.build.build_id, _split_digest(given)],
        "wish": {name: value for name, value in asdict(wish).items() if name != "threads"},
        "code": study_digest(),
    }

    def work(on: Work) -> None:
        run_analysis(given, wish, on)

    return Stage(ANALYSE, work, inputs=inputs)


def run_analysis(given: Given, wish: Wish, on: Work, *, synthetic: bool = False) -> None:
    """Read, analyse, and write the tables into the stage's folder."""
    from cxrtrain.studies.case_study.analyse import analyse
    from cxrtrain.studies.case_study.predictions import read_cases

    on.tell("reading predictions")
    cases = read_cases(given.folder, given.catalog, split=given.split)
    analyse(cases, wish, synthetic=synthetic or _made_up(given.catalog), tell=on.tell).save(on.folder)


def _made_up(catalog: Catalog | None) -> bool:
    return catalog is not None and bool(catalog.manifest["synthetic"])


def _split_digest(given: Given) -> str | None:
    """What the split is made of: another one of the same name is another input."""
    from cxrdata.stages import sha256_file

    assert given.catalog is not None
    manifest = given.catalog.folder.splits / given.split / "manifest.json"
    return sha256_file(manifest) if manifest.is_file() else None


def report_stage() -> Stage:
    """The page and its figures."""

    def work(on: Work) -> None:
        from cxrtrain.studies.case_study.analyse import Analysis
        from cxrtrain.studies.case_study.report import write_report

        on.tell("drawing")
        write_report(Analysis.read(on.of[ANALYSE]), on.folder)

    return Stage(REPORT, work, after=(ANALYSE,), inputs={"code": study_digest()})
