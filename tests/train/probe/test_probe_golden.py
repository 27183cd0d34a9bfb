"""The golden table of the probe: unit ablation of given features by given heads, every column of every row."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import torch
from polars.testing import assert_frame_equal
from test_ablation import CARRIERS, FINDING, SEX, TEST, TRAIN, UNITS, N, features_with

from cxrtrain.probe.ablation import AblationRequest, Reader, ablate
from cxrtrain.probe.heads import LinearHead
from cxrtrain.probe.rows import SCHEMA, frame_of, targets_of_head
from cxrtrain.probe.units import CRITERIA

GOLDEN = Path(__file__).parent / "golden" / "ablation.csv"


def head(outputs: int, units: dict[int, float]) -> LinearHead:
    """Written, not trained: the last output rests on these units."""
    weight = torch.zeros(outputs, UNITS)
    for unit, strength in units.items():
        weight[-1, unit] = strength
    return LinearHead(weight, torch.zeros(outputs))


def test_the_golden_table() -> None:
    """Made anew with CXRDATA_UPDATE_EXPECTED=1."""
    features, sex, finding = features_with(dict.fromkeys(CARRIERS, 1.5))
    readers = {
        "attribute": Reader(SEX, head(2, dict.fromkeys(CARRIERS, 1.0) | {3: 0.2}), "probe"),
        "finding": Reader(FINDING, head(1, dict.fromkeys(range(40, 50), 0.5) | {7: 0.1}), "finding"),
    }
    targets = [
        *targets_of_head("attribute", SEX, sex[:, None].astype(np.float32), TEST),
        *targets_of_head("finding", FINDING, finding[:, None].astype(np.float32), TEST),
    ]
    request = AblationRequest(CRITERIA, shares=(0.02, 0.05, 0.2), draws=5, bootstrap=50, seed=3)
    rows = frame_of(ablate(features, sex, TRAIN, readers["attribute"], readers, targets, np.arange(N) // 2, request))
    if os.environ.get("CXRDATA_UPDATE_EXPECTED"):
        rows.write_csv(GOLDEN)
    # Features are single precision: a pair of scores may change its order between machines.
    assert_frame_equal(rows, pl.read_csv(GOLDEN, schema=SCHEMA), abs_tol=1e-4)
