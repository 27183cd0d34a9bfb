"""TOML files as users write them: an error says where."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from cxrdata.errors import CxrError

# Python before 3.14 says the place only in words.
_PLACE = re.compile(r"^(?P<problem>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)$")
_END = " (at end of document)"


def read_toml(
    path: Path, *, where: str | None = None, fix: str = "correct this place; a text stands in quotes, a list in []"
) -> tuple[dict[str, Any], str]:
    """The content of a TOML file (with or without a byte order mark), and its text.

    where: what messages call the file; None: its name. Raises CxrError CXR-505 with the place.
    """
    where = where or path.name
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CxrError("CXR-505", "the file is not UTF-8", where=where, fix="save it as UTF-8") from error
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        problem, place = str(error), where
        if match := _PLACE.match(problem):
            problem, place = match["problem"], f"{where}:{match['line']} column {match['column']}"
        elif problem.endswith(_END):
            problem, place = (
                problem.removesuffix(_END) + " at the end of the file",
                f"{where}:{max(len(text.splitlines()), 1)}",
            )
        raise CxrError("CXR-505", f"not valid TOML: {problem}", where=place, fix=fix) from error
