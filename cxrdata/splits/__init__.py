"""Splits of the catalog's images, and the checks that they are sound."""
