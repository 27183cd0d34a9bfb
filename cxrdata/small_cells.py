"""How few are too few to be shown."""

from __future__ import annotations

# Counts under it are masked (the cell suppression policy of CMS). Reports and audits have it as their default.
MIN_CELL = 11
