"""Run the console blocks of the documentation, to write their output or to check it.

A block that begins with ```console holds commands (`$ …`) and what they print to stdout. All blocks of a page run in
order in one empty folder, in which `nih/` and `chexnet/` are the real test data where they are there; a block that names
them is left alone where they are not. A last line `(exit code N)` is part of what is shown.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"```console\n(?P<body>.*?)```", re.DOTALL)
_BROKEN = ("(exit code 2)\n", "(exit code 3)\n")
_REAL = ("nih/", "chexnet/")


@dataclass(frozen=True)
class Example:
    """One command of a page and the output that the page shows for it."""

    command: str
    shown: str

    @property
    def needs_real_data(self) -> bool:
        return any(name in self.command for name in _REAL) or "nih-catalog" in self.command


def blocks(page: str) -> Iterator[list[Example]]:
    """The console blocks of a page, each a list of commands with their output."""
    for match in _BLOCK.finditer(page):
        parts = re.split(r"^\$ ", match["body"], flags=re.MULTILINE)[1:]
        yield [Example(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


def run(example: Example, folder: Path) -> str:
    """What the command prints to stdout in `folder`, and its exit code where it is not 0."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    environment.pop("CXRDATA_CATALOG", None)
    done = subprocess.run(  # noqa: S602 - our own page
        example.command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    code = f"(exit code {done.returncode})\n" if done.returncode else ""
    return done.stdout + code


def prepare(folder: Path, real_data: Path | None) -> None:
    """Put the real data where the pages expect them."""
    if real_data is not None:
        for name in ("nih", "chexnet"):
            (folder / name).symlink_to(real_data / name)


def rewritten(page: str, folder: Path, *, with_real_data: bool) -> str:
    """The page with every block's output as it is now."""

    def again(match: re.Match[str]) -> str:
        parts = []
        for example in next(blocks(match[0])):
            if example.needs_real_data and not with_real_data:
                parts.append(f"$ {example.command}\n{example.shown}")
            else:
                shown = run(example, folder)
                if shown.endswith(_BROKEN):  # an example may show what fails a check, never what does not work
                    raise SystemExit(f"an example does not work: {example.command}\n{shown}")
                parts.append(f"$ {example.command}\n{shown}")
        return f"```console\n{''.join(parts)}```"

    return _BLOCK.sub(again, page)
