"""Inputs that no text file can be, made from readable ones as a case's `recipe.toml` says.

    [[file]]
    from = "chexpert.csv"        # a text file of the case's `source/`
    to = "chexpert.csv.gz"       # where it is put below the input folder
    steps = ["gzip", "cut 60"]   # one after the other

Steps: `utf-16` (with its mark), `latin-1`, `controls` (␀ becomes NUL, ␍ a carriage return), `gzip`, `cut N` (the
first N bytes), `workbook SHEET` (tab separated text as .xlsx).
"""

from __future__ import annotations

import gzip
import io
import tomllib
from pathlib import Path

import openpyxl


def prepare(case: Path, target: Path) -> None:
    """Put the case's input below `target`: `input/` as it is, and what the recipe makes of `source/`."""
    for path in sorted((case / "input").rglob("*")):
        if path.is_file():
            _write(target / path.relative_to(case / "input"), path.read_bytes())
    recipe = case / "recipe.toml"
    if recipe.is_file():
        for file in tomllib.loads(recipe.read_text(encoding="utf-8"))["file"]:
            body = (case / "source" / file["from"]).read_bytes()
            for step in file["steps"]:
                body = _after(step, body)
            _write(target / file["to"], body)


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


def _after(step: str, body: bytes) -> bytes:
    name, _, argument = step.partition(" ")
    if name in ("utf-16", "latin-1"):
        return body.decode("utf-8").encode(name)
    if name == "controls":
        return body.decode("utf-8").replace("␀", "\0").replace("␍\n", "\r").replace("␍", "\r").encode()
    if name == "gzip":
        return gzip.compress(body, mtime=0)
    if name == "cut":
        return body[: int(argument)]
    if name == "workbook":
        return _workbook(argument, body.decode("utf-8"))
    message = f"no step of a recipe is called {name!r}"
    raise ValueError(message)


def _workbook(sheet: str, text: str) -> bytes:
    book = openpyxl.Workbook()
    page = book.worksheets[0]
    page.title = sheet
    for line in text.splitlines():
        page.append([int(cell) if cell.isdigit() else cell or None for cell in line.split("\t")])
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()
