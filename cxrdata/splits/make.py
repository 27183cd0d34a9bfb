"""From a request to a split: members, limits, placement, checks, manifest. Nothing is written here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.splits.attributes import is_finding, with_attributes
from cxrdata.splits.balance import Balanced, balance
from cxrdata.splits.case_study import CaseStudy, case_study
from cxrdata.splits.from_file import read_split_file
from cxrdata.splits.keyed import PLACE, fractions, keyed_numbers
from cxrdata.splits.leaks import find_leaks
from cxrdata.splits.limits import at_least, at_most
from cxrdata.splits.members import lost, members_of
from cxrdata.splits.placement import moved, place_by_hash, place_exact, place_folds, strata_of_units, units_of
from cxrdata.splits.shares import distances, shares_by_split
from cxrdata.splits.spurious import Spurious, spurious
from cxrdata.splits.spurious_cells import cells_of, rules_of
from cxrdata.store.session import DEFAULT_SECONDS
from cxrdata.version import __version__
from cxrdata.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cxrdata.splits.cohorts import Cohort
    from cxrdata.splits.request import SplitRequest
    from cxrdata.store.catalog import Catalog

_UNIT = ["dataset", "unit"]
_KEYS = ["dataset", "image_id", "patient_id", "split"]
_DISTANCE = ["dataset", "attribute", "points", "value", "least", "most"]  # points: of percent, between two splits
NO_PATIENTS = (
    "has no patient ids: every image stands for a patient, so that images of one person may stand in several splits"
)


@dataclass
class MadeSplit:
    """A split and how it came about.

    frame: as it is stored. manifest: what `store_split` writes beside it. balanced, case_study, spurious: the report of the
    design, where one was asked for.
    """

    frame: pl.DataFrame
    manifest: dict[str, Any]
    balanced: Balanced | None = None
    case_study: CaseStudy | None = None
    spurious: Spurious | None = None


@dataclass
class _Draft:
    """A split while it is made: rows so far and what the manifest will say of them."""

    rows: pl.DataFrame
    left_out: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    moved: tuple[int, int] | None = None
    balanced: Balanced | None = None
    case_study: CaseStudy | None = None
    spurious: Spurious | None = None


def make_split(
    catalog: Catalog,
    request: SplitRequest,
    *,
    with_columns: tuple[str, ...] = (),
    seconds: float | None = DEFAULT_SECONDS,
) -> MadeSplit:
    """The split that is asked for. with_columns: attributes to store beside the keys. seconds: most that a step of the
    cohort, or the condition, may take.

    Raises CxrError: CXR-406 an official split that parts patients, CXR-501, CXR-502 and CXR-507 for requests that name
    what is not there or cannot be met, and those of cohorts and balancing.
    """
    members = members_of(catalog, request, seconds=seconds)
    draft = _Draft(members.frame, list(members.left_out))
    if request.spurious is not None:
        _place_spurious(catalog, draft, request)
    else:
        _limit(draft, request)
    if request.pediatric_vs_adult:
        _place_case_study(catalog, draft, request)
    elif request.balance:
        _place_balanced(catalog, draft, request)
    elif request.official:
        _place_official(draft, request)
    elif request.spurious is None:
        _place(catalog, draft, request)
    if request.folds is not None:
        _fold(draft, request)
    if request.subgroup:
        _restrict(catalog, draft, request)
    return finished(
        catalog,
        draft.rows,
        request.arguments(),
        members.cohort,
        draft=draft,
        with_columns=with_columns,
        policy=request.label_policy,
    )


def make_from_file(
    catalog: Catalog,
    request: SplitRequest,
    path: Path,
    *,
    with_columns: tuple[str, ...] = (),
    **wishes: Any,  # noqa: ANN401 - those of read_split_file
) -> MadeSplit:
    """The split that a published file holds. With a cohort or a condition, only its images; where the file only lists the
    images of one split, the cohort's other patients are placed in the other splits.

    Raises CxrError: those of `read_split_file` and of the cohort; CXR-406 where patients stand in two splits.
    """
    found = read_split_file(catalog, path, datasets=request.datasets, **wishes)
    draft = _Draft(found.frame, found.left_out, [*found.remarks, f"{path.name}: {found.how}"])
    if found.repeated:
        draft.notes.append(f"{path.name}: {counted(found.repeated, 'row')} that say again what an earlier one said")
    cohort = None
    if request.cohort or request.cohort_text or request.where:
        members = members_of(catalog, request)
        cohort = members.cohort
        kept = draft.rows.join(members.frame, on=["dataset", "image_id"], how="semi", maintain_order="left")
        draft.left_out += lost(draft.rows, kept, "in the file, not in the cohort")
        if kept.is_empty():
            raise CxrError(
                "CXR-507",
                f"none of the {draft.rows.height:,} images of {path.name} is in the cohort",
                fix="give a split file of the cohort's dataset, or leave the cohort and the condition out",
            )
        draft.rows = kept
        if wishes.get("listed"):
            _place_others(draft, members.frame, request)
    return finished(
        catalog,
        draft.rows,
        found.arguments | request.arguments(),
        cohort,
        draft=draft,
        with_columns=with_columns,
        policy=request.label_policy,
    )


def _place_others(draft: _Draft, members: pl.DataFrame, request: SplitRequest) -> None:
    """Place those patients of the cohort of whom the file lists no image."""
    listed = draft.rows.with_columns(unit=pl.coalesce("patient_id", "image_id"))
    rest = members.join(listed, on=["dataset", "image_id"], how="anti", maintain_order="left")
    free = rest.join(listed, on=_UNIT, how="anti", maintain_order="left")
    draft.left_out += lost(rest, free, "not in the file, though other images of the patient are")
    others = request.parsed_ratios().without(listed["split"].unique().to_list())
    placed = place_by_hash(units_of(free, request.seed), others)
    draft.rows = pl.concat([draft.rows, free.join(placed, on=_UNIT, how="left").select(_KEYS)])


def finished(
    catalog: Catalog,
    rows: pl.DataFrame,
    arguments: Mapping[str, Any],
    cohort: Cohort | None = None,
    *,
    draft: _Draft | None = None,
    with_columns: tuple[str, ...] = (),
    policy: str = "ignore",
    **said: Any,  # noqa: ANN401 - further entries of the manifest
) -> MadeSplit:
    """Rows with a split, checked for leaks and told in a manifest. `said`: further entries of it."""
    draft = draft or _Draft(rows, [])
    kept = [*_KEYS, *(name for name in ("fold", "n_draws", "weight") if name in rows.columns)]
    frame = rows.select(kept).sort("dataset", "image_id")
    leaks = find_leaks(frame)
    if leaks.n_patients:
        raise _leaky(leaks.pairs)
    datasets = frame["dataset"].unique().sort().to_list()
    anonymous = frame.filter(pl.col("patient_id").is_null())["dataset"].unique().sort().to_list()
    manifest: dict[str, Any] = {
        "cxrdata": __version__,
        "catalog_build": catalog.build.build_id,
        "synthetic": [name for name in catalog.manifest["synthetic"] if name in datasets],
        "datasets": _sources(catalog, datasets),
        "arguments": dict(arguments),
        "cohort": None
        if cohort is None
        else {"name": cohort.name, "text": cohort.text, "sha256": hashlib.sha256(cohort.text.encode()).hexdigest()},
        "counts": counts_of(frame).to_dicts(),
        "left_out": draft.left_out,
        "moved": None if draft.moved is None else {"units_moved": draft.moved[0], "units": draft.moved[1]},
        "unit_of_datasets": {name: "image" if name in anonymous else "patient" for name in datasets},
        "leak_check": {"patients_checked": leaks.n_checked, "patients_in_two_splits": leaks.n_patients},
        "distance_from_balance": distances(shares_by_split(catalog, frame)).select(_DISTANCE).to_dicts(),
        "notes": [*draft.notes, *(f"{name} {NO_PATIENTS}" for name in anonymous)],
        **said,
    }
    if draft.balanced is not None:
        manifest["cells"] = draft.balanced.cells.to_dicts()
        manifest["balance"] = draft.balanced.optimum.to_dicts()
    if draft.case_study is not None:
        manifest["case_study"] = draft.case_study.report()
    if draft.spurious is not None:
        manifest["spurious"] = draft.spurious.report()
    if with_columns:
        frame = with_attributes(catalog, frame, with_columns, policy=policy)
        manifest["with_columns"] = list(with_columns)
    return MadeSplit(frame, manifest, draft.balanced, draft.case_study, draft.spurious)


def counts_of(frame: pl.DataFrame) -> pl.DataFrame:
    """dataset, split, images, patients (images where there are no patient ids), and draws where rows have them."""
    counted = [
        pl.len().cast(pl.Int64).alias("images"),
        pl.coalesce("patient_id", "image_id").n_unique().cast(pl.Int64).alias("patients"),
    ]
    if "n_draws" in frame.columns:
        counted.append(pl.col("n_draws").sum().alias("draws"))
    return frame.group_by("dataset", "split").agg(counted).sort("dataset", "split")


def _sources(catalog: Catalog, datasets: list[str]) -> dict[str, list[str]]:
    """The SHA-256 of the source files of each dataset, sorted: what a rebuild elsewhere is compared with."""
    found: dict[str, list[str]] = {name: [] for name in datasets}
    for source in catalog.manifest["sources"]:
        if source["dataset"] in found:
            found[source["dataset"]].append(source["sha256"])
    return {name: sorted(digests) for name, digests in found.items()}


def _limit(draft: _Draft, request: SplitRequest) -> None:
    """Leave out patients with too few images and images beyond the most that a patient may have."""
    if (least := request.min_images_per_patient) is not None:
        kept = at_least(draft.rows, least)
        draft.left_out += lost(draft.rows, kept, f"the patient has fewer than {least} images")
        draft.rows = kept
    if (most := request.max_images_per_patient) is not None:
        kept = at_most(draft.rows, most, seed=request.seed, keep=request.keep)
        draft.left_out += lost(
            draft.rows, kept, f"the patient has {counted(most, 'other image')} already (--keep {request.keep})"
        )
        draft.rows = kept
    if draft.rows.is_empty():
        raise CxrError(
            "CXR-507",
            "no patient has as many images",
            fix=f"ask for fewer than --min-images-per-patient {request.min_images_per_patient}",
        )


def _place(catalog: Catalog, draft: _Draft, request: SplitRequest) -> None:
    ratios = request.parsed_ratios()
    units = units_of(draft.rows, request.seed)
    placed = plain = place_by_hash(units, ratios)
    if request.exact or request.stratify:
        rows = with_attributes(catalog, draft.rows, request.stratify, policy=request.label_policy)
        strata = strata_of_units(rows, request.stratify)
        placed = place_exact(
            units.join(strata, on=_UNIT, how="left"), ratios, weigh=request.unit or "patient", strata=request.stratify
        )
        draft.moved = moved(placed, plain)
    draft.rows = draft.rows.join(placed, on=_UNIT, how="left", maintain_order="left")


def _place_balanced(catalog: Catalog, draft: _Draft, request: SplitRequest) -> None:
    rows = with_attributes(catalog, draft.rows, request.balance, policy=request.label_policy)
    balanced = balance(
        rows,
        request.balance,
        request.parsed_ratios(),
        seed=request.seed,
        mode=request.mode,
        unit=request.unit or "image",
        groups=request.groups,
        pool=request.pool,
    )
    draft.rows = balanced.rows
    draft.left_out += balanced.left_out.to_dicts()
    draft.moved = balanced.moved
    draft.balanced = balanced


def _place_case_study(catalog: Catalog, draft: _Draft, request: SplitRequest) -> None:
    if not is_finding(catalog, request.finding):
        raise CxrError(
            "CXR-501", f"{request.finding!r} is no finding", fix='name one: cxrdata sql "SELECT finding FROM findings"'
        )
    rows = with_attributes(catalog, draft.rows, [request.finding, *request.match], policy="raw")
    healthy = catalog.table("healthy").collect()
    rows = rows.join(healthy, on=["dataset", "image_id"], how="left", maintain_order="left")
    study = case_study(rows, seed=request.seed, finding=request.finding, match=request.match, children=request.children)
    if study.rows.filter(pl.col("split") != "test_pediatric").is_empty():
        raise CxrError(
            "CXR-410",
            f"no dataset here has both healthy adults and adults positive for {request.finding}",
            fix="name a dataset that has, or another --finding",
        )
    draft.rows = study.rows
    draft.left_out += study.left_out.to_dicts()
    draft.notes += study.notes
    draft.case_study = study


def _place_spurious(catalog: Catalog, draft: _Draft, request: SplitRequest) -> None:
    draft.rows, design, left_out = cells_of(catalog, draft.rows, request)
    draft.left_out += left_out
    _limit(draft, request)  # of the images that are in question: a patient's others would only be in their way
    rules = rules_of(catalog, draft.rows["dataset"].unique().to_list(), request.label_policy)
    found = spurious(draft.rows, design, seed=request.seed, rules=rules)
    draft.rows = found.rows
    draft.left_out += found.left_out.to_dicts()
    draft.notes += found.notes
    draft.spurious = found


def _place_official(draft: _Draft, request: SplitRequest) -> None:
    """The split that the dataset's authors published; `train_valid` is parted by the hash, train to valid as in the ratios."""
    kept = draft.rows.filter(pl.col("source_split").is_not_null())
    draft.left_out += lost(draft.rows, kept, "the dataset publishes no split of it")
    if kept.is_empty():
        raise CxrError(
            "CXR-507",
            "none of these images is in an official split",
            fix="leave --official out, or name datasets that publish one with --dataset",
        )
    ratios = request.parsed_ratios()
    shares = dict(zip(ratios.names, ratios.shares, strict=True))
    train = shares["train"] / (shares["train"] + shares.get("valid", 0.0))
    units = kept.select(_UNIT).unique().sort(_UNIT)
    fraction = fractions(keyed_numbers(PLACE, request.seed, units["dataset"], units["unit"]))
    kept = kept.join(units.with_columns(fraction), on=_UNIT, how="left", maintain_order="left")
    parted = pl.when(pl.col("fraction") < train).then(pl.lit("train")).otherwise(pl.lit("valid"))
    draft.rows = kept.with_columns(
        split=pl.when(pl.col("source_split") == "train_valid").then(parted).otherwise("source_split")
    )
    if (parted_in := kept.filter(source_split="train_valid")["dataset"].unique().sort().to_list()) and train < 1:
        draft.notes.append(
            f"{', '.join(parted_in)}: training and validation are published as one list; it was parted by patient"
        )


