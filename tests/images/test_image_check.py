"""`images check`: what is found of each file, and that it stays with the catalog."""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from image_files import png, saved, write, zipped
from PIL import Image

import cxrdata
from cxrdata.describe import describe
from cxrdata.errors import CxrError
from cxrdata.images import check as check_module
from cxrdata.images.check import Checked, CheckRequest, check_images, problems, summary
from cxrdata.images.choice import choose
from cxrdata.images.duplicates import mark_duplicates
from cxrdata.images.examine import examine
from cxrdata.images.fingerprint import HASH_BITS, perceptual_hash, polarity, thumb
from cxrdata.images.roots import ImageRoots
from cxrdata.images.sources import ImageFile
from cxrdata.schemas.registered import IMAGE_FILES, SPLITS
from cxrdata.splits.make import make_split
from cxrdata.splits.request import SplitRequest
from cxrdata.splits.stored import store_split

SIDE = 1024  # what the catalog states of NIH


@pytest.fixture
def catalog(six_datasets: Path, tmp_path: Path) -> Path:
    """A copy of the catalog, to be written to."""
    return Path(shutil.copytree(six_datasets, tmp_path / "cxr-catalog"))


def nih_ids(catalog: Path, n: int) -> list[str]:
    with cxrdata.open(catalog) as opened:
        ids = opened.sql("SELECT image_id FROM images WHERE dataset = 'nih_cxr14' ORDER BY 1")
    return ids["image_id"].to_list()[:n]


def run(catalog: Path, root: Path, ids: list[str] | None = None, **wishes: Any) -> Checked:
    """Check images of NIH below a root."""
    with cxrdata.open(catalog) as opened:
        images = choose(opened, datasets=["nih"])
        if ids is not None:
            images = images.filter(pl.col("image_id").is_in(ids))
        return check_images(opened, CheckRequest(images, ImageRoots.load({"nih": root}), **wishes))


def facts(data: bytes, folder: Path) -> dict[str, Any]:
    path = write(folder, "one.png", data)
    return examine(ImageFile("nih_cxr14", "one.png", path), with_hash=True)


