"""Building the store: whole, continued, brought up to date, refused with reasons, the same for any number of workers."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from cxrdata.engines import Engine
from cxrdata.errors import CxrError
from cxrdata.images import build, shards
from cxrdata.images.build import StoreReport, StoreRequest, build_store
from cxrdata.images.decode import Grey
from cxrdata.images.resize import Frame, resize
from cxrdata.images.store import ImageStore

FRAME = Frame(32)
Make = Callable[..., StoreReport]


@pytest.fixture
def make(tmp_path: Path, located: pl.DataFrame) -> Make:
    """`make()`: build the store of the ten images, three a shard."""

    def run(**wishes: object) -> StoreReport:
        wanted = {"located": located, "frame": FRAME, "shard_bytes": 3 * 32 * 32} | wishes
        return build_store(StoreRequest(tmp_path / "store", **wanted))  # type: ignore[arg-type]

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a store that is not the state of its build."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def path_of(located: pl.DataFrame, row: int) -> Path:
    return Path(located["path"][row])


def test_the_store_holds_every_image_resized(make: Make, tmp_path: Path, located: pl.DataFrame) -> None:
    report = make()
    assert (report.images, report.decoded, report.refused, report.missing_shards) == (10, 10, 0, 0)
    store = ImageStore(tmp_path / "store")
    assert len(store) == 10
    assert len(list((tmp_path / "store").glob("shard-*.npy"))) == 4
    for at, row in enumerate(store.index.iter_rows(named=True)):
        whole = np.asarray(Image.open(path_of(located, at)))
        assert np.array_equal(store[at], resize(whole, FRAME))
        assert row["mean"] == pytest.approx(store[at].mean(), abs=1e-12)
        assert row["sd"] == pytest.approx(store[at].std(), abs=1e-9)


def test_the_same_again_decodes_nothing(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    before = contents(tmp_path / "store")
    monkeypatch.setattr(shards, "decode_into", lambda *_: pytest.fail("decoded again"))
    report = make()
    assert (report.decoded, report.reused) == (0, 10)
    assert contents(tmp_path / "store") == before


def test_an_interrupted_build_continues(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = shards.decode_into, []

    def stop(*arguments: object) -> object:
        if len(seen) == 7:
            raise KeyboardInterrupt
        seen.append(None)
        return real(*arguments)

    monkeypatch.setattr(shards, "decode_into", stop)
    with pytest.raises(KeyboardInterrupt):
        make()
    with pytest.raises(CxrError) as error:
        ImageStore(tmp_path / "store")
    assert error.value.code == "CXR-148"
    monkeypatch.setattr(shards, "decode_into", real)
    report = make()
    assert (report.decoded, report.reused) == (4, 6)  # two shards of three were there
    continued = contents(tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    make()
    assert contents(tmp_path / "store") == continued


def test_a_changed_file_is_decoded_again_and_no_other(
    make: Make, tmp_path: Path, located: pl.DataFrame, chest: Grey
) -> None:
    make()
    before = ImageStore(tmp_path / "store")
    others = before.read([0, 3, 5, 9])
    Image.fromarray(255 - chest).save(path_of(located, 4))
    report = make()
    assert (report.decoded, report.reused) == (1, 9)
    after = ImageStore(tmp_path / "store")
    assert np.array_equal(after[4], resize(255 - chest, FRAME))
    assert np.array_equal(after.read([0, 3, 5, 9]), others)
    assert after.index["source_sha256"][4] != before.index["source_sha256"][4]
    assert len(list((tmp_path / "store").glob("shard-*.npy"))) == 4  # the old one is gone


def test_fewer_and_more_images_move_pixels_unread(make: Make, located: pl.DataFrame, tmp_path: Path) -> None:
    make(located=located[1:9])
    report = make()
    assert (report.decoded, report.reused) == (2, 8)
    whole = contents(tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    make()
    assert contents(tmp_path / "store") == whole


def test_refused_images_cost_nothing_else(make: Make, tmp_path: Path, located: pl.DataFrame) -> None:
    path_of(located, 2).write_bytes(path_of(located, 2).read_bytes()[:500])
    path_of(located, 5).write_text("<html>login</html>")
    path_of(located, 6).unlink()
    missing = located.with_columns(
        path=pl.when(pl.int_range(pl.len()) == 7).then(None).otherwise("path"),
    )
    report = make(located=missing)
    assert (report.decoded, report.refused) == (10, 4)
    store = ImageStore(tmp_path / "store")
    assert len(store) == 6
    assert store.refused["code"].to_list() == ["CXR-141", "CXR-140", "CXR-147", "CXR-147"]
    assert store.manifest["refused"] == {"CXR-140": 1, "CXR-141": 1, "CXR-147": 2}
    assert all(store.refused["reason"].str.len_chars() > 10)
    again = make(located=missing)
    assert again.decoded == 2  # what was missing is looked for again, what is broken is known


def test_two_workers_write_the_same_bytes(make: Make, tmp_path: Path) -> None:
    make()
    one = contents(tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    assert make(engine=Engine(workers=2)).decoded == 10
    assert contents(tmp_path / "store") == one


def test_shares_of_an_array_of_jobs(make: Make, tmp_path: Path) -> None:
    make()
    whole = contents(tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    first, second = make(share=(1, 3)), make(share=(3, 3))
    assert (first.images, first.missing_shards) == (4, 2)  # shards 0 and 3
    assert second.missing_shards == 1
    with pytest.raises(CxrError):
        ImageStore(tmp_path / "store")
    assert make(share=(2, 3)).missing_shards == 0
    assert contents(tmp_path / "store") == whole


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1]), Path.touch])
def test_a_damaged_shard_is_made_again(damage: Callable[[Path], object], make: Make, tmp_path: Path) -> None:
    make()
    before = contents(tmp_path / "store")
    damage(next((tmp_path / "store").glob("shard-00001-*.npy")))
    assert make().decoded == (0 if damage is Path.touch else 3)
    assert contents(tmp_path / "store") == before


def test_progress_counts_every_image(located: pl.DataFrame, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    request = StoreRequest(tmp_path / "store", located, FRAME, shard_bytes=3 * 32 * 32)
    build_store(request, tell=lambda done, total: heard.append((done, total)))
    assert heard == [(n, 10) for n in range(11)]


def test_a_store_of_another_frame_is_left_alone(make: Make) -> None:
    make()
    with pytest.raises(CxrError, match="not 64") as error:
        make(frame=Frame(64))
    assert error.value.code == "CXR-502"


def test_a_folder_of_other_files_is_left_alone(make: Make, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    np.save(tmp_path / "store" / "mine.npy", np.zeros(3))
    with pytest.raises(CxrError) as error:
        make()
    assert error.value.code == "CXR-502"
    assert (tmp_path / "store" / "mine.npy").is_file()


def test_a_full_disk_ends_the_build_and_keeps_what_was_finished(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real, seen = shards.sha256_file, []

    def full(path: Path) -> str:
        if len(seen) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        seen.append(None)
        return real(path)

    monkeypatch.setattr(shards, "sha256_file", full)
    with pytest.raises(CxrError, match="No space left") as error:
        make()
    assert error.value.code == "CXR-602"
    assert not list((tmp_path / "store").glob("*.unfinished"))
    monkeypatch.setattr(shards, "sha256_file", real)
    assert make().reused == 6


def test_a_read_only_share(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(build, "make_private", refuse)
    with pytest.raises(CxrError, match="Read-only") as error:
        make()
    assert error.value.code == "CXR-602"


def test_members_of_archives(make: Make, tmp_path: Path, located: pl.DataFrame) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for row in range(10):
            archive.write(path_of(located, row), f"images/{row}.png")
    make()
    plain = ImageStore(tmp_path / "store").read(range(10))
    shutil.rmtree(tmp_path / "store")
    packed = located.with_columns(
        path=pl.lit(str(tmp_path / "images.zip")), member=pl.format("images/{}.png", pl.int_range(10))
    )
    make(located=packed)
    assert np.array_equal(ImageStore(tmp_path / "store").read(range(10)), plain)
    assert make(located=packed).reused == 10


def test_a_wrong_share(make: Make) -> None:
    with pytest.raises(CxrError, match="no share"):
        make(share=(4, 3))
