"""`cxrdata dne` on a catalog and a store of one's own: the steps by hand, what is found again, black boxes, what is refused."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread

import numpy as np
import polars as pl
import pytest

import cxrdata
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog

SIDE = 16
FINDING = "infiltration"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def places(synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A catalog of synthetic NIH images with a split, a store of drawn pictures of them, an experiment."""
    from training import write_store

    folder = tmp_path_factory.mktemp("dne-command")
    catalog = folder / "catalog"
    build_catalog(
        BuildRequest(catalog, named=[(Registry().get("nih"), synthetic("nih_cxr14", scale=0.004))], workers=1)
    )
    main = import_module("cxrdata.cli.main")
    wishes = ["--spurious", FINDING, "--with", "sex", "--dataset", "nih", "--per-cell", "6", "--correlation", "0.7"]
    assert main.run(["split", *wishes, "--name", "spurious", "-q", "-c", str(catalog)]) == 0
    with cxrdata.open(catalog) as opened:
        truth = opened.sql(
            f"SELECT i.image_id, i.sex, l.{FINDING} AS state FROM images i JOIN image_labels l USING (dataset, image_id) ORDER BY ALL"
        )
    pixels = np.random.default_rng(0).integers(60, 160, (truth.height, SIDE, SIDE), dtype=np.uint8)
    pixels[(truth["state"] == 1).fill_null(value=False).to_numpy(), 8:12, 8:12] += 40
    pixels[:, :4, :4] = 0
    pixels[(truth["sex"] == "M").to_numpy(), :4, :4] = 40
    store = write_store(folder / "store", pixels, ids=truth["image_id"].to_list())
    (folder / "mine.toml").write_text(
        f"""
        title = "mine"
        data = {{ side = {SIDE}, split = "spurious" }}
        input = {{ channels = 1, normalise = "training" }}
        backbone = {{ name = "small", weights = "none" }}
        disease = {{ finding = "{FINDING}" }}
        attribute = {{ name = "sex", classes = ["F", "M"] }}
        probe = {{ lr = 0.01, epochs = 5 }}
        noise = {{ lr = 0.02, epochs = 2, penalty = [0.001], limit = 0.2 }}
        black = {{ steps = 2, judge_every = 2, batch = 16, directions = 2, spaces = ["grid"], grid = 4 }}
        finetune = {{ epochs = 3, base_lr = 0.02 }}
        judge = {{ bootstrap = 20 }}
        """
    )
    return {"catalog": catalog, "store": store, "experiment": folder / "mine.toml", "folder": folder}


