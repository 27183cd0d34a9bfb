"""Labels as one wide table: a row an image, a column a finding, uncertain and unmentioned read under a stated policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.export.csv_cells import harmless, write_csv
from cxrdata.export.place import Exported, new_files
from cxrdata.export.relations import KEY, known_datasets, split_keys, terms_notes
from cxrdata.store.parquet import ROW_GROUP_ROWS
from cxrdata.store.policies import DEFAULT, read_policy

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

SUFFIXES = (".csv", ".csv.gz", ".parquet")
_IDS = ("image_uid", "dataset", "image_id", "patient_id")


def export_labels(
    catalog: Catalog,
    out: Path,
    *,
    policy: str | Mapping[str, str],
    datasets: Sequence[str] = (),
    labeler: str | None = None,
    findings: Sequence[str] | None = None,
    rollup: bool = False,
    split: str | None = None,
    columns: Sequence[str] = (),
    escape: bool = True,
    force: bool = False,
) -> Exported:
    """Write labels to `out` (.csv, .csv.gz or .parquet); the choices are those of `Catalog.labels`.

    Raises CxrError: CXR-501 unknown name, CXR-502 unknown suffix or nothing left of a split, CXR-511 a file is there, CXR-602 not writable.
    """
    suffix = next((one for one in sorted(SUFFIXES, key=len, reverse=True) if out.name.lower().endswith(one)), None)
    if suffix is None:
        raise CxrError(
            "CXR-502", "no format is known for this suffix", where=str(out), fix=f"use {', '.join(SUFFIXES)}"
        )
    frame = labels_table(
        catalog, policy=policy, datasets=datasets, labeler=labeler, findings=findings, rollup=rollup, split=split, columns=columns
    )  # fmt: skip
    notes: list[str] = []
    if escape and suffix != ".parquet":
        frame, notes = harmless(frame)
    with new_files(out, force=force) as (aside,):
        if suffix == ".parquet":
            frame.write_parquet(aside, row_group_size=ROW_GROUP_ROWS)
        else:
            write_csv(frame, aside, packed=suffix == ".csv.gz")
    return Exported({out: frame.height}, [*notes, *terms_notes(catalog, known_datasets(catalog, datasets))])


def labels_table(
    catalog: Catalog,
    *,
    policy: str | Mapping[str, str],
    datasets: Sequence[str] = (),
    labeler: str | None = None,
    findings: Sequence[str] | None = None,
    rollup: bool = False,
    split: str | None = None,
    columns: Sequence[str] = (),
) -> pl.DataFrame:
    """image_uid, dataset, image_id, patient_id, columns of the split, `columns` of `images` (or `labeler`), then an Int8
    column a finding: 1, 0, -1 where the policy keeps uncertain, null. Rows by dataset in the catalog's order."""
    chosen = known_datasets(catalog, datasets)
    wishes = {"labeler": labeler, "findings": findings, "policy": policy, "rollup": rollup}
    if datasets:
        labels = pl.concat([catalog.labels(dataset=dataset, **wishes) for dataset in chosen])  # type: ignore[arg-type]
    else:
        labels = catalog.labels(**wishes)  # type: ignore[arg-type]
    images = catalog.table("images")
    known = images.collect_schema().names()
    for name in columns:
        if name not in known and name != "labeler":
            raise CxrError(
                "CXR-501",
                f"there is no column {name!r} in images{nearest(name, known)}",
                fix="`cxrdata describe images` lists them; `labeler` is known too",
            )
    beside = [name for name in dict.fromkeys(columns) if name not in _IDS]
    wanted = dict.fromkeys([*_IDS, *(name for name in beside if name != "labeler")])
    table = labels.join(images.select(*wanted).collect(), on=list(KEY), how="left", maintain_order="left")
    of_split: list[str] = []
    if split is not None:
        keys = split_keys(catalog, split)
        of_split = [name for name in keys.columns if name not in KEY]
        table = table.join(keys, on=list(KEY), how="inner", maintain_order="left")
        if table.is_empty():
            _nothing_left(keys, split, datasets=chosen if datasets else [], labeler=labeler)
    coded = [name for name in labels.columns if name not in {*KEY, "labeler"}]
    return table.select(*_IDS, *of_split, *beside, *coded)


def _nothing_left(keys: pl.DataFrame, split: str, *, datasets: Sequence[str], labeler: str | None) -> NoReturn:
    said = [f"of {', '.join(datasets)}"] if datasets else []
    said += [f"with labels of {labeler}"] if labeler is not None else []
    raise CxrError(
        "CXR-502",
        f"the split {split!r} has no image {' and '.join(said)}".rstrip(),
        fix=f"its images are of: {', '.join(keys['dataset'].unique().sort()) or 'no dataset'}; "
        "`cxrdata describe labelers` lists who labelled what",
    )


def policy_of_findings(catalog: Catalog, said: str) -> str | dict[str, str]:
    """A policy as `read_policy` has it, of a file for every finding: `default`, else `raw`, of those that it does not name.

    Raises CxrError CXR-513, also for what is no finding of the catalog.
    """
    wish = read_policy(said)
    if isinstance(wish, str):
        return wish
    findings = catalog.table("findings").collect().sort("finding_order")["finding"].to_list()
    for name in wish:
        if name != DEFAULT and name not in findings:
            raise CxrError(
                "CXR-513",
                f"there is no finding {name!r}{nearest(name, findings)}",
                where=Path(said).name,
                fix=f"name findings of the catalog, or {DEFAULT}",
            )
    return {finding: wish.get(finding, wish.get(DEFAULT, "raw")) for finding in findings}
