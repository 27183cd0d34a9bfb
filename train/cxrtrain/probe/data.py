"""What a probe is asked: the images of the run's split, whose attribute and findings are known, and whose patients they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cxrdata.errors import CxrError, nearest
from cxrdata.splits.attributes import with_attributes
from cxrdata.splits.stored import open_split
from cxrdata.wording import counted
from cxrtrain.bundle import KEY, Bundle, HeadTargets
from cxrtrain.choice import TEST, has_own_bundle, own_bundle
from cxrtrain.config import Experiment, HeadConfig
from cxrtrain.explain.question import group_order
from cxrtrain.pixels import stored
from cxrtrain.prepare import prepare

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog
    from cxrtrain.run_folder import Run

ATTRIBUTE = "attribute"  # the name of the probe's head
FINDINGS = ("binary", "multilabel")


@dataclass(frozen=True)
class ProbeData:
    """bundle: of training, validation and test images. heads[0] is the attribute's, the others are the run's of findings.
    patients: (rows,) codes, an image without a patient its own. train, valid, test: rows, whether or not something is known;
    test without patients whom the run has learnt from. notes: who that is."""

    bundle: Bundle
    experiment: Experiment
    patients: NDArray[np.int64]
    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]
    notes: tuple[str, ...] = ()

    @property
    def attribute(self) -> HeadTargets:
        return self.bundle.heads[0]

    @property
    def classes(self) -> NDArray[np.int64]:
        """(rows,) number of the attribute's class, -1 where not known."""
        values = self.bundle.targets(self.attribute)[:, 0]
        return np.where(np.isnan(values), -1, values).astype(np.int64)

    def known(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some rows whose attribute is known."""
        return rows[self.classes[rows] >= 0]


def probe_data(
    catalog: Catalog,
    run: Run,
    attribute: str,
    folder: Path,
    *,
    split: str | None = None,
    classes: Sequence[str] = (),
    test: str = TEST,
    store: Path | None = None,
) -> ProbeData:
    """classes: the attribute's values in question; none named, all that training images have. split: None: the run's.
    folder: where the bundle is written. store: leave out the images that this one lacks.

    Raises CxrError: CXR-501 no such attribute, value, split or part, CXR-502 no split or a single value is named, CXR-152 the
    attribute, or a finding, has one value only, CXR-507 the run has learnt from all patients of the test part.
    """
    name = split or run.experiment.data.split
    if name is None:
        raise CxrError("CXR-502", "nothing says on which split to probe", fix="--split NAME")
    known = _classes(catalog, run, attribute, name)
    _check_classes(attribute, classes, known)
    head = HeadConfig(ATTRIBUTE, "classes", attribute=attribute, classes=tuple(classes) or known)
    findings = tuple(one for one in run.experiment.heads if one.kind in FINDINGS)
    experiment = replace(
        run.experiment, heads=(head, *findings), data=replace(run.experiment.data, split=name, groups=())
    )
    bundle = prepare(catalog, experiment, folder)
    fold = tuple(run.about["fold"]) if run.about.get("fold") and split is None else None
    data = experiment.data
    rows = [bundle.rows(data.train, fold=fold), bundle.rows(data.valid, fold=fold), bundle.rows(test)]
    rows[2], notes = _not_learnt_from(catalog, run, bundle, rows[2])
    kept = np.zeros(len(bundle), dtype=np.bool_)
    kept[np.concatenate(rows)] = True
    if store is not None:
        kept &= stored(store, bundle)
        rows = [one[kept[one]] for one in rows]
    place = np.cumsum(kept) - 1
    narrowed = bundle.only(kept)
    train, valid, tested = (place[one] for one in rows)
    return ProbeData(narrowed, experiment, patients_of(catalog, narrowed), train, valid, tested, notes)


def _classes(catalog: Catalog, run: Run, attribute: str, split: str) -> tuple[str, ...]:
    """The values that training images of the run's datasets have, in the order of their scheme."""
    rows = pl.DataFrame(open_split(catalog, split)).filter(pl.col("split") == run.experiment.data.train)
    if run.experiment.data.datasets:
        rows = rows.filter(pl.col("dataset").is_in(run.experiment.data.datasets))
    values = with_attributes(catalog, rows.select(KEY), [attribute])[attribute].drop_nulls().unique().to_list()
    return tuple(group_order(catalog, attribute, values))


def _check_classes(attribute: str, classes: Sequence[str], known: Sequence[str]) -> None:
    """Raises CxrError: CXR-501 for a value that no training image has, CXR-502 for one alone."""
    values = f"values of training images: {', '.join(known) or 'none'}"
    for value in classes:
        if value not in known:
            raise CxrError(
                "CXR-501", f"no training image has the {attribute} {value!r}{nearest(value, list(known))}", fix=values
            )
    if len(set(classes)) == 1:
        raise CxrError(
            "CXR-502", f"{classes[0]} alone is nothing to tell apart", where="--classes", fix=f"name two ({values})"
        )


def _not_learnt_from(
    catalog: Catalog, run: Run, bundle: Bundle, test: NDArray[np.int64]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The test rows of patients in no training or validation image of the run, and what to say of the others: of another
    split than the run's, the test part may hold what it has learnt. Raises CxrError CXR-507 where none is left."""
    learnt = _learnt(catalog, run)
    if learnt is None:
        return test, ("nothing says which images the run was trained on: some of the test part may be among them",)
    seen = np.isin(_units(catalog, bundle).to_numpy()[test], learnt.to_numpy())
    if seen.all():
        raise CxrError(
            "CXR-507",
            "the run was trained, or its epoch chosen, on every patient of the test part",
            fix="name a split with other patients in its part `test`",
        )
    if not seen.any():
        return test, ()
    who = "are of patients whom the run was trained on, or its epoch chosen by"
    return test[~seen], (f"{counted(int(seen.sum()), 'image')} of {len(test):,} in the test part {who}: left out",)


def _learnt(catalog: Catalog, run: Run) -> pl.Series | None:
    """The patients of the images that the run was trained on, or its epoch chosen by; None where nothing says so: a run from
    elsewhere may have neither its bundle nor its split here."""
    try:
        return _units(catalog, _of_bundle(run) if has_own_bundle(run) else _of_split(catalog, run))
    except CxrError:
        return None


def _of_bundle(run: Run) -> pl.DataFrame:
    own, data = own_bundle(run), run.experiment.data
    fold = tuple(run.about["fold"]) if run.about.get("fold") else None
    rows = np.concatenate([own.rows(part, fold=fold) for part in (data.train, data.valid)])
    return pl.DataFrame({name: np.asarray(getattr(own, name))[rows] for name in KEY})


def _of_split(catalog: Catalog, run: Run) -> pl.DataFrame:
    data = run.experiment.data
    split = pl.DataFrame(open_split(catalog, data.split or ""))
    images = split.filter(pl.col("split").is_in((data.train, data.valid)))
    return images.filter(pl.col("dataset").is_in(data.datasets)) if data.datasets else images


def patients_of(catalog: Catalog, bundle: Bundle) -> NDArray[np.int64]:
    """Codes of the patients of a bundle's rows."""
    return np.unique(_units(catalog, bundle).to_numpy(), return_inverse=True)[1].astype(np.int64)


def _units(catalog: Catalog, images: Bundle | pl.DataFrame) -> pl.Series:
    """The patient of each image; of one without a patient itself."""
    keys = pl.DataFrame({name: getattr(images, name) for name in KEY}) if isinstance(images, Bundle) else images
    known = catalog.table("images").select(*KEY, "patient_id").collect()
    rows = keys.select(KEY).join(known, on=list(KEY), how="left", maintain_order="left")
    unit = pl.concat_str(
        "dataset", pl.coalesce(pl.lit("p:") + pl.col("patient_id"), pl.lit("i:") + pl.col("image_id")), separator=":"
    )
    return rows.select(unit).to_series()
