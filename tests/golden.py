"""Tables that are held as files: CXRDATA_UPDATE_EXPECTED=1 writes them anew instead of comparing, as it does all expected answers.

Only where something was changed on purpose, and said so in the changelog: read the difference before you keep it.
"""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal


def check_golden(found: pl.DataFrame, held: Path, *, tolerance: float = 1e-12) -> None:
    """Compare a table with the CSV that is held, or write that. tolerance: of numbers, which sums may reach in another order."""
    if os.environ.get("CXRDATA_UPDATE_EXPECTED"):
        held.parent.mkdir(exist_ok=True)
        found.write_csv(held)
    assert_frame_equal(found, pl.read_csv(held, schema=found.schema), rel_tol=tolerance, abs_tol=tolerance)
