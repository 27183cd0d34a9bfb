"""What a command said, and what an error must look like."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cxrdata.errors import PROBLEMS

# Stands before whatever a command says of the catalog of these tests.
SYNTHETIC = "SYNTHETIC: the catalog's rows of nih_cxr14 are random numbers, not patients\n"


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


def is_one_block(said: Said, code: str) -> None:
    """One error with its code and a fix, the exit code that the code stands for, and nothing on stdout."""
    assert said.code == PROBLEMS[code].exit
    assert said.out == ""
    assert re.search(rf"^error {code}: \S", said.err, re.MULTILINE), said.err
    assert said.err.count("error CXR-") == 1
    assert re.search(r"^  fix: \S", said.err, re.MULTILINE), said.err
    assert "Traceback" not in said.err
