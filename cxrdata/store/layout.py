"""Where things lie in a catalog folder (CONTRACT §4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxrdata.errors import CxrError

BUILD_ID_LENGTH = 16


@dataclass(frozen=True)
class BuildFolder:
    """One build: `builds/<build-id>/`."""

    path: Path

    @property
    def build_id(self) -> str:
        return self.path.name

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def database(self) -> Path:
        return self.path / "catalog.duckdb"

    @property
    def database_digest(self) -> Path:
        return self.path / "catalog.duckdb.sha256"

    @property
    def tables(self) -> Path:
        return self.path / "tables"

    @property
    def terms(self) -> Path:
        return self.path / "DATA_TERMS.md"


@dataclass(frozen=True)
class CatalogFolder:
    """A catalog: `CURRENT`, `builds/`, `splits/`, what was found of the image files, and the private `cache/` of its builder."""

    path: Path

    @property
    def current(self) -> Path:
        return self.path / "CURRENT"

    @property
    def builds(self) -> Path:
        return self.path / "builds"

    @property
    def splits(self) -> Path:
        return self.path / "splits"

    @property
    def image_files(self) -> Path:
        return self.path / "image_files.parquet"

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def stages(self) -> Path:
        return self.cache / "stages"

    @property
    def lock(self) -> Path:
        return self.cache / "lock"

    @property
    def terms(self) -> Path:
        return self.path / "DATA_TERMS.md"

    def build(self, build_id: str) -> BuildFolder:
        return BuildFolder(self.builds / build_id)

    def current_build(self) -> BuildFolder | None:
        """The build in use, or None where nothing was built yet."""
        try:
            build_id = self.current.read_text(encoding="ascii").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnicodeDecodeError:
            build_id = "?"
        build = self.build(build_id)
        if not build_id.isalnum() or not build.manifest.is_file():
            raise CxrError(
                "CXR-405",
                f"CURRENT names the build {build_id!r}, which is not there",
                where="CURRENT",
                fix="`cxrdata build-catalog` makes it anew",
            )
        return build

    def require_build(self) -> BuildFolder:
        """The build in use; raises CxrError CXR-601 where there is none."""
        build = self.current_build()
        if build is None:
            raise CxrError(
                "CXR-601",
                f"there is no catalog in {self.path.name or 'this folder'}",
                where=str(self.path.name),
                fix="run `cxrdata build-catalog`, or name one: -c PATH, $CXRDATA_CATALOG, cxrdata.open(PATH)",
            )
        return build
