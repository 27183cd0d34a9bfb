"""Training on the catalog: models on GPUs, and predictions keyed to the catalog. cxrdata never imports it.

What runs on a GPU node (everything but `prepare` and `targets`) needs numpy, pyarrow, torch and timm, no DuckDB and no
Polars: it reads a bundle that `cxrdata train --prepare` wrote, and an image store.
"""
