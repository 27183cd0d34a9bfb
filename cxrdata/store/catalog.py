"""The catalog as Python sees it (CONTRACT §8): read-only, one build, queries as polars frames."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.schemas.names import LABEL_VIEWS, label_codes_name, label_view_columns
from cxrdata.store.damage import blaming_damage, raise_if_damaged
from cxrdata.store.layout import BuildFolder, CatalogFolder
from cxrdata.store.manifest import read_manifest
from cxrdata.store.session import DEFAULT_MEMORY, DEFAULT_SECONDS, open_session, run_query
from cxrdata.wording import counted

if TYPE_CHECKING:
    import duckdb

    from cxrdata.images.store import ImageStore
    from cxrdata.splits.funnel import Funnel
    from cxrdata.splits.stored import Split

CATALOG_VARIABLE = "CXRDATA_CATALOG"
DEFAULT_FOLDER = "cxr-catalog"


def default_folder() -> Path:
    """`$CXRDATA_CATALOG`, else `./cxr-catalog`."""
    return Path(os.environ.get(CATALOG_VARIABLE) or DEFAULT_FOLDER)


class Catalog:
    """One build of a catalog, opened for reading.

    Open with `cxrdata.open(path)`. Usable as a context manager; results are polars frames.
    """

    def __init__(self, folder: Path, *, build_id: str | None = None, memory: str = DEFAULT_MEMORY) -> None:
        self.folder = CatalogFolder(folder)
        self.build: BuildFolder = self.folder.build(build_id) if build_id else self.folder.require_build()
        if build_id and not self.build.manifest.is_file():
            known = sorted(path.name for path in self.folder.builds.glob("[0-9a-f]*"))
            raise CxrError(
                "CXR-501",
                f"there is no build {build_id!r}{nearest(build_id, known)}",
                fix=f"builds: {', '.join(known)}",
            )
        self._memory = memory
        self.remark: str | None = None

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The build's manifest."""
        with self._guarded():
            return read_manifest(self.build.manifest)

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        with self._guarded():
            connection, self.remark = open_session(self.build, self.folder, memory=self._memory)
        return connection

    def _guarded(self) -> AbstractContextManager[None]:
        """Within, an unexpected error is raised as CXR-405 if the build's files are damaged."""
        return blaming_damage(self.folder, self.build)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB connection itself: read-only, without access to files or network."""
        return self._connection

    def close(self) -> None:
        """Close the connection; the frames that were handed out stay valid."""
        if "_connection" in self.__dict__:
            self._connection.close()
            del self.__dict__["_connection"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if error is not None:
            raise_if_damaged(self.folder, self.build, error)

    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | None = None,
        *,
        seconds: float | None = DEFAULT_SECONDS,
        **frames: Any,  # noqa: ANN401 - of any library
    ) -> pl.DataFrame:
        """The rows of a query. `$name` in it is filled from `params`; each further keyword argument is a frame
        (polars, pandas or Arrow) that the query can join as a table of that name.

        Raises CxrError: CXR-503 invalid or refused, CXR-506 longer than `seconds` or out of memory.
        """
        connection = self.connect()
        for name, frame in frames.items():
            connection.register(name, frame.collect() if isinstance(frame, pl.LazyFrame) else frame)
        try:
            with self._guarded():
                return run_query(connection, query, params or {}, seconds=seconds)
        finally:
            for name in frames:
                connection.unregister(name)

    @property
    def tables(self) -> list[str]:
        """Names of the relations, views included."""
        rows = self.connect().execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' UNION SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1"
        )
        return [row[0] for row in rows.fetchall()]

    def table(self, name: str) -> pl.LazyFrame:
        """A relation as a lazy frame: over the Parquet for a table, computed for a view.

        Raises CxrError CXR-501 for an unknown name.
        """
        paths = [self.build.path / entry["path"] for entry in self.manifest["tables"] if entry["table"] == name]
        if paths:
            frame = pl.scan_parquet(paths, hive_partitioning=False)
            return (
                frame.with_columns(image_uid=pl.col("dataset") + ":" + pl.col("image_id"))
                if name == "images"
                else frame
            )
        if name in LABEL_VIEWS:
            return self._label_view(name)
        if name in self.tables:
            return self.sql(f"SELECT * FROM {name}").lazy()
        raise CxrError(
            "CXR-501",
            f"there is no table {name!r}{nearest(name, self.tables)}",
            fix=f"tables: {', '.join(self.tables)}",
        )

    def _label_view(self, name: str) -> pl.LazyFrame:
        """`image_labels` or `image_labels_rolled` over the Parquet of the compact tables."""
        findings = self.table("findings").sort("finding_order").collect()["finding"].to_list()
        prefix, parts = label_codes_name(""), []
        for entry in sorted(self.manifest["tables"], key=lambda entry: str(entry["table"])):
            if entry["table"].startswith(prefix):
                frame = pl.scan_parquet(self.build.path / entry["path"])
                columns = label_view_columns(name, findings, frame.collect_schema().names())
                codes = (
                    (pl.col(source) if source else pl.lit(None, pl.Int8)).alias(finding) for finding, source in columns
                )
                parts.append(
                    frame.select(
                        pl.lit(entry["table"].removeprefix(prefix)).alias("dataset"), "image_id", "labeler", *codes
                    )
                )
        return pl.concat(parts)

    def labels(
        self,
        *,
        dataset: str | None = None,
        labeler: str | None = None,
        findings: Sequence[str] | None = None,
        policy: str | Mapping[str, str] = "raw",
        rollup: bool = False,
        readers: str = "majority",
    ) -> pl.DataFrame:
        """Labels wide: `dataset`, `image_id`, `labeler`, one Int8 column a finding.

        dataset, labeler: restrict; with no labeler each image has the one that its dataset prefers.
        policy: what an uncertain label (-1) and a label not mentioned become, for all findings or by finding. `raw` keeps -1
        and null; `zeros` and `ones` turn uncertain into 0 or 1 and not mentioned into 0; `ignore` turns both into null.
        rollup: carry positives up the finding tree. readers: how several readers are joined: `majority`, `any`, `all`.

        Raises CxrError CXR-501 for unknown names.
        """
        from cxrdata.store.label_frames import label_frame

        with self._guarded():
            return label_frame(
                self, dataset=dataset, labeler=labeler, findings=findings, policy=policy, rollup=rollup, readers=readers
            )

    def split(self, name: str) -> Split:
        """One split, a frame: dataset, image_id, patient_id, split, and where used fold, n_draws, weight.

        Raises CxrError: CXR-501 no such split, CXR-405 its files are damaged.
        """
        from cxrdata.splits.stored import open_split

        return open_split(self, name)

    def cohort(self, name: str | Path) -> pl.DataFrame:
        """dataset, image_id of the images that a cohort keeps, sorted. name: of one that ships, or the path of a file.

        Raises CxrError: see `cxrdata.splits.cohorts`.
        """
        from cxrdata.splits.cohorts import load_cohort, run_cohort

        return run_cohort(self, load_cohort(name)).keys

    def funnel(self, name: str | Path) -> Funnel:
        """What each step of a cohort leaves; see `cohort`."""
        from cxrdata.splits.cohorts import load_cohort
        from cxrdata.splits.funnel import funnel

        return funnel(self, load_cohort(name))

    def annotate(self, frame: Any, **wishes: Any) -> Any:  # noqa: ANN401
        """Join age, sex, race, view, patient and labels to any frame with an image key; see `cxrdata.annotate`."""
        from cxrdata.annotate import annotate_frame

        with self._guarded():
            return annotate_frame(self, frame, **wishes)

    def paths(
        self,
        frame: Any,  # noqa: ANN401
        *,
        roots: Mapping[str, Any] | None = None,
        key: str | None = None,
        remarks: Callable[[str], None] = lambda _: None,
    ) -> pl.DataFrame:
        """The frame with `path` and `member` (of the .zip or .tar at `path`) of each row's image file, null where there
        is none on this machine.

        frame: any table with `dataset` and `image_id`, or a column of image keys in any spelling. roots: folders by
        dataset, over `$CXRDATA_ROOT_<DATASET>` and roots.toml. `remarks` is told what was passed over.
        See `cxrdata.images.paths.with_paths`.
        """
        from cxrdata.images.paths import with_paths

        with self._guarded():
            return with_paths(self, frame, roots=roots, key=key, remarks=remarks)

    def images(self, store: str | os.PathLike[str], frame: Any = None) -> ImageStore:  # noqa: ANN401
        """The pixels of an image store (`cxrdata images build`) as a map-style dataset, of the rows of `frame` in their
        order, or of all its images that the catalog has.

        frame: any polars or pandas table with `dataset` and `image_id`, such as a split. `read(positions, buffer)` reads
        a batch. Raises CxrError: CXR-148 no store, CXR-149 an image that it lacks.
        """
        from cxrdata.images.store import KEY, ImageStore

        opened = ImageStore(store)
        if frame is None:
            frame = opened.index.join(
                self.table("images").select(KEY).collect(), on=KEY, how="semi", maintain_order="left"
            )
        elif not isinstance(frame, pl.DataFrame):
            frame = pl.from_pandas(frame)
        return opened.only(frame)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {counted(rows, 'image')}" for name, rows in self._image_counts())
        return f"<Catalog {self.build.build_id}: {counts}>"

    def _image_counts(self) -> list[tuple[str, int]]:
        return [(entry["dataset"], entry["rows"]) for entry in self.manifest["tables"] if entry["table"] == "images"]

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td style='text-align:right'>{n:,}</td></tr>"
            for name, n in self._image_counts()
        )
        head = f"<caption>cxrdata catalog, build {html.escape(self.build.build_id)}</caption><tr><th>dataset</th><th>images</th></tr>"
        return f"<table>{head}{rows}</table>"


def open_catalog(
    path: str | os.PathLike[str] | None = None, *, build: str | None = None, memory: str = DEFAULT_MEMORY
) -> Catalog:
    """Open a catalog for reading: `path`, else `$CXRDATA_CATALOG`, else `./cxr-catalog`.

    Raises CxrError CXR-601 where there is none.
    """
    return Catalog(Path(path) if path is not None else default_folder(), build_id=build, memory=memory)
