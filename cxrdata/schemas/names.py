"""Names of the tables that every dataset and labeler has its own of.

Apart from `tables`, so that a session can be opened without the validation library, which takes most of a second to import.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

LABEL_VIEWS = ("image_labels", "image_labels_rolled")
ROLLED_SUFFIX = "_rolled"
# Wide tables that the relations of the contract are views of; named after dataset and labeler.
STORAGE_PREFIXES = ("states_", "readings_", "label_codes_")


def states_name(dataset: str, labeler: str) -> str:
    """The wide table that holds what one labeler says of one dataset."""
    return f"states_{dataset}_{labeler}"


def readings_name(dataset: str) -> str:
    """The wide table that holds what each reader of a dataset said."""
    return f"readings_{dataset}"


def label_codes_name(dataset: str) -> str:
    """The compact table of one dataset that `image_labels` and `image_labels_rolled` are views of."""
    return f"label_codes_{dataset}"


def label_view_columns(view: str, findings: Iterable[str], stored: Collection[str]) -> Iterator[tuple[str, str | None]]:
    """Each finding of a label view and the column of a compact table that holds it (None: null for that dataset)."""
    suffix = ROLLED_SUFFIX if view == LABEL_VIEWS[1] else ""
    for finding in findings:
        source = finding + suffix if finding + suffix in stored else finding
        yield finding, source if source in stored else None