@pytest.fixture
def dne(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`dne("run", …)`: exit code, stdout and stderr of `cxrdata dne run mine.toml …`, installed or not."""
    main = import_module("cxrdata.cli.main")
    monkeypatch.setitem(main.COMMANDS, "dne", ("cxrtrain.cli.dne", "dne", ""))

    def run(step: str, *arguments: object, store: bool = True) -> tuple[int, str, str]:
        capsys.readouterr()
        given = [str(places["experiment"]), "-c", str(places["catalog"]), "--device", "cpu"]
        given += ["--store", str(places["store"])] if store else []
        code = main.run(["dne", step, *given, *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of stages for the tests of this file: they go on from each other's, as anybody's commands do."""
    return tmp_path_factory.mktemp("out") / "dne"


def states(text: str) -> dict[str, str]:
    return dict(pl.read_csv(io.StringIO(text)).select("stage", "state").iter_rows())


def test_each_step_by_hand_and_all_of_them(dne: Command, out: Path) -> None:
    said = states(dne("run", "--out", out, "--dry-run", "--format", "csv")[1])
    stages = ["bundle", "probe", "fit-white-uniform", "fit-white-negative_ce", "finetune", "evaluate", "report"]
    assert said == dict.fromkeys(stages, "to run")
    assert not out.exists()
    done = 0
    for step, more in (("probe", 2), ("fit", 2), ("finetune", 1), ("evaluate", 1)):
        code, _, told = dne(step, "--out", out)
        assert code == 0, told
        assert told.count(": done\n") == more
        done += more
        found = states(dne("run", "--out", out, "--dry-run", "--format", "csv")[1])
        assert list(found.values()) == ["cached"] * done + ["to run"] * (7 - done)
    code, printed, told = dne("run", "--out", out, "--format", "csv")
    assert code == 0
    assert told.count(": found\n") == 6  # the steps by hand were those of the run
    assert told.count(": done\n") == 1
    assert printed.startswith("model,metric,n,estimate")
    for name in ("fairness.csv", "hiding.csv", "pictures.csv", "published.csv", "audit.csv", "validation.csv"):
        assert (out / name).is_file()
    assert {path.suffix for path in (out / "figures").iterdir()} == {".svg", ".png", ".csv"}
    pictures = {path.name for path in (out / "figures").glob("noise-*.png")}
    assert pictures == {"noise-white-uniform.png", "noise-white-negative_ce.png"}
    assert (out / "fit-white-uniform" / "noise.safetensors").is_file()


def test_just_what_depends_on_a_change_is_run_again(dne: Command, out: Path) -> None:
    def to_run(*more: str) -> list[str]:
        said = states(dne("run", "--out", out, "--dry-run", "--format", "csv", *more)[1])
        return [name for name, state in said.items() if state == "to run"]

    assert to_run() == []
    assert to_run("--set", "judge.bootstrap=30") == ["evaluate", "report"]
    assert to_run("--set", "finetune.epochs=4") == ["finetune", "evaluate", "report"]
    assert to_run("--objective", "uniform") == ["finetune", "evaluate", "report"]
    assert to_run("--set", "noise.limit=0.1")[:2] == ["fit-white-uniform", "fit-white-negative_ce"]
    assert to_run("--seed", "1") == [
        "probe",
        "fit-white-uniform",
        "fit-white-negative_ce",
        "finetune",
        "evaluate",
        "report",
    ]
    assert "bundle" in to_run("--set", "disease.policy=ones")
    assert to_run("--access", "white,black", "--objective", "uniform")[0] == "fit-black-grid-uniform"


def test_black_box_in_python_and_a_given_noise(
    dne: Command, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function of one's own gets images from 0 to 1 and gives means of blocks; nothing else is known of it."""
    (tmp_path / "boxes.py").write_text(
        "def blocks(images):\n"
        "    assert 0 <= images.min() and images.max() <= 1\n"
        "    return images.reshape(len(images), 4, 4, 4, 4).mean(axis=(2, 4)).reshape(len(images), 16)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    place = tmp_path / "black"
    code, printed, told = dne(
        "run", "--function", "boxes:blocks", "--objective", "uniform", "--out", place, "--format", "csv"
    )
    assert code == 0, told
    assert "DNE black-grid-uniform" in printed
    assert (place / "function" / "queries.json").is_file()

    # Another code of the same name is another black box: nothing of the old one is taken for its.
    (tmp_path / "boxes.py").write_text((tmp_path / "boxes.py").read_text().replace("mean", "max"))
    wish = ("--function", "boxes:blocks", "--objective", "uniform", "--out", place, "--dry-run", "--format", "csv")
    assert states(dne("run", *wish)[1])["probe"] == "to run"

    noise = out / "fit-white-uniform" / "noise.safetensors"
    code, printed, told = dne("run", "--noise", noise, "--out", tmp_path / "given", "--format", "csv")
    assert code == 0, told
    assert "DNE given" in printed
    given, theirs = (pl.read_csv(one / "fairness.csv", infer_schema_length=None) for one in (tmp_path / "given", out))
    same = [one.filter(pl.col("model").str.starts_with("DNE"))["estimate"].to_list()[:8] for one in (given, theirs)]
    assert same[0] == same[1]  # the same noise, so the same model


def test_a_budget_that_is_spent_is_said_and_gone_on_with(
    dne: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too small for the embeddings it ends the command; small, it ends the search, and the noise found so far is evaluated within
    it; a larger one goes on from there."""
    (tmp_path / "means.py").write_text(
        "def means(images):\n    return images.reshape(len(images), -1)[:, ::16].copy()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    black = ("--function", "means:means", "--objective", "uniform", "--set", "black.steps=4")

    def run(step: str, out: str, budget: int) -> tuple[int, str]:
        code, _, told = dne(step, *black, "--out", tmp_path / out, "--budget", budget)
        return code, told

    def steps(out: str) -> pl.DataFrame:
        return pl.read_csv(next((tmp_path / out / "stages").glob("fit-*/steps.csv")))

    def asked(out: str) -> int:
        return int(json.loads((tmp_path / out / "function" / "queries.json").read_text())["queries"])

    code, told = run("fit", "spent", 30)
    assert (code, "CXR-168" in told) == (2, True)
    code, told = run("fit", "whole", 100_000)
    assert code == 0, told
    used = asked("whole")
    code, told = run("run", "spent", used // 2)
    assert (code, "is too small" in told) == (2, True)
    enough = int(told.partition("--budget ")[2].partition(" ")[0].replace(",", ""))
    code, told = run("run", "spent", enough)
    assert code == 0, told
    assert "the budget is spent after 1 of 4 steps" in told
    assert (tmp_path / "spent" / "fairness.csv").is_file()
    assert asked("spent") <= enough
    assert steps("spent").height == 1
    shutil.rmtree(next((tmp_path / "spent" / "stages").glob("fit-*")))
    code, told = run("fit", "spent", 100_000)
    assert code == 0, told
    assert steps("spent").equals(steps("whole"))


@pytest.mark.parametrize(
    ("arguments", "store", "code", "said"),
    [
        (("--api", "http://127.0.0.1:9", "--access", "white"), True, 2, "CXR-163"),
        (("--function", "a:b", "--api", "http://127.0.0.1:9"), True, 2, "two black boxes"),
        (("--per-second", "3"), True, 2, "--per-second are of a service"),
        (("--budget", "3"), True, 2, "--set black.budget=N"),
        ((), False, 2, "nothing says where the pixels are"),
        (("--set", "data.split=other"), True, 2, "CXR-501"),
        (("--only", "fits"), True, 2, "there is no stage 'fits'"),
        (("--noise", "none.npy", "--dry-run"), True, 1, "CXR-160"),
        (("--resample",), True, 2, "--resample is of a published noise"),
        (("--weights", "none.pth"), True, 3, "CXR-159"),
    ],
)
def test_refused(
    dne: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], *, store: bool, code: int, said: str
) -> None:  # fmt: skip
    monkeypatch.delenv("CXRDATA_STORE", raising=False)
    found = dne("run", "--out", tmp_path / "out", *arguments, store=store)
    assert found[0] == code, found[2]
    assert said in found[2]


def test_list_and_show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    main = import_module("cxrdata.cli.main")
    monkeypatch.setitem(main.COMMANDS, "dne", ("cxrtrain.cli.dne", "dne", ""))
    assert main.run(["dne", "run", "--list"]) == 0
    assert capsys.readouterr().out.count("\n") == 13
    assert main.run(["dne", "fit", "dne-edema-sex", "--show", "--objective", "negative_ce", "--api", "http://a"]) == 0
    shown = capsys.readouterr().out
    assert 'objectives = ["negative_ce"]' in shown
    assert 'access = ["black"]' in shown


def test_a_service_is_asked_once_for_each_image(dne: Command, tmp_path: Path) -> None:
    """A server on this machine; the stages go on with each other's answers, and the search with its own."""
    service = HTTPServer(("127.0.0.1", 0), Blocks)
    Thread(target=service.serve_forever, daemon=True).start()
    try:
        wish = ("--api", f"http://127.0.0.1:{service.server_port}", "--objective", "uniform", "--out", tmp_path / "api")
        code, printed, told = dne("run", *wish, "--format", "csv")
        assert code == 0, told
        assert "DNE black-grid-uniform" in printed
        asked = json.loads((tmp_path / "api" / "api" / "queries.json").read_text())["queries"]
        code, _, told = dne("run", *wish)
        assert code == 0, told
        assert told.count(": found\n") == 6
        assert json.loads((tmp_path / "api" / "api" / "queries.json").read_text())["queries"] == asked
    finally:
        service.shutdown()
        service.server_close()


class Blocks(BaseHTTPRequestHandler):
    """Means of blocks of 4 by 4 pixels."""

    def do_GET(self) -> None:
        self._say(json.dumps({"name": "blocks", "width": 16, "side": SIDE}).encode())

    def do_POST(self) -> None:
        images = np.load(io.BytesIO(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = io.BytesIO()
        np.save(answer, images.reshape(len(images), 4, 4, 4, 4).mean(axis=(2, 4)).reshape(len(images), 16))
        self._say(answer.getvalue())

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
