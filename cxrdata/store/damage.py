"""Whether an unexpected error came from a damaged build: then the damage is what the user must hear of, not the error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from cxrdata.errors import CxrError
from cxrdata.store.layout import BuildFolder, CatalogFolder
from cxrdata.store.verify import FOREIGN, verify
from cxrdata.wording import counted

_PANIC = "PanicException"  # what polars raises on some garbled bytes; no Exception
# What DuckDB raises on bytes that it cannot read. Its other errors are the query's.
_OF_BYTES = (duckdb.OperationalError, duckdb.InternalError, duckdb.FatalException)


def rebuild(build: BuildFolder) -> str:
    """How a damaged build is made anew: while it is there, building again may take it for unchanged."""
    return f"remove builds/{build.build_id} from the catalog's folder and run `cxrdata build-catalog` again"


def mend(build: BuildFolder) -> str:
    """What to do where a build turns out to be damaged."""
    return f"`cxrdata verify` lists the damage; {rebuild(build)}"


def damage(folder: CatalogFolder, build: BuildFolder) -> CxrError | None:
    """CXR-405 where a file of the build is missing or not as it was written, else None.

    Every file is hashed, so this is asked only after something went wrong.
    """
    faults = [fault for fault in verify(folder, build, rows=False) if fault.problem != FOREIGN]
    if not faults:
        return None
    return CxrError(
        "CXR-405",
        f"the catalog is damaged: {counted(len(faults), 'fault')}, the first: {faults[0].problem}",
        where=faults[0].where,
        fix=mend(build),
    )


def raise_if_damaged(folder: CatalogFolder, build: BuildFolder, error: BaseException) -> None:
    """Raise CXR-405 in place of an error that no one expected, if the build is damaged."""
    if isinstance(error, CxrError):
        suspicious = (
            isinstance(error.__cause__, _OF_BYTES) or type(error.__cause__) is duckdb.Error
        )  # of a block with a wrong checksum
    elif isinstance(error, (BrokenPipeError, MemoryError)):
        suspicious = False
    else:
        suspicious = isinstance(error, Exception) or type(error).__name__ == _PANIC
    if suspicious and (found := damage(folder, build)) is not None:
        raise found from error


@contextmanager
def blaming_damage(folder: CatalogFolder, build: BuildFolder) -> Iterator[None]:
    """Within, errors that no one expected are looked at with `raise_if_damaged`."""
    try:
        yield
    except BaseException as error:
        raise_if_damaged(folder, build, error)
        raise
