"""Which names are one dataset: the curated list `catalog/open_dataset_aliases.tsv`."""

from __future__ import annotations

from functools import cache

from cxrdata.errors import CxrError
from cxrdata.resources import data_folder
from cxrdata.vocabularies import read_tsv

FILE_NAME = "open_dataset_aliases.tsv"


@cache
def alias_list() -> dict[str, str]:
    """Alias -> the dataset's name. Raises CxrError CXR-505 where an alias stands twice or is an alias of an alias."""
    rows = read_tsv(data_folder("catalog") / FILE_NAME).select("alias", "dataset_name").rows()
    found = dict(rows)
    doubled = next((alias for alias, _ in rows if [name for name, _ in rows].count(alias) > 1), None)
    chained = next((alias for alias, name in rows if name in found), None)
    if doubled or chained:
        raise CxrError(
            "CXR-505",
            f"{doubled or chained!r} {'stands twice' if doubled else 'is an alias of an alias'}",
            where=FILE_NAME,
            fix="give each alias one row, with the dataset's own name",
        )
    return found


def canonical_name(name: str) -> str:
    """The name under which a dataset is counted once."""
    return alias_list().get(name, name)


def other_names(name: str) -> list[str] | None:
    """Every further name of the dataset that `name` means, in the order of the list."""
    canonical = canonical_name(name)
    names = [canonical, *(alias for alias, dataset in alias_list().items() if dataset == canonical)]
    return [other for other in names if other != name] or None
