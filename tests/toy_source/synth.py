"""Synthetic files of the toy dataset."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cxrdata.sources.synthesis import SynthPlan, label_as_synthetic, write_bytes, write_csv

VARIANTS = {
    "coded": "toy_films.csv with findings as 0 and 1",
    "words": "toy_films.csv with findings as yes and no",
    "people": "toy_people.csv with backgrounds",
    "test_list": "toy_test.txt",
}
DEFAULT = frozenset({"coded", "people", "test_list"})
ALTERNATIVES = (frozenset({"coded", "words"}),)
OFFICIAL_FILMS = 2000
_BACKGROUNDS = ("white", "black", "not told")


def write(folder: Path, plan: SynthPlan) -> None:
    """Write the chosen variants below `folder`: two films a person, at least twenty."""
    label_as_synthetic(folder, "a dataset that does not exist")
    films = plan.count(OFFICIAL_FILMS, at_least=20)
    draw = plan.rng("toy", "films")
    numbers = list(range(1, films + 1))
    findings = draw.random((films, 2)) < (0.2, 0.1)
    table = pl.DataFrame(
        {
            "film": [f"T{number:04d}.png" for number in numbers],
            "person": [f"P{(number + 1) // 2}" for number in numbers],
            "age": draw.integers(1, 95, films),
            "sex": [("woman", "man")[(number + 1) // 2 % 2] for number in numbers],
            "projection": [("front", "side")[number % 2] for number in numbers],
            "large heart": findings[:, 0].astype(int),
            "fluid": findings[:, 1].astype(int),
        }
    )
    if "words" in plan.variants:
        table = table.with_columns(
            pl.col("large heart", "fluid").replace_strict({0: "no", 1: "yes"}, return_dtype=pl.String)
        )
    write_csv(table, folder / "toy_films.csv")
    if "people" in plan.variants:
        people = table.select("person").unique(maintain_order=True)
        chosen = draw.integers(0, len(_BACKGROUNDS), people.height)
        write_csv(
            people.with_columns(background=pl.Series([_BACKGROUNDS[at] for at in chosen])), folder / "toy_people.csv"
        )
    if "test_list" in plan.variants:
        write_bytes("".join(f"{film}\n" for film in table["film"][::4]).encode(), folder / "toy_test.txt")
