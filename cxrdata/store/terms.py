"""DATA_TERMS.md: under which terms the rows of a catalog may be used."""

from __future__ import annotations

from collections.abc import Sequence

from cxrdata.sources.base import Source

_HEAD = """# Terms of the data in this catalog

A catalog holds rows of the datasets below. It may go no further than their terms allow: where
rows may not be shared, share the recipe (sources, version, arguments), never this folder.
"""


def terms_text(sources: Sequence[Source]) -> str:
    """The page, one section a dataset."""
    return "\n".join([_HEAD, *(dataset_terms(source) for source in sources)])


def dataset_terms(source: Source) -> str:
    """The section of one dataset."""
    licence = source.entry["licence"]
    lines = [
        f"## {source.title} (`{source.name}`)\n",
        f"- Licence: {licence['name']}",
        f"- Allows: {licence['allows']}",
        f"- Asks for: {licence['terms']}",
        f"- Rows may be shared with others: {'yes' if licence['share_rows'] else 'no'}",
        f"- May be sent to third-party services: {'yes' if licence['third_parties'] else 'no'}",
        f"- Source: {source.entry['homepage']}",
    ]
    if doi := source.entry.get("doi"):
        lines.append(f"- DOI: {doi}")
    return "\n".join(lines) + "\n"
