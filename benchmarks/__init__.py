"""Benchmarks: how long the tool takes and how much memory, beside the physical limit and a notebook's way.

Run with `make bench` or `python -m benchmarks.run`, on a GPU `python -m benchmarks.train_gpu`; nothing here asserts a time.
"""

import sys
from pathlib import Path

# A GPU node may have the repository and torch, and nothing of ours installed; this tree is what is measured.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "train"))
