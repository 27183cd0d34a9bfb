"""How the models treat each group: the audit by the published rules and by careful ones, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from cxrdata.audit.assemble import scored
from cxrdata.audit.data import OVERALL, ROW_SCHEMA, Scored
from cxrdata.audit.engine import evaluate
from cxrdata.audit.policies import Policy
from cxrdata.audit.predictions import KEY, Table, read_predictions
from cxrdata.audit.request import BY_LABEL, AuditRequest
from cxrdata.audit.truth import CatalogTruth
from cxrdata.wording import counted
from cxrtrain.studies.chexploration import design
from cxrtrain.studies.chexploration.design import CAREFUL, PUBLISHED, Wish

ERRORS: dict[str, pl.DataType] = {
    "model": pl.String(),
    "test_set": pl.String(),
    "rules": pl.String(),
    **{name: dtype for name, dtype in ROW_SCHEMA.items() if name != "model"},
}
# Published: the label is 1 where the labeler says so, else 0, uncertain and not mentioned alike.
_POLICY = "zeros"
_NO_FIGURES = ("n_positive", "estimate", "ci_low", "ci_high", "method", "seed")


@dataclass(frozen=True)
class Judge:
    """Who judges, of which catalog. draws: of the resampled test set. notes: what a reader must know, gathered."""

    source: CatalogTruth
    wish: Wish
    draws: pl.DataFrame | None = None
    notes: list[str] = field(default_factory=list)

    def scored(
        self, model: str, path: Path, labels: Sequence[str], by: Sequence[str], *, draws: pl.DataFrame | None = None
    ) -> tuple[list[Scored], set[str]]:
        """What the file of a model says of these labels, and the patients that it is of. draws: weights, and only their images."""
        (read,) = read_predictions(Table.of(path), self.source, labels=labels)
        read = replace(read, name=model)
        wanted = [label for label in labels if label in read.labels]
        images = read.frame.select(KEY)
        if draws is None:
            images = images.with_columns(weight=pl.lit(1.0))
        else:
            weights = draws.select(*KEY, weight=pl.col("n_draws").cast(pl.Float64))
            images = images.join(weights, on=KEY, how="inner", maintain_order="left")
        judged = self.source.judged(images, wanted, by, Policy.read(_POLICY), None)
        if draws is None:
            self.notes.extend(
                f"{design.SAID[model]}, {row['label']}: {counted(row['images'], 'image')} {row['reason']}, left out"
                for row in judged.left_out.iter_rows(named=True)
            )
        return scored([read], judged, wanted, by=by), set(judged.frame["unit"].to_list())


def detection(judge: Judge, files: Mapping[str, Path], tell: Callable[[str], None] = lambda _: None) -> pl.DataFrame:
    """`ERRORS` of findings, by race and sex, on the test set as it is and resampled. files: the folder of each model."""
    rows = []
    for model, folder in files.items():
        calibration, patients = _validation(judge, model, folder)
        for test_set, draws in ((design.TEST, None), (design.RESAMPLED, judge.draws)):
            if test_set == design.RESAMPLED and draws is None:
                continue
            tell(f"{model}, {test_set}")
            path = folder / "predictions.test.parquet"
            tests, judged = judge.scored(model, path, design.FINDINGS, design.GROUPS, draws=draws)
            if shared := len(patients & judged):
                if draws is None:
                    said = f"{counted(shared, 'patient')} of the validation part are tested too: the threshold is chosen on the test set"
                    judge.notes.append(f"{design.SAID[model]}: {said}")
                calibration = {}
            wish = AuditRequest(
                metrics=design.METRICS, threshold=design.FPR, rederive=True, stratify=BY_LABEL, bootstrap=judge.wish.bootstrap,
                min_cell=judge.wish.min_cell, seed=judge.wish.seed, gaps=False,
            )  # fmt: skip
            rows += _both(tests, wish, replace(wish, stratify=None, calibration=calibration), model, test_set)
    return pl.concat([pl.DataFrame(schema=ERRORS), *rows])


def _validation(judge: Judge, model: str, folder: Path) -> tuple[dict[tuple[str, str], Scored], set[str]]:
    """The images that careful thresholds are chosen on, by model and label, and their patients."""
    path = folder / "predictions.val.parquet"
    if not path.is_file():
        said = "no predictions of the validation part: the threshold is chosen on the test set by careful rules too"
        judge.notes.append(f"{design.SAID[model]}: {said}")
        return {}, set()
    found, patients = judge.scored(model, path, design.FINDINGS, ())
    whole = [one for one in found if 0 < one.positive.sum() < len(one.positive)]
    return {(model, one.label): one for one in whole}, patients


def attributes(judge: Judge, files: Mapping[str, Path], tell: Callable[[str], None] = lambda _: None) -> pl.DataFrame:
    """`ERRORS` of race and sex: the AUROC of each class against the rest."""
    rows = []
    for model, folder in files.items():
        tell(model)
        path = folder / "predictions.test.parquet"
        tests, _ = judge.scored(model, path, (*design.RACES, *design.SEXES), ())
        wish = AuditRequest(
            metrics=("auroc",), threshold=None, stratify=BY_LABEL, bootstrap=judge.wish.bootstrap,
            min_cell=judge.wish.min_cell, seed=judge.wish.seed, gaps=False,
        )  # fmt: skip
        found = _both(tests, wish, replace(wish, stratify=None), model, design.TEST)
        # Those who have the label are here a group of patients: as few of them are masked as of any other.
        few = {one.label for one in tests if 0 < len(np.unique(one.patients[one.positive])) < wish.min_cell}
        rows += [_without_figures(frame, pl.col("label").is_in(few), wish.min_cell) for frame in found]
    return pl.concat([pl.DataFrame(schema=ERRORS), *rows])


def _both(
    tests: list[Scored], published: AuditRequest, careful: AuditRequest, model: str, test_set: str
) -> list[pl.DataFrame]:
    """The rows by either set of rules."""
    found = []
    for rules, asked in ((PUBLISHED, published), (CAREFUL, careful)):
        own = [by_draw(one) for one in tests] if rules == PUBLISHED else tests
        frame = evaluate(own, asked)
        if rules == PUBLISHED:
            unit = "draw" if test_set == design.RESAMPLED else "image"
            frame = frame.with_columns(pl.col("method").str.replace_all("patient", unit, literal=True))
            frame = _hidden(frame, tests, asked.min_cell)
        named = {"model": pl.lit(model), "test_set": pl.lit(test_set), "rules": pl.lit(rules)}
        found.append(frame.with_columns(**named).select(pl.col(name).cast(dtype) for name, dtype in ERRORS.items()))
    return found


def by_draw(one: Scored) -> Scored:
    """Each draw a row, and each row a unit of its own."""
    at = np.repeat(np.arange(len(one.scores)), one.weights.astype(np.int64))
    return replace(
        one,
        scores=one.scores[at],
        positive=one.positive[at],
        patients=np.arange(len(at), dtype=np.int64),
        weights=np.ones(len(at)),
        groupings=tuple(replace(group, codes=group.codes[at]) for group in one.groupings),
    )


def _hidden(frame: pl.DataFrame, tests: Sequence[Scored], min_cell: int) -> pl.DataFrame:
    """Groups of fewer patients masked, however many images they have."""
    few = []
    for one in tests:
        for group in one.groupings:
            for code, value in enumerate(group.values):
                if 0 < len(np.unique(one.patients[group.codes == code])) < min_cell:
                    few.append((one.label, group.by, value))
    known = pl.DataFrame(few, schema=dict.fromkeys(("label", "group_by", "group_value"), pl.String), orient="row")
    told = frame.join(known.with_columns(_few=pl.lit(True)), on=known.columns, how="left", maintain_order="left")  # noqa: FBT003
    few_rows = pl.col("_few").fill_null(value=False) & (pl.col("group_by") != OVERALL)
    return _without_figures(told, few_rows, min_cell).drop("_few")


def _without_figures(frame: pl.DataFrame, few: pl.Expr, min_cell: int) -> pl.DataFrame:
    return frame.with_columns(
        *(pl.when(~few).then(pl.col(name)).alias(name) for name in _NO_FIGURES),
        note=pl.when(few).then(pl.lit(f"masked: fewer than {min_cell} patients")).otherwise("note"),
    )
