"""Which images a run is asked about: of its own bundle, of another, of a split, or of a catalog by what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrdata.errors import CxrError
from cxrtrain.bundle import Bundle, open_bundle
from cxrtrain.run_folder import BUNDLE, Run

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

TEST = "test"


@dataclass(frozen=True)
class Choice:
    """Images: a part of a bundle (None: all of it), and a word for them, as it stands in the name of a file."""

    bundle: Bundle
    part: str | None
    word: str


def has_own_bundle(run: Run) -> bool:
    """Whether the run made its bundle; else it was trained on one from elsewhere, or imported."""
    return (run.folder.path / BUNDLE).is_dir()


def own_images(run: Run) -> Choice:
    """The test part of the bundle that the run made. Raises CxrError: CXR-502 it made none, CXR-501 it has no such part."""
    if not has_own_bundle(run):
        raise CxrError(
            "CXR-502",
            "the run made no bundle of its own, so nothing says which images are meant",
            where=str(run.folder.path),
            fix="--split NAME, --bundle DIR, --dataset NAMES or --where SQL",
        )
    bundle = open_bundle(run.folder.path / BUNDLE)
    bundle.rows(TEST)  # raises where there is none
    return Choice(bundle, TEST, TEST)


def images_of_bundle(said: str) -> Choice:
    """`DIR`, or `DIR:PART`. Raises CxrError: CXR-150 no bundle, CXR-501 no such part."""
    folder, part = Path(said), ""
    if not folder.is_dir():
        before, _, part = said.rpartition(":")
        folder = Path(before or said)
    bundle = open_bundle(folder)
    if part:
        bundle.rows(part)
    return Choice(bundle, part or None, ".".join(filter(None, (folder.resolve().name, part))))


def images_of_catalog(
    catalog: Catalog, scratch: Path, *, split: str | None, datasets: Sequence[str], where: str | None
) -> Choice:
    """Images that meet all that is asked, whether or not anything is known of them. scratch: an empty folder.

    Raises CxrError: CXR-501 unknown names, CXR-503 `where` is no SQL, CXR-507 no image is left.
    """
    from cxrdata.images.choice import choose
    from cxrtrain.prepare import bundle_of_frame, bundle_of_split

    if split is not None and where is None:
        bundle = bundle_of_split(catalog, split, scratch / BUNDLE, datasets=datasets)
    else:
        bundle = bundle_of_frame(choose(catalog, datasets=datasets, where=where, split=split), scratch / BUNDLE)
    words = [*(split or "").split(":"), *datasets, "chosen" if where else ""]
    return Choice(bundle, None, ".".join(filter(None, words)))
