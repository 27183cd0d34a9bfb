"""Figures and pages about what is in a catalog and what came of it. Needs the extra `[report]`."""