def _fold(draft: _Draft, request: SplitRequest) -> None:
    """Folds over all but the test; what was validation is training in all folds but its own."""
    assert request.folds is not None
    rest = draft.rows.filter(pl.col("split") != "test")
    folds = place_folds(units_of(rest, request.seed), request.folds, request.seed)
    rows = draft.rows.join(folds, on=_UNIT, how="left", maintain_order="left")
    is_test = pl.col("split") == "test"
    draft.rows = rows.with_columns(
        split=pl.when(is_test).then("split").otherwise(pl.lit("train")),
        fold=pl.when(~is_test).then(pl.col("fold").cast(pl.Int64)),
    )


def _restrict(catalog: Catalog, draft: _Draft, request: SplitRequest) -> None:
    """Training and validation of one subgroup; the test stays whole."""
    for text in request.subgroup:
        name, sign, value = text.partition("=")
        if not sign or not value:
            raise CxrError(
                "CXR-502", f"the subgroup {text!r} is not ATTRIBUTE=VALUE", fix='for example --subgroup "race=White"'
            )
        rows = with_attributes(catalog, draft.rows, [name], policy=request.label_policy)
        known = rows[name].drop_nulls().unique().sort().to_list()
        if value not in known:
            raise CxrError(
                "CXR-501",
                f"no image has {name} {value!r}{nearest(value, known)}",
                fix=f"values here: {', '.join(known) or 'none, it is null throughout'}",
            )
        kept = rows.filter((pl.col("split") == "test") | (pl.col(name) == value).fill_null(value=False))
        draft.left_out += lost(rows, kept, f"in training or validation, and {name} is not {value}")
        draft.rows = kept.select(draft.rows.columns)


def _leaky(pairs: pl.DataFrame) -> CxrError:
    first = pairs.row(0, named=True)
    return CxrError(
        "CXR-406",
        f"{pairs['n_patients'].sum():,} patients would stand in two splits, {first['n_patients']:,} of them in {first['first']} and {first['second']}, "
        f"such as {first['examples'][0]}",
        fix="a split here never parts a patient; `cxrdata annotate FILE` or `cxrdata split verify FILE` lists who leaks",
    )
