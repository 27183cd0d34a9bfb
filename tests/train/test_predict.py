"""Predictions and features of a run: keyed, the same again, in the layouts of others; and what is refused."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from cxrtrain.bundle import HeadTargets
from cxrtrain.distributed import Place
from cxrtrain.predict import load
from cxrtrain.prediction_files import output_names
from made_run import (
    AGE,
    DISEASE,
    HEADS,
    LABELS,
    N_TEST,
    RACE,
    SIDE,
    Made,
    N,
    image_ids,
    make_run,
    write_made_bundle,
    write_store,
)

import cxrdata
from cxrdata.cli.main import run as command
from cxrdata.interop.label_orders import chexnet_outputs

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def asked(made: Made, out: Path, *more: str, what: str = "predict", part: str = ":test") -> list[str]:
    bundle = f"{made.bundle.folder}{part}"
    places = ("--bundle", bundle, "--store", str(made.store), "--out", str(out))
    return [what, str(made.run.folder.path), *places, "--device", "cpu", *more]


def by_hand(made: Made, images: list[int] | np.ndarray) -> dict[str, np.ndarray]:
    """The outputs for rows of the store, or for pixels from 0 to 255, by nothing but the net and numpy."""
    net, inputs = load(made.run, Place(0, 1, torch.device("cpu")))
    net.eval()
    assert inputs.mean == ()  # nothing is normalised
    whole = images if isinstance(images, np.ndarray) else np.load(made.store / "shard-0.npy")[images]
    pixels = whole.astype(np.float32) / 255
    with torch.inference_mode():
        said = net(torch.from_numpy(pixels)[:, None].repeat(1, 3, 1, 1))
    return {name: value.numpy().astype(np.float64) for name, value in said.items()}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class TestPredictions:
    def test_columns_and_values(self, made: Made, tmp_path: Path, one_thread: None) -> None:
        assert command(asked(made, tmp_path / "p.parquet")) == 0
        table = pq.read_table(tmp_path / "p.parquet")
        pairs = [f"{kind}_{name}" for name in (*LABELS, "white", "asian", "black") for kind in ("prob", "logit")]
        assert table.column_names == ["dataset", "image_id", *pairs, "pred_age_years", "run_id"]
        assert table["image_id"].to_pylist() == image_ids()[-N_TEST:]
        assert set(table["run_id"].to_pylist()) == {made.run.run_id}
        expected = by_hand(made, list(range(N - N_TEST, N)))
        at = LABELS.index("cardiomegaly")
        logit = expected["disease"][:, at]
        np.testing.assert_allclose(table["logit_cardiomegaly"].to_numpy(), logit, atol=1e-5)
        np.testing.assert_allclose(table["prob_cardiomegaly"].to_numpy(), 1 / (1 + np.exp(-logit)), atol=1e-6)
        shares = np.exp(expected["race"]) / np.exp(expected["race"]).sum(1, keepdims=True)
        np.testing.assert_allclose(table["prob_asian"].to_numpy(), shares[:, 1], atol=1e-6)
        np.testing.assert_allclose(table["pred_age_years"].to_numpy(), expected["age"][:, 0] * 20 + 50, atol=1e-3)

    def test_again_the_same_bytes(self, made: Made, tmp_path: Path, one_thread: None) -> None:
        for name in ("a", "b"):
            assert command(asked(made, tmp_path / f"{name}.parquet", part="")) == 0
        first, second = ((tmp_path / f"{name}.parquet").read_bytes() for name in ("a", "b"))
        assert hashlib.sha256(first).hexdigest() == hashlib.sha256(second).hexdigest()

    def test_csv_holds_the_same_numbers(self, made: Made, tmp_path: Path, one_thread: None) -> None:
        for name in ("p.parquet", "p.csv"):
            assert command(asked(made, tmp_path / name)) == 0
        parquet, text = pl.read_parquet(tmp_path / "p.parquet"), pl.read_csv(tmp_path / "p.csv")
        assert text.columns == parquet.columns
        assert text["prob_edema"].to_list() == parquet["prob_edema"].cast(pl.Float64).to_list()

    def test_what_two_heads_put_out_alike_is_told_apart(self) -> None:
        disease = HeadTargets("disease", "classes", "ce", ("No Finding", "Other"), ("target_disease",))
        race = HeadTargets("race", "classes", "ce", ("American Indian/Alaska Native", "Other"), ("target_race",))
        named = {"disease": ("no_finding", "other"), "race": ("american_indian_alaska_native", "race_other")}
        assert output_names((disease, race)) == named

    def test_images_that_were_trained_on_are_told(
        self, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], one_thread: None
    ) -> None:
        assert command(asked(made, tmp_path / "p.parquet", part="")) == 0
        assert "20 images of 40 were trained on" in capsys.readouterr().err
        assert command(asked(made, tmp_path / "p.parquet")) == 0
        assert "trained on" not in capsys.readouterr().err

    def test_the_runs_own_test_part_is_the_default(
        self, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], one_thread: None
    ) -> None:
        own = tmp_path / "run"
        shutil.copytree(made.run.folder.path, own)
        shutil.copytree(made.bundle.folder, own / "bundle")
        assert command(["predict", str(own), "--store", str(made.store)]) == 0
        out = own / "predictions.test.parquet"
        assert capsys.readouterr().out == f"{out}\n"
        assert pq.read_table(out)["image_id"].to_pylist() == image_ids()[-N_TEST:]


class TestHistogramMatching:
    def test_tones_of_the_training_images(self, made: Made, tmp_path: Path, one_thread: None) -> None:
        """As by interpolation of the ranks in the mean cumulative histogram of the training images, of which there are fewer
        than are drawn, so that all are."""
        logits = {}
        for blend in ("0", "1"):
            # The whole bundle is named, so that it is known what was trained on.
            arguments = asked(made, tmp_path / f"{blend}.parquet", "--histogram-blend", blend, part="")
            assert command(arguments) == 0
            logits[blend] = pq.read_table(tmp_path / f"{blend}.parquet")["logit_edema"].to_numpy()[-N_TEST:]
        pixels = np.load(made.store / "shard-0.npy")
        shares = [np.cumsum(np.bincount(one.ravel(), minlength=256)) / SIDE**2 for one in pixels]
        learnt = np.mean(shares[:20], axis=0)
        matched = [np.interp(shares[at], learnt, np.arange(256))[pixels[at]] for at in range(N - N_TEST, N)]
        expected = by_hand(made, np.stack(matched))["disease"][:, LABELS.index("edema")]
        np.testing.assert_allclose(logits["1"], expected, atol=2e-3)
        assert np.abs(logits["0"] - expected).max() > 2e-2

    def test_of_a_run_whose_training_images_nobody_names(
        self, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], one_thread: None
    ) -> None:
        other = tmp_path / "other"
        write_made_bundle(other, heads=())
        arguments = [*asked(made, tmp_path / "p.parquet"), "--bundle", f"{other}:test", "--histogram-blend", "0.5"]
        assert command(arguments) == 2
        assert capsys.readouterr().err.startswith("error CXR-502: nothing says which images the run was trained on\n")


class TestLayouts:
    def test_chexnet(self, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], one_thread: None) -> None:
        assert command(asked(made, tmp_path / "p.parquet")) == 0
        assert command(asked(made, tmp_path / "c.csv", "--layout", "chexnet")) == 0
        assert "no such label: enlarged_cardiomediastinum, fracture" in capsys.readouterr().err
        ours, theirs = pl.read_parquet(tmp_path / "p.parquet"), pl.read_csv(tmp_path / "c.csv")
        seven = ["Atelectasis", "Cardiomegaly", "Effusion", "Pneumonia", "Pneumothorax", "Consolidation", "Edema"]
        assert theirs.columns == ["Image Index", *(f"prob_{name}" for name in seven)]
        assert theirs["Image Index"].to_list() == ours["image_id"].to_list()
        assert theirs["prob_Effusion"].to_list() == ours["prob_pleural_effusion"].cast(pl.Float64).to_list()

    def test_chexnets_labels_have_a_finding_each(self) -> None:
        assert len(chexnet_outputs()) == 14
        assert chexnet_outputs()["pleural_effusion"] == "Effusion"

    def test_chexploration(self, made: Made, tmp_path: Path, one_thread: None) -> None:
        assert command(asked(made, tmp_path / "p.parquet")) == 0
        assert command(asked(made, tmp_path / "d.csv", "--layout", "chexploration", "--head", "disease")) == 0
        ours, theirs = pl.read_parquet(tmp_path / "p.parquet"), rows_of(tmp_path / "d.csv")
        header = [f"{kind}_{at}" for kind in ("class", "logit", "target") for at in range(14)]
        assert list(theirs[0]) == header
        at = LABELS.index("pleural_effusion")
        assert [float(row[f"class_{at}"]) for row in theirs] == ours["prob_pleural_effusion"].to_list()
        truth = made.bundle.targets(DISEASE)[-N_TEST:]
        assert [row["target_10"] for row in theirs] == [str(int(one)) for one in truth[:, 10]]
        assert theirs[-1]["target_0"] == ""  # not known
        keys = rows_of(tmp_path / "d.keys.csv")
        assert [row["image_id"] for row in keys] == ours["image_id"].to_list()
        assert command(asked(made, tmp_path / "r.csv", "--layout", "chexploration", "--head", "race")) == 0
        race = rows_of(tmp_path / "r.csv")
        assert list(race[0])[-2:] == ["logit_2", "target"]
        assert [row["target"] for row in race] == [str(int(one)) for one in made.bundle.targets(RACE)[-N_TEST:, 0]]

    def test_targets_that_a_bundle_does_not_have_are_left_empty(
        self, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], one_thread: None
    ) -> None:
        """A bundle of another experiment, or for prediction alone, names images as well as any."""
        write_made_bundle(tmp_path / "other", heads=())
        more = ("--bundle", f"{tmp_path / 'other'}:test", "--layout", "chexploration", "--head", "race")
        assert command([*asked(made, tmp_path / "r.csv"), *more]) == 0
        assert "the targets are left empty: the bundle has none of this head\n" in capsys.readouterr().err
        rows = rows_of(tmp_path / "r.csv")
        assert {row["target"] for row in rows} == {""}
        assert len(rows) == N_TEST

    def test_the_audit_finds_the_same_in_all_of_them(self, made: Made, tmp_path: Path, one_thread: None) -> None:
        whole = {"ours": ("p.parquet",), "chexnet": ("c.csv", "--layout", "chexnet")}
        whole["chexploration"] = ("d.csv", "--layout", "chexploration", "--head", "disease")
        truth = made.bundle.targets(DISEASE)
        labels = {f"{name}": truth[:, at].tolist() for at, name in enumerate(LABELS)}
        frame = pl.DataFrame({"image_id": image_ids(), "patient_id": image_ids()} | labels).fill_nan(None)
        frame.with_columns(pl.col(name).cast(pl.Int8) for name in LABELS).write_csv(tmp_path / "truth.csv")
        answers = {}
        for name, (file, *more) in whole.items():
            assert command(asked(made, tmp_path / file, *more)) == 0
            order = tmp_path / "d.keys.csv" if name == "chexploration" else None
            answer = cxrdata.audit(
                predictions=[tmp_path / file],
                truth_from=tmp_path / "truth.csv",
                order=order,
                labels=["cardiomegaly", "edema", "pleural_effusion"],
                metrics=["auroc", "brier"],
                bootstrap=0,
                min_cell=0,
            )
            answers[name] = answer.rows.drop("model")
        assert answers["ours"]["estimate"].null_count() == 0
        for name in ("chexnet", "chexploration"):
            assert answers[name].equals(answers["ours"]), name


class TestEmbeddings:
    def test_of_one_length_and_what_the_heads_see(self, made: Made, tmp_path: Path, one_thread: None) -> None:
        assert command(asked(made, tmp_path / "e.parquet", what="embed")) == 0
        table = pq.read_table(tmp_path / "e.parquet")
        assert table.column_names == ["dataset", "image_id", "embedding", "run_id"]
        net, _ = load(made.run, Place(0, 1, torch.device("cpu")))
        assert str(table.schema.field("embedding").type) == f"fixed_size_list<element: float>[{net.width}]"
        features = np.asarray(table["embedding"].to_pylist(), dtype=np.float32)
        with torch.inference_mode():
            logits = net.heads["disease"](torch.from_numpy(features)).numpy()
        np.testing.assert_allclose(logits, by_hand(made, list(range(N - N_TEST, N)))["disease"], atol=1e-5)

    def test_chexploration(self, made: Made, tmp_path: Path, one_thread: None) -> None:
        assert command(asked(made, tmp_path / "e.parquet", what="embed")) == 0
        more = ("--layout", "chexploration", "--head", "race")
        assert command(asked(made, tmp_path / "e.csv", *more, what="embed")) == 0
        theirs = rows_of(tmp_path / "e.csv")
        ours = pq.read_table(tmp_path / "e.parquet")["embedding"].to_pylist()
        width = len(ours[0])
        assert list(theirs[0]) == [*map(str, range(width)), "target"]
        assert [float(theirs[3][str(at)]) for at in range(width)] == ours[3]
        assert (tmp_path / "e.keys.csv").is_file()


class TestRefused:
    def refused(self, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
        capsys.readouterr()
        assert command(arguments) != 0
        said = capsys.readouterr()
        assert said.out == ""
        return said.err

    def copied(self, made: Made, folder: Path) -> Path:
        shutil.copytree(made.run.folder.path, folder)
        return folder

    def test_images_that_the_store_lacks(
        self, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], one_thread: None
    ) -> None:
        store = write_store(tmp_path / "store", n=N - 2)
        arguments = [*asked(made, tmp_path / "p.parquet"), "--store", str(store)]
        assert self.refused(capsys, arguments).startswith(
            "error CXR-151: the store lacks 2 images of 12, such as nih_cxr14:00000038_000.png\n"
        )
        assert command([*arguments, "--skip-missing"]) == 0
        assert "2 images left out: the store lacks them" in capsys.readouterr().err
        assert pq.read_table(tmp_path / "p.parquet").num_rows == N_TEST - 2

    def test_a_store_of_another_size(self, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        store = write_store(tmp_path / "store", side=24)
        assert self.refused(capsys, [*asked(made, tmp_path / "p.parquet"), "--store", str(store)]) == (
            f"error CXR-151: the store holds images of 24 pixels a side, and the run was trained on {SIDE}\n"
            f"  at:  {store}\n"
            f"  fix: cxrdata images build --size {SIDE} --fit squash --out STORE\n"
        )

    def test_a_run_that_never_finished_an_epoch(
        self, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = self.copied(made, tmp_path / "run")
        (run / "checkpoints" / "best.safetensors").unlink()
        arguments = asked(made, tmp_path / "p.parquet")
        arguments[1] = str(run)
        assert self.refused(capsys, arguments).startswith(
            f"error CXR-155: the run {made.run.run_id} has not finished an epoch yet\n"
        )

    @pytest.mark.parametrize("harm", ["cut", "other", "no config"])
    def test_a_damaged_run(self, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str) -> None:
        run = self.copied(made, tmp_path / "run")
        best = run / "checkpoints" / "best.safetensors"
        if harm == "cut":
            best.write_bytes(best.read_bytes()[:1000])
        elif harm == "no config":
            (run / "config.toml").unlink()
        else:
            about = json.loads((run / "run.json").read_text())
            (run / "run.json").write_text(json.dumps(about | {"run_id": "0" * 12}))
        arguments = asked(made, tmp_path / "p.parquet")
        arguments[1] = str(run)
        said = {
            "cut": "error CXR-155: there is no whole checkpoint here\n",
            "other": f"error CXR-155: the checkpoint is of the run {made.run.run_id}, and the folder of 000000000000\n",
            "no config": "error CXR-155: there is no run here\n",
        }
        assert self.refused(capsys, arguments).startswith(said[harm])
        assert not (tmp_path / "p.parquet").exists()

    def test_a_run_of_another_model(self, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run = self.copied(made, tmp_path / "run")
        about = json.loads((run / "run.json").read_text())
        about["heads"] = about["heads"][:1]
        (run / "run.json").write_text(json.dumps(about))
        arguments = asked(made, tmp_path / "p.parquet")
        arguments[1] = str(run)
        assert self.refused(capsys, arguments).startswith(
            "error CXR-155: the checkpoint does not hold the run's model small\n"
        )

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (("--layout", "chexploration"), "error CXR-502: the layout holds one head, and the run has 3\n"),
            (("--layout", "chexploration", "--head", "sex"), "error CXR-501: the run has no head 'sex'"),
            (
                ("--layout", "chexploration", "--head", "age"),
                "error CXR-502: the layout chexploration names no outputs",
            ),
            (("--split", "x"), "error CXR-502: --bundle says which images are meant\n"),
            (("--out", "p.txt"), "error CXR-502: --out does not end in .parquet or .csv"),
            (("--out", "nowhere/p.csv"), "error CXR-602: cannot write: no such folder\n"),
        ],
    )
    def test_what_does_not_fit(
        self, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], said: str
    ) -> None:
        assert self.refused(capsys, [*asked(made, tmp_path / "p.csv"), *more]).startswith(said)

    def test_a_part_that_is_none(self, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.refused(capsys, asked(made, tmp_path / "p.csv", part=":tset")).startswith(
            "error CXR-501: the split has no part 'tset'; did you mean test?\n"
        )

    def test_no_bundle_of_its_own(self, made: Made, capsys: pytest.CaptureFixture[str]) -> None:
        run = str(made.run.folder.path)
        assert self.refused(capsys, ["predict", run, "--store", str(made.store)]).startswith(
            "error CXR-502: the run made no bundle of its own, so nothing says which images are meant\n"
        )


def test_on_a_gpu_node_nothing_of_the_catalog_is_imported(made: Made, tmp_path: Path) -> None:
    """With a bundle, no Polars, DuckDB, pandera or openpyxl; each layout too."""
    blocked = "polars", "duckdb", "pandera", "openpyxl"
    runs = [
        asked(made, tmp_path / "p.parquet"),
        asked(made, tmp_path / "d.csv", "--layout", "chexploration", "--head", "race"),
        asked(made, tmp_path / "c.csv", "--layout", "chexnet"),
        asked(made, tmp_path / "e.parquet", what="embed"),
        ["runs", "show", str(made.run.folder.path)],
    ]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        f"from cxrdata.cli.main import run\n"
        f"print([int(run(one)) for one in {runs!r}])"
    )
    where = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "train")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": where, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.rstrip().endswith("[0, 0, 0, 0, 0]"), done.stderr


@pytest.mark.parametrize("name", ["predict", "embed"])
def test_without_the_extra_it_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("cxrtrain.cli.find_spec", lambda _: None)
    assert command([name, "runs/quick"]) == 3
    assert capsys.readouterr().err == ("error CXR-604: torch is not installed\n  fix: pip install 'cxrdata[train]'\n")


def test_heads_are_those_of_the_run(made: Made) -> None:
    assert made.run.heads == HEADS
    assert AGE in made.run.heads
