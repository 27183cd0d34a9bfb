"""Run the examples of the documentation, to write their output or to check it.

A block that begins with ```console holds commands (`$ …`, further lines of one `> …`) and what they print to stdout. All blocks of a page run in
order in one empty folder, in which `nih/` and `chexnet/` are the real test data where they are there; a block that names
them is left alone where they are not. A last line `(exit code N)` is part of what is shown. A block that begins with
```pycon is a Python session (`>>>`), which runs in the same folder, each block by itself. The pages below docs/tasks/ go on
in the folder of the quickstart, with the catalog that it builds.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

_CONSOLE = "```console\n"
_SESSION = "```pycon\n"
_FURTHER = "> "
_BLOCK = re.compile(rf"(?P<opening>{_CONSOLE}|{_SESSION})(?P<body>.*?)```", re.DOTALL)
_BROKEN = ("(exit code 2)\n", "(exit code 3)\n")
_REAL = ("nih/", "chexnet/")


@dataclass(frozen=True)
class Example:
    """One command of a page and the output that the page shows for it."""

    command: str
    shown: str

    @property
    def written(self) -> str:
        """The command as the page has it."""
        return "$ " + self.command.replace("\n", f"\n{_FURTHER}") + "\n"

    @property
    def needs_real_data(self) -> bool:
        return any(name in self.command for name in _REAL) or "nih-catalog" in self.command


def page_groups(repository: Path) -> list[list[Path]]:
    """The pages with examples; those of one list share a folder, in this order."""
    folder = repository / "docs"
    after_quickstart = [folder / "quickstart.md", *sorted((folder / "tasks").glob("*.md"))]
    alone = [repository / "README.md", *sorted(set(folder.glob("*.md")) - set(after_quickstart))]
    return [*([page] for page in alone if _has_examples(page)), after_quickstart]


def _has_examples(page: Path) -> bool:
    return _BLOCK.search(page.read_text(encoding="utf-8")) is not None


def commands(body: str) -> Iterator[Example]:
    """The commands of a console block with their output."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        length = 1 + sum(1 for _ in takewhile(lambda line: line.startswith(_FURTHER), lines[1:]))
        command = "".join([lines[0], *(line.removeprefix(_FURTHER) for line in lines[1:length])])
        yield Example(command.removesuffix("\n"), "".join(lines[length:]))


def _environment() -> dict[str, str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    environment.pop("CXRDATA_CATALOG", None)
    return environment


def run(example: Example, folder: Path) -> str:
    """What the command prints to stdout in `folder`, and its exit code where it is not 0."""
    done = subprocess.run(  # noqa: S602 - our own page
        example.command, shell=True, cwd=folder, env=_environment(), capture_output=True, text=True, check=False
    )
    code = f"(exit code {done.returncode})\n" if done.returncode else ""
    return done.stdout + code


# Echoes a session as an interpreter does. Statement by statement, as the interpreter shows only expressions.
_INTERPRETER = """
import doctest, sys
for example in doctest.DocTestParser().get_examples(sys.stdin.read()):
    lines = example.source.splitlines()
    print("\\n".join([">>> " + lines[0], *("... " + line if line else "..." for line in lines[1:])]), flush=True)
    exec(compile(example.source, "<page>", "single"))
"""


def run_session(body: str, folder: Path) -> str:
    """The session with the output that it has now. Raises SystemExit where it fails."""
    done = subprocess.run(
        [sys.executable, "-c", _INTERPRETER],
        input=body,
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"a session does not work:\n{done.stdout}{done.stderr}")
    return done.stdout


def prepare(folder: Path, real_data: Path | None) -> None:
    """Put the real data where the pages expect them."""
    if real_data is not None:
        for name in ("nih", "chexnet"):
            (folder / name).symlink_to(real_data / name)


def rewritten(page: str, folder: Path, *, with_real_data: bool) -> str:
    """The page with every block's output as it is now."""

    def again(match: re.Match[str]) -> str:
        if match["opening"] == _SESSION:
            return f"{_SESSION}{run_session(match['body'], folder)}```"
        parts = []
        for example in commands(match["body"]):
            if example.needs_real_data and not with_real_data:
                parts.append(f"{example.written}{example.shown}")
            else:
                shown = run(example, folder)
                if shown.endswith(_BROKEN):  # an example may show what fails a check, never what does not work
                    raise SystemExit(f"an example does not work: {example.command}\n{shown}")
                parts.append(f"{example.written}{shown}")
        return f"{_CONSOLE}{''.join(parts)}```"

    return _BLOCK.sub(again, page)
