"""What can be ingested, for people: one line a dataset, one page for one."""

from __future__ import annotations

import textwrap

import polars as pl

from cxrdata.sources.base import Registry, Source

_CONFIDENCE = {"V": "seen on the real file", "R": "from documentation or code", "M": "from memory, never checked"}


def sources_frame(registry: Registry) -> pl.DataFrame:
    """dataset, title, aliases, images and patients (official), labelers, licence."""
    rows = []
    for source in registry:
        counts = {expected.what: expected.count for expected in source.expectations}
        rows.append(
            (
                source.name,
                source.title,
                ", ".join(source.aliases),
                counts.get("images"),
                counts.get("patients"),
                ", ".join(labeler.name for labeler in source.labelers),
                source.entry["licence"]["name"],
            )
        )
    columns = ["dataset", "title", "aliases", "official_images", "official_patients", "labelers", "licence"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def source_page(source: Source) -> str:
    """All about one dataset, as text of at most 80 columns."""
    parts = [
        f"{source.title} ({source.name})",
        "=" * (len(source.title) + len(source.name) + 3),
        "",
        *_obtaining(source),
    ]
    parts += ["Files looked for (recognised by content, names breaking ties; .gz too):"]
    for spec in source.files:
        mark = " (lists the images)" if spec.lists_images else ""
        parts.append(f"  {', '.join(spec.names)}{mark}")
        if spec.gives:
            parts += textwrap.wrap(f"gives {spec.gives}", 78, initial_indent="      ", subsequent_indent="      ")
    parts += ["", "Labelers, in order of preference for image_labels:"]
    parts += [
        f"  {one.name} ({one.level} level, {'silence means negative' if one.closed_world else 'silence means nothing'})"
        for one in source.labelers
    ]
    parts += ["", "Official counts (a subset or another version is no error):"]
    parts += [
        f"  {expected.count:>9,}  {expected.what} [{_CONFIDENCE[expected.confidence]}]"
        for expected in source.expectations
    ]
    if precedence := source.entry.get("precedence"):
        parts += ["", "Where sources overlap:"]
        for rule in precedence:
            parts += textwrap.wrap(
                f"{rule['column']}: {' before '.join(rule['order'])}. {rule['why']}",
                78,
                initial_indent="  - ",
                subsequent_indent="    ",
            )
    parts += ["", "Known quirks:"]
    for quirk in source.entry.get("quirk", ()):
        parts += textwrap.wrap(
            f"{quirk['text']} [{quirk['source']}]", 78, initial_indent="  - ", subsequent_indent="    "
        )
    return "\n".join(parts) + "\n"


def official_way(source: Source) -> str:
    """How one gets a dataset, and under which terms, as text of at most 80 columns."""
    return "\n".join([f"{source.title} ({source.name})", "", *_obtaining(source)]).rstrip() + "\n"


def _obtaining(source: Source) -> list[str]:
    licence = source.entry["licence"]
    return [
        *_paragraph(f"Get it: {source.entry['obtain']}", source.entry["homepage"]),
        *_paragraph(f"Licence: {licence['name']}. {licence['allows']} {licence['terms']}"),
    ]


def _paragraph(*lines: str) -> list[str]:
    return [*(part for line in lines for part in textwrap.wrap(line, 80)), ""]
