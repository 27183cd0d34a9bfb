"""`cxrdata images build|export|show`, `synth --images` and `cat.images`: from drawn files to batches, once through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from said import Said, is_one_block

import cxrdata
from cxrdata.cli.main import run
from cxrdata.errors import CxrError
from cxrdata.images.store import ImageStore

Say = Callable[..., Said]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data/nih_cxr14` and `data/vindr_pcxr`, drawn, and their catalog `cat`."""
    folder = tmp_path_factory.mktemp("drawn")
    text = Path(cxrdata.__file__).parent.parent / "metadata" / "phantom_norms.toml"
    norms = folder / "norms.toml"
    norms.write_text(text.read_text(encoding="utf-8").replace("long_side = 320", "long_side = 64"), encoding="utf-8")
    assert (
        run(
            [
                "synth",
                str(folder / "data"),
                "--scale",
                "0.0003",
                "--only",
                "nih,pcxr",
                "--images",
                "--norms",
                str(norms),
            ]
        )
        == 0
    )
    assert (
        run(["build-catalog", "--root", str(folder / "data"), "-c", str(folder / "cat"), "-q", "--workers", "1"]) == 0
    )
    return folder


@pytest.fixture
def ask(say: Say, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    def command(*arguments: str) -> Said:
        monkeypatch.setenv("CXRDATA_ROOT", str(drawn / "data"))
        return say("images", *arguments, "-c", str(drawn / "cat"))

    return command


@pytest.fixture
def store(ask: Say, drawn: Path) -> Path:
    """A store of all images, built once."""
    if not (drawn / "store" / "manifest.json").is_file():
        assert ask("build", "--size", "32", "--out", str(drawn / "store"), "--workers", "1").code == 0
    return drawn / "store"


def test_build_says_what_it_did_and_continues(ask: Say, tmp_path: Path) -> None:
    asked = ("build", "--size", "24", "--dataset", "nih", "--out", str(tmp_path / "store"), "--workers", "1")
    first = ask(*asked)
    assert first.code == 0
    n = len(ImageStore(tmp_path / "store"))
    assert f"{n} images: {n} decoded" in first.err
    assert f"0 decoded (0/s), {n} as they were; 0 of them refused" in ask(*asked).err
    assert ask(*asked, "--quiet").err == ""


def test_every_drawn_image_is_in_the_store_or_refused(store: Path, drawn: Path) -> None:
    opened = ImageStore(store)
    with cxrdata.open(drawn / "cat") as cat:
        total = cat.sql("SELECT count(*) FROM images").item()
    assert len(opened) + opened.refused.height == total
    assert set(opened.index["dataset"]) == {"nih_cxr14", "vindr_pcxr"}
    assert set(opened.refused["code"]) <= {"CXR-143", "CXR-144"}


def test_shares_of_an_array(ask: Say, tmp_path: Path) -> None:
    asked = ("build", "--size", "24", "--dataset", "nih", "--out", str(tmp_path / "store"), "--workers", "1")
    assert "1 shard left" in ask(*asked, "--shard", "2/2").err
    assert "store written" in ask(*asked, "--shard", "1/2").err
    is_one_block(ask(*asked, "--shard", "two"), "CXR-502")


def test_cat_images_reads_batches_by_key(store: Path, drawn: Path) -> None:
    with cxrdata.open(drawn / "cat") as cat:
        chosen = cat.sql(
            "SELECT dataset, image_id FROM images WHERE dataset = 'nih_cxr14' ORDER BY image_id DESC LIMIT 5"
        )
        images = cat.images(store, chosen)
        assert len(images) == 5
        buffer = np.empty((3, 32, 32), dtype=np.uint8)
        batch = images.read([4, 0, 2], buffer)
        whole = cat.images(store)
        at = whole.positions(chosen)
        assert np.array_equal(batch, whole.read(at[[4, 0, 2]]))
        assert np.array_equal(cat.images(store, chosen.to_pandas())[1], images[1])
        assert len(images.__getitems__([0, 1])) == 2
        with pytest.raises(CxrError) as error:
            cat.images(store, pl.DataFrame({"dataset": ["nih_cxr14"], "image_id": ["x"]}))
    assert error.value.code == "CXR-149"


@pytest.mark.parametrize(("kind", "suffix"), [("png", ".png"), ("jpeg", ".jpg")])
def test_export_plain(kind: str, suffix: str, ask: Say, store: Path, tmp_path: Path) -> None:
    from cxrdata.images.decode import decode

    out = tmp_path / "out"
    assert ask("export", str(store), str(out), "--as", kind, "--dataset", "nih").code == 0
    opened = ImageStore(store)
    files = sorted(out.rglob(f"*{suffix}"))
    assert len(files) == opened.manifest["datasets"]["nih_cxr14"]
    shown = decode(files[0].read_bytes()).pixels
    assert np.abs(shown.astype(int) - opened[0]).max() <= (0 if kind == "png" else 12)
    assert (
        f"0 images written to {out}, {len(files)} were there"
        in ask("export", str(store), str(out), "--as", kind, "--dataset", "nih").err
    )


def test_export_for_ped_vs_adults(ask: Say, store: Path, tmp_path: Path) -> None:
    assert ask("export", str(store), str(tmp_path), "--layout", "ped_vs_adults").code == 0
    table = pl.read_csv(tmp_path / "metadata" / "vindr_pcxr_images.csv")
    assert table.columns == ["image_id", "dset", "dirname", "filename"]
    for dirname, filename in table.select("dirname", "filename").iter_rows():
        assert dirname.startswith("vindr-pcxr/1.0.0/")
        assert (tmp_path / dirname / filename).is_file()


def test_export_for_chexploration_has_no_place_for_these(ask: Say, store: Path, tmp_path: Path) -> None:
    is_one_block(ask("export", str(store), str(tmp_path), "--layout", "chexploration", "--quiet"), "CXR-502")


def test_chexploration_names_are_those_of_its_sample_files() -> None:
    from cxrdata.images.export import _names

    rows = pl.DataFrame(
        {
            "dataset": ["chexpert", "mimic_cxr", "padchest"],
            "image_id": ["a", "b", "c"],
            "path": ["train/patient00001/study1/view1_frontal.jpg", "files/p10/p100/s50/d1.jpg", "0/c.png"],
        }
    )
    assert _names(rows, "chexploration", 224, ".jpg").to_list() == [
        "preproc_224x224/patient00001_study1_view1_frontal.jpg",
        "preproc_224x224/s50_d1.jpg",
        None,
    ]


def test_an_id_that_climbs_out_is_not_written() -> None:
    from cxrdata.images.export import _safe

    for name in ("nih/../../x.png", "/x.png"):
        with pytest.raises(CxrError, match="climbs out"):
            _safe(name)


def test_show_draws_from_files_and_from_a_store(ask: Say, store: Path, tmp_path: Path) -> None:
    query = "SELECT dataset, image_id, age_years FROM images WHERE dataset = 'nih_cxr14' ORDER BY image_id LIMIT 3"
    for wishes in ((), ("--store", str(store))):
        out = tmp_path / f"sheet{len(wishes)}.png"
        assert "3 pictures drawn" in ask("show", query, "--sheet", str(out), "--size", "32", *wishes).err
    from cxrdata.images.decode import decode

    files, stored = (decode((tmp_path / f"sheet{n}.png").read_bytes()).pixels.astype(int) for n in (0, 2))
    assert np.abs(files[:32] - stored[:32]).max() <= 1


def test_show_means_and_histograms(ask: Say, store: Path, tmp_path: Path) -> None:
    query = "SELECT dataset, image_id, age_group FROM images"
    out = tmp_path / "means.html"
    assert ask("show", query, "--mean", "age_group", "--store", str(store), "--sheet", str(out)).code == 0
    assert out.read_text(encoding="utf-8").count("<figure>") >= 2
    said = ask("show", query, "--histogram", "dataset", "--store", str(store), "--format", "csv", "--quiet")
    rows = pl.read_csv(said.out.encode())
    assert rows.group_by("dataset").agg(pl.col("share").sum())["share"].to_list() == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show", "--mean", "view", "--sheet", "x.png"), "CXR-502"),
        (("show",), "CXR-502"),
        (("show", "SELECT dataset FROM images", "--sheet", "x.png"), "CXR-504"),
        (("show", "SELECT 1 AS dataset, 2 AS image_id FROM range(401)", "--sheet", "x.png"), "CXR-502"),
        (("export", "nowhere", "out"), "CXR-148"),
        (("build", "--out", "x", "--dataset", "other"), "CXR-501"),
    ],
)
def test_wrong_wishes(arguments: tuple[str, ...], code: str, ask: Say) -> None:
    is_one_block(ask(*arguments, "-q"), code)


def test_norms_without_images(say: Say, tmp_path: Path) -> None:
    is_one_block(say("synth", str(tmp_path / "d"), "--norms", "x.toml"), "CXR-502")