def test_each_trouble_is_told_apart(catalog: Path, tmp_path: Path) -> None:
    ids = nih_ids(catalog, 12)
    whole = png(1, side=SIDE)
    files = {
        0: whole,
        1: png(2, side=SIDE, mode="RGBA"),
        2: saved(Image.open(io.BytesIO(png(3, side=512))).crop((0, 0, 512, 480))),
        3: whole[: len(whole) // 2],
        4: b"",
        5: b"<html>log in</html>",
        6: saved(Image.new("L", (SIDE, SIDE), 7)),
        7: whole,
        8: saved(Image.open(io.BytesIO(png(9, side=SIDE))).resize((300, 300)), "JPEG", quality=60),
        9: png(9, side=SIDE),
        10: png(11, side=SIDE)[:60],
    }
    for at, content in files.items():
        write(tmp_path / "root", f"images_001/images/{ids[at]}", content)
    found = run(catalog, tmp_path / "root", ids, with_hash=True).rows
    rows = {row["image_id"]: row for row in found.iter_rows(named=True)}
    told = [rows[image_id] for image_id in ids]
    assert [row["status"] for row in told] == [
        "ok", "ok", "ok", "truncated", "truncated", "unreadable", "ok", "ok", "ok", "ok", "truncated", "missing",
    ]  # fmt: skip
    assert told[5]["message"] == "CXR-140: the file is a web page, usually that of a login"
    assert [row["wrong_mode"] for row in told] == [False, True, False, None, None, None, *[False] * 4, None, None]
    # The catalog is synthetic: a picture that is drawn smaller, such as the ninth, is not wrong.
    assert [row["wrong_size"] for row in told] == [False, False, True, *[None] * 3, *[False] * 4, None, None]
    assert [row["constant"] for row in told].count(True) == 1 and told[6]["constant"]
    first, copy = f"nih_cxr14:{ids[0]}", f"nih_cxr14:{ids[8]}"
    assert [row["same_bytes_as"] for row in told] == [first, *[None] * 6, first, *[None] * 4]
    assert [row["looks_like"] for row in told] == [first, *[None] * 6, first, copy, copy, None, None]
    assert told[1] | {"mode": "RGBA", "bits": 8, "rows_px": SIDE, "kind": "PNG"} == told[1]
    assert told[0]["file"] == f"images_001/images/{ids[0]}"
    assert told[0]["sha256"] == hashlib.sha256(whole).hexdigest()


def test_the_answer_is_the_same_with_several_workers(catalog: Path, tmp_path: Path) -> None:
    ids = nih_ids(catalog, 30)
    for at, image_id in enumerate(ids[:25]):
        write(tmp_path / "root", image_id, png(at % 20))
    one = run(catalog, tmp_path / "root", with_hash=True)
    stored = (catalog / "image_files.parquet").read_bytes()
    two = run(catalog, tmp_path / "root", with_hash=True, workers=2)
    assert two.rows.equals(one.rows)
    assert (catalog / "image_files.parquet").read_bytes() == stored
    assert one.rows["status"].value_counts().sort("status").rows() == [("missing", one.rows.height - 25), ("ok", 25)]


def test_what_was_found_joins_and_is_described(catalog: Path, tmp_path: Path) -> None:
    ids = nih_ids(catalog, 3)
    write(tmp_path / "root", ids[1], png(1))
    with cxrdata.open(catalog) as opened:
        assert "image_files" not in opened.tables
    run(catalog, tmp_path / "root", ids)
    with cxrdata.open(catalog) as opened:
        query = "SELECT status, count(*) AS n FROM images JOIN image_files USING (dataset, image_id) GROUP BY ALL ORDER BY 1"
        assert opened.sql(query).rows() == [("missing", 2), ("ok", 1)]
        assert opened.table("image_files").collect().height == 3
        relations = describe(opened).filter(pl.col("relation").is_in(["image_files", "splits"]))
        assert relations["description"].to_list() == [IMAGE_FILES.description, SPLITS.description]
        assert describe(opened, "image_files")["description"].to_list() == list(IMAGE_FILES.describe().values())
        assert describe(opened, "splits")["description"].to_list() == list(SPLITS.describe().values())


def test_a_split_keeps_only_files_that_are_ok(catalog: Path, tmp_path: Path) -> None:
    ids = nih_ids(catalog, 20)
    for at, image_id in enumerate(ids):
        write(tmp_path / "root", image_id, png(at) if at % 2 else b"broken")
    run(catalog, tmp_path / "root")
    with cxrdata.open(catalog) as opened:
        made = make_split(opened, SplitRequest(datasets=("nih_cxr14",), only_existing=True))
    assert made.frame["image_id"].sort().to_list() == ids[1::2]


def test_a_second_check_replaces_its_images_and_keeps_the_others(catalog: Path, tmp_path: Path) -> None:
    ids = nih_ids(catalog, 4)
    for at, image_id in enumerate(ids):
        write(tmp_path / "root", image_id, png(at))
    run(catalog, tmp_path / "root", ids)
    (tmp_path / "root" / ids[0]).unlink()
    again = run(catalog, tmp_path / "root", ids[:2])
    assert again.rows["status"].to_list() == ["missing", "ok"]
    kept = pl.read_parquet(catalog / "image_files.parquet")
    assert kept["status"].to_list() == ["missing", "ok", "ok", "ok"]
    new = run(catalog, tmp_path / "root", only_new=True)
    assert not set(new.rows["image_id"]) & set(ids)


def test_ctrl_c_keeps_what_was_found_and_a_later_check_goes_on(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_module, "_TASK", 2)
    ids = nih_ids(catalog, 8)
    for at, image_id in enumerate(ids):
        write(tmp_path / "root", image_id, png(at))
    calls: list[int] = []

    def interrupted(files: list[ImageFile | None], **wishes: bool) -> list[dict[str, Any]]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return [examine(file, **wishes) for file in files]

    monkeypatch.setattr(check_module, "examine_all", interrupted)
    first = run(catalog, tmp_path / "root", ids)
    assert (first.complete, first.rows["image_id"].to_list()) == (False, ids[:4])
    monkeypatch.setattr(check_module, "examine_all", check_module.examine_all)
    rest = run(catalog, tmp_path / "root", ids, only_new=True)
    assert (rest.complete, rest.rows["image_id"].to_list()) == (True, ids[4:])
    assert pl.read_parquet(catalog / "image_files.parquet")["status"].to_list() == ["ok"] * 8


def test_published_checksums_are_asked_where_they_lie(catalog: Path, tmp_path: Path) -> None:
    ids = nih_ids(catalog, 3)
    listed = []
    for at, image_id in enumerate(ids):
        write(tmp_path / "project" / "files", image_id, png(at))
        digest = hashlib.sha256(png(at) if at != 1 else b"as published").hexdigest()
        listed.append(f"{digest} files/{image_id}" if at else f"{digest.upper()}  ./files/{image_id}\r")
    write(tmp_path / "project", "SHA256SUMS.txt", "\n".join([*listed[:2], "not a line", ""]).encode())
    for root in (tmp_path / "project", tmp_path / "project" / "files"):
        found = run(catalog, root, ids, with_hash=True).rows
        assert found["matches_published"].to_list() == [True, False, None]
        assert found["status"].to_list() == ["ok", "altered", "ok"]
    assert run(catalog, tmp_path / "project", ids).rows["status"].to_list() == ["ok"] * 3


def test_known_broken_images_are_recognised(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cxrdata.open(catalog) as opened:
        row = choose(opened, datasets=["padchest"]).head(1)
        known = opened.table("broken_images").collect()
        stated = known.head(1).with_columns(image_id=pl.lit(row["image_id"][0]), problem=pl.lit("truncated"))
        true_table = opened.table

        def table(name: str) -> pl.LazyFrame:
            return stated.lazy() if name == "broken_images" else true_table(name)

        monkeypatch.setattr(opened, "table", table)
        root = tmp_path / "root"
        root.mkdir()
        found = check_images(opened, CheckRequest(row, ImageRoots.load({"padchest": root})))
    assert found.rows.select("status", "known_problem").row(0) == ("missing", "truncated")
    assert found.sound  # it is no better anywhere
    assert problems(found.rows)["flags"].to_list() == [["known_broken"]]


def test_members_of_archives_are_checked(catalog: Path, tmp_path: Path) -> None:
    ids = nih_ids(catalog, 2)
    zipped(tmp_path / "root" / "images_001.zip", {f"images/{ids[0]}": png(0), f"images/{ids[1]}": png(1)[:50]})
    found = run(catalog, tmp_path / "root", ids).rows
    assert found["status"].to_list() == ["ok", "truncated"]
    assert found.select("file", "member").row(0) == ("images_001.zip", f"images/{ids[0]}")
    assert run(catalog, tmp_path / "root", ids, quick=True).rows["file_bytes"].to_list() == [len(png(0)), 50]


def test_quick_only_looks_whether_files_are_there(catalog: Path, tmp_path: Path) -> None:
    ids = nih_ids(catalog, 3)
    write(tmp_path / "root", ids[0], b"anything")
    write(tmp_path / "root", ids[1], b"")
    write(tmp_path / "root", "99999999_000.png")
    found = run(catalog, tmp_path / "root", ids, quick=True)
    assert found.rows["status"].to_list() == ["ok", "truncated", "missing"]
    assert found.others == {"nih_cxr14": 1}
    counts = summary(found.rows)
    assert counts.select("images", "ok", "missing", "truncated", "wrong_mode").row(0) == (3, 1, 1, 1, None)


def test_a_damaged_result_says_what_to_do(catalog: Path) -> None:
    (catalog / "image_files.parquet").write_bytes(b"nothing")
    with pytest.raises(CxrError, match="what was found of the image files") as caught:
        cxrdata.open(catalog).connect()
    assert caught.value.code == "CXR-405"


def test_a_read_only_catalog_is_told(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(check_module, "write_parquet", refuse)
    (tmp_path / "root").mkdir()
    with pytest.raises(CxrError, match="Read-only file system") as caught:
        run(catalog, tmp_path / "root", nih_ids(catalog, 1))
    assert caught.value.code == "CXR-602"


def test_a_hash_is_of_what_is_seen() -> None:
    picture = Image.open(io.BytesIO(png(5, side=256)))
    other = Image.open(io.BytesIO(png(6, side=256)))
    brighter = picture.point([value // 2 + 100 for value in range(256)])
    bits = [bin(int(perceptual_hash(thumb(one)), 16)) for one in (picture, brighter, other)]
    assert sum(a != b for a, b in zip(bits[0].zfill(300), bits[1].zfill(300), strict=True)) <= 4
    assert sum(a != b for a, b in zip(bits[0].zfill(300), bits[2].zfill(300), strict=True)) > HASH_BITS // 8


def test_copies_are_found_across_datasets_and_through_others() -> None:
    rng = np.random.default_rng(0)
    start = rng.integers(0, 2, HASH_BITS, dtype=np.uint8)

    def flipped(*places: int) -> str:
        bits = start.copy()
        bits[list(places)] ^= 1
        return np.packbits(bits).tobytes().hex()

    far = np.packbits(1 - start).tobytes().hex()
    frame = pl.DataFrame(
        {
            "dataset": ["a", "a", "b", "b", "c"],
            "image_id": ["1", "2", "3", "4", "5"],
            "sha256": ["x", None, "x", "y", None],
            # 9 bits, one in every band; then 9 more: 18 from the first, but through the second; a constant one.
            "perceptual_hash": [flipped(), flipped(*range(9)), flipped(*range(18)), far, flipped()],
            "constant": [False, False, False, False, True],
        }
    )
    marked = mark_duplicates(frame)
    assert marked["same_bytes_as"].to_list() == ["a:1", None, "a:1", None, None]
    assert marked["looks_like"].to_list() == ["a:1", "a:1", "a:1", None, None]


def test_a_constant_picture_has_no_polarity(tmp_path: Path) -> None:
    assert polarity(np.full((64, 64), 3.0)) is None
    found = facts(saved(Image.new("L", (80, 60), 200)), tmp_path)
    assert found | {"constant": True, "inverted": False, "polarity": None, "pixel_mean": 200.0} == found


def test_sixteen_bits_are_told(tmp_path: Path) -> None:
    picture = Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16)
    found = facts(saved(picture), tmp_path)
    assert (found["mode"], found["bits"], found["wrong_mode"]) == ("I;16", 16, False)


def test_choosing_images(catalog: Path) -> None:
    with cxrdata.open(catalog) as opened:
        everything = choose(opened)
        nih = choose(opened, datasets=["nih"])
        women = choose(opened, datasets=["nih"], where="sex = 'F'")
        made = make_split(opened, SplitRequest(datasets=("nih_cxr14",)))
        store_split(opened, "mine", made.frame, made.manifest)
    with cxrdata.open(catalog) as opened:
        test = choose(opened, split="mine:test")
        assert 0 < test.height < nih.height
        assert choose(opened, split="mine").equals(nih)
        with pytest.raises(CxrError, match="has no part 'tset'; did you mean test"):
            choose(opened, split="mine:tset")
        with pytest.raises(CxrError) as caught:
            choose(opened, where="sex = 'nobody'")
        assert caught.value.code == "CXR-507"
    assert 0 < women.height < nih.height < everything.height


def test_the_real_images(nih_catalog: Path, real_data: Path, tmp_path: Path) -> None:
    catalog = Path(shutil.copytree(nih_catalog, tmp_path / "cxr-catalog"))
    root = real_data / "nih" / "images"
    found = run(catalog, root, [path.name for path in root.iterdir()], with_hash=True)
    assert found.sound and found.rows.height == 36
    flagged = {
        name: found.rows.filter(condition)["image_id"].to_list() for name, condition in check_module.FLAGS.items()
    }
    rgba = [path.name for path in sorted(root.iterdir()) if path.read_bytes()[25] == 6]
    assert len(rgba) == 3
    # 00017625_000 is stored as a negative, as one sees.
    expected = {"wrong_mode": rgba, "inverted": ["00017625_000.png"]}
    assert flagged == {name: expected.get(name, []) for name in flagged}
    assert set(found.rows.select("rows_px", "columns_px", "bits").rows()) == {(1024, 1024, 8)}


def test_a_real_image_that_was_made_smaller_is_of_the_wrong_size(
    nih_catalog: Path, real_data: Path, tmp_path: Path
) -> None:
    first = min((real_data / "nih" / "images").glob("*.png"))
    write(tmp_path / "nih", first.name, saved(Image.open(first).convert("L").resize((512, 512))))
    shutil.copytree(nih_catalog, tmp_path / "cat")
    found = run(tmp_path / "cat", tmp_path / "nih", [first.name]).rows
    assert found["wrong_size"].to_list() == [True]
