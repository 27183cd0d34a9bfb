"""Splitting a million images: `python -m benchmarks.splits NAME` is one of the things compared, a process of its own.

`plain`, `balance`, `weights`: the engine of `cxrdata split`. `hash`: the MD5 of every patient and image, below which no
keyed split can go. `notebook`: pandas, as published code does it: shuffle, cut every cell to the smallest, cut the rows
into splits (patients are parted, and the splits are not balanced each).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from hashlib import md5
from typing import TYPE_CHECKING

from benchmarks.measure import Figure, Run, python, run

if TYPE_CHECKING:
    import polars as pl

IMAGES = 1_000_000
LIMIT_BYTES = 1_500_000_000
ATTRIBUTES = ("race", "sex", "age_group:chexploration")
NAMES = {
    "balance": "balance by race, sex and age group (48 cells a dataset)",
    "weights": "the same by weights",
    "plain": "place every patient by the hash",
    "hash": "the MD5 of every patient and image alone",
    "notebook": "pandas: shuffle, cut cells to the smallest, cut rows; patients leak",
}
_RACES, _AGES = (
    ("White", "White", "White", "Black", "Asian", "White"),
    ("<=20", "<=30", "<=40", "<=50", "<=60", "<=70", "<=80", ">80"),
)


def figures(*, runs: int) -> list[Figure]:
    """Seconds are those of the engine on members that are in memory; memory is that of the whole process."""
    found = []
    for name, title in NAMES.items():
        measured = [_engine_only(run(python("benchmarks.splits", name))) for _ in range(runs)]
        is_ours = name in ("balance", "weights", "plain")
        found.append(
            Figure(title, measured, limit=2 if is_ours else None, limit_bytes=LIMIT_BYTES if is_ours else None)
        )
    return found


def _engine_only(whole: Run) -> Run:
    seconds, cpu = (float(word) for word in whole.stdout.split())
    return Run(seconds, cpu, whole.others, whole.samples)


def members() -> pl.DataFrame:
    """Three datasets of images with 1 to 8 images a patient, as `make_split` hands them on."""
    import polars as pl

    image = pl.int_range(IMAGES)
    patient = image // 4 + (image % 7 == 0).cast(pl.Int64)
    mixed = (patient * 2_654_435_761) % 4_294_967_296
    frame = pl.select(
        dataset=pl.concat_str(pl.lit("dataset_"), patient % 3),
        image_id=pl.concat_str(pl.lit("image"), image.cast(pl.String).str.zfill(7), pl.lit(".png")),
        patient_id=pl.concat_str(pl.lit("patient"), patient.cast(pl.String).str.zfill(6)),
        race=(mixed // 7 % len(_RACES)).replace_strict(dict(enumerate(_RACES))),
        sex=(mixed // 64 % 2).replace_strict({0: "F", 1: "M"}),
        **{ATTRIBUTES[2]: ((mixed // 512 + image % 2) % len(_AGES)).replace_strict(dict(enumerate(_AGES)))},
    )
    return frame.with_columns(unit="patient_id").sort("dataset", "image_id")


def _plain(frame: pl.DataFrame) -> None:
    from cxrdata.splits.placement import place_by_hash, units_of
    from cxrdata.splits.ratios import Ratios

    frame.join(place_by_hash(units_of(frame, 0), Ratios.parse("0.7,0.1,0.2")), on=["dataset", "unit"], how="left")


def _balance(frame: pl.DataFrame, mode: str = "downsample") -> None:
    from cxrdata.splits.balance import balance
    from cxrdata.splits.ratios import Ratios

    balance(frame, ATTRIBUTES, Ratios.parse("0.7,0.1,0.2"), seed=0, mode=mode)


def _hash(frame: pl.DataFrame) -> None:
    for column in (frame["patient_id"].unique(), frame["image_id"]):
        for text in column.to_list():
            md5(text.encode(), usedforsecurity=False).digest()


def _notebook(frame: pl.DataFrame) -> None:
    import pandas as pd  # type: ignore[import-untyped]

    rows = pd.DataFrame({name: frame[name].to_list() for name in ("dataset", *ATTRIBUTES, "image_id")})
    started = time.perf_counter()
    cells = rows.sample(frac=1, random_state=42).groupby(["dataset", *ATTRIBUTES])
    kept = cells.head(int(cells.size().min())).sample(frac=1, random_state=42)
    cut = [int(0.7 * len(kept)), int(0.8 * len(kept))]
    kept["split"] = ["train"] * cut[0] + ["valid"] * (cut[1] - cut[0]) + ["test"] * (len(kept) - cut[1])
    print(time.perf_counter() - started, time.perf_counter() - started)


def main(name: str) -> None:
    """Print the seconds and CPU seconds that the named thing took."""
    frame = members()
    work: dict[str, Callable[[pl.DataFrame], None]] = {
        "plain": _plain,
        "balance": _balance,
        "weights": lambda one: _balance(one, "weights"),
        "hash": _hash,
    }
    if name == "notebook":
        _notebook(frame)
        return
    started, cpu = time.perf_counter(), time.process_time()
    work[name](frame)
    print(time.perf_counter() - started, time.process_time() - cpu)


if __name__ == "__main__":
    main(sys.argv[1])
