"""A stored split drawn anew, and the command that does it."""

from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl
import pytest

import cxrdata
from cxrdata.cli.main import run
from cxrdata.errors import CxrError
from cxrdata.splits.make import make_split
from cxrdata.splits.request import SplitRequest
from cxrdata.splits.resample_split import ResampleRequest, resample_frame, resample_split
from cxrdata.splits.stored import read_split, read_split_manifest, store_split
from cxrdata.store.catalog import Catalog

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def with_split(own_catalog: Catalog) -> Catalog:
    """A catalog with one split, of which half is test."""
    made = make_split(own_catalog, SplitRequest(datasets=("chexpert", "mimic_cxr"), ratios="0.5,0.5"))
    store_split(own_catalog, "plain", made.frame, made.manifest)
    return own_catalog


@pytest.fixture
def say(with_split: Catalog, capsys: pytest.CaptureFixture[str]) -> Command:
    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(["resample", *arguments, "-c", str(with_split.folder.path)])
        captured = capsys.readouterr()
        return int(code), captured.out, captured.err

    return command


def test_what_is_stored(with_split: Catalog) -> None:
    request = ResampleRequest(balance=("sex",), match=("view",), seed=3)
    made, resampled = resample_split(with_split, "plain", request)
    base, test = read_split_manifest(with_split, "plain"), read_split(with_split, "plain").filter(split="test")
    assert made.frame.columns == ["dataset", "image_id", "patient_id", "split", "n_draws"]
    assert made.frame.join(test, on=["dataset", "image_id", "patient_id", "split"], how="anti").is_empty()
    assert made.frame.height + sum(row["images"] for row in made.manifest["left_out"]) == test.height
    assert made.frame["n_draws"].sum() == resampled.groups["draws"].sum()
    assert made.manifest["arguments"] == base["arguments"] | {"resample": request.arguments()}
    told = [row for row in made.manifest["left_out"] if row in resampled.left_out.to_dicts()]
    assert told == resampled.left_out.to_dicts()
    assert {row["reason"] for row in made.manifest["left_out"] if row not in told} == {"sex is null"}
    assert made.manifest["resample"] == json.loads(json.dumps(resampled.report()))
    assert sum(row["draws"] for row in made.manifest["counts"]) == made.frame["n_draws"].sum()
    assert ResampleRequest.from_arguments(made.manifest["arguments"]["resample"]) == request


def test_command(say: Command, with_split: Catalog) -> None:
    code, out, err = say("--balance", "sex", "--match", "disease", "--format", "csv")
    assert code == 0
    header = "dataset,sex,images,not_drawn,draws,most_draws,effective_images,effective_patients"
    assert out.splitlines()[0] == header
    assert [line.split(",")[:2] for line in out.splitlines()[1:3]] == [["chexpert", "F"], ["chexpert", "M"]]
    assert "images: never drawn" in err and "synthetic data: chexpert, mimic_cxr" in err
    assert err.splitlines()[-1].startswith("split plain-test-resampled is stored")
    with cxrdata.open(with_split.folder.path) as catalog:
        query = "SELECT sum(n_draws) AS n FROM splits WHERE split_name = 'plain-test-resampled'"
        assert catalog.sql(query)["n"].item() == sum(int(line.split(",")[4]) for line in out.splitlines()[1:])
    # Again, though there are two splits now: what is resampled is no split to resample.
    assert say("--balance", "sex", "--match", "disease", "--format", "csv")[:2] == (0, out)
    code, cells, _ = say("--balance", "sex", "--match", "disease", "--exact", "--cells", "--format", "csv", "--quiet")
    assert code == 0
    assert cells.splitlines()[0] == "dataset,sex,disease,images,share_before,draws,share_after,share_target"
    assert say("--balance", "sex", "--seed", "1")[0] == 2, "another split of the same name"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--balance", "sexx"), "error CXR-501: there is no attribute 'sexx'; did you mean sex"),
        (("--balance", "sex", "--split", "tset"), "error CXR-501: the split has no part 'tset'; did you mean test?\n  fix: parts: test, train\n"),
        (("nothing", "--balance", "sex"), "error CXR-501: there is no split 'nothing'"),
        (("--balance", "sex", "--factor", "-1"), "error CXR-502: the factor must be above 0, got -1"),
        (("--balance", ","), "error CXR-502: an option that takes names was given none"),
        ((), "error CXR-502: Missing option '--balance'"),
    ],
)  # fmt: skip
def test_bad_input(say: Command, arguments: tuple[str, ...], expected: str) -> None:
    code, out, err = say(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(expected)


def test_which_split(say: Command, with_split: Catalog) -> None:
    frame, manifest = read_split(with_split, "plain"), read_split_manifest(with_split, "plain")
    store_split(
        with_split, "other", frame, {key: manifest[key] for key in manifest if key not in ("split_name", "format")}
    )
    code, _, err = say("--balance", "sex")
    problem = "error CXR-502: the catalog has 2 splits, and none is named"
    assert (code, err) == (2, f"{problem}\n  fix: name one of other, plain: cxrdata resample other …\n")
    assert say("plain", "--balance", "sex", "--quiet")[0] == 0


def test_no_split_at_all(own_catalog: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["resample", "--balance", "sex", "-c", str(own_catalog.folder.path)]) == 2
    assert capsys.readouterr().err == (
        "error CXR-502: the catalog has no split to resample\n  fix: make one first, such as `cxrdata split`\n"
    )


def test_drawn_once_is_enough(with_split: Catalog) -> None:
    made, _ = resample_split(with_split, "plain", ResampleRequest(balance=("sex",)))
    store_split(with_split, "drawn", made.frame, made.manifest)
    with pytest.raises(CxrError, match="the rows have n_draws already"):
        resample_split(with_split, "drawn", ResampleRequest(balance=("sex",)))


def test_arguments_of_a_later_version() -> None:
    with pytest.raises(CxrError) as caught:
        ResampleRequest.from_arguments({"balance": ["race"], "polcy": 2})
    assert caught.value.block() == (
        "error CXR-502: the resampling has an argument 'polcy' that this version of cxrdata does not know; did you mean policy?\n"
        "  fix: use the version that the manifest names"
    )


def test_same_in_any_row_order(with_split: Catalog) -> None:
    frame, manifest = read_split(with_split, "plain"), read_split_manifest(with_split, "plain")
    request = ResampleRequest(balance=("sex",), match=("view",))
    made, _ = resample_frame(with_split, frame, manifest, request)
    again, _ = resample_frame(with_split, frame.sample(fraction=1, shuffle=True, seed=2), manifest, request)
    assert again.frame.equals(made.frame) and again.manifest == made.manifest
    assert made.frame.equals(made.frame.sort("dataset", "image_id"))
    assert made.frame.schema["n_draws"] == pl.Int64
