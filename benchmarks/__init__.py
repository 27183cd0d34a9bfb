"""Benchmarks: how long the tool takes and how much memory, beside the physical limit and a notebook's way.

Run with `make bench` or `python -m benchmarks.run`; nothing here asserts a time.
"""
