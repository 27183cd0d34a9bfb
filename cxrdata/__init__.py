"""Public chest X-ray datasets as one validated, harmonised, queryable catalog.

    import cxrdata
    cat = cxrdata.open("cxr-catalog")
    cat.sql("SELECT dataset, count(*) FROM images GROUP BY ALL")

Importing this package imports no engine; polars and DuckDB are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cxrdata.errors import CxrError
from cxrdata.version import __version__

if TYPE_CHECKING:
    from cxrdata.audit.run import audit
    from cxrdata.store.catalog import Catalog
    from cxrdata.store.catalog import open_catalog as open  # noqa: A004 - the name that users write

__all__ = ["Catalog", "CxrError", "__version__", "audit", "open"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name == "open":
        from cxrdata.store.catalog import open_catalog

        return open_catalog
    if name == "Catalog":
        from cxrdata.store.catalog import Catalog

        return Catalog
    if name == "audit":
        from importlib import import_module

        return import_module("cxrdata.audit")
    message = f"module 'cxrdata' has no attribute {name!r}"
    raise AttributeError(message)
