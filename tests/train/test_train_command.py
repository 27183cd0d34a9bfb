"""`cxrdata train` on a machine without a catalog's engines, and its help, which loads none of torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from training import Ground

from cxrtrain.config_file import to_toml

_WITHOUT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(name + " is not on this machine")

sys.meta_path.insert(0, Blocked())
from cxrdata.cli.main import run
code = run(sys.argv[1:])
print("torch" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


def command(blocked: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    program = _WITHOUT.format(blocked=blocked)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def test_a_gpu_node_needs_no_engine(tiny: Ground, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(to_toml(tiny.wish(loop={"max_steps": 2})))
    done = command(
        ("polars", "duckdb", "pandera", "openpyxl", "PIL"),
        "train", str(tmp_path / "tiny.toml"), "--bundle", str(tiny.bundle.folder), "--store", str(tiny.store),
        "--out", str(tmp_path / "run"), "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
    assert len((tmp_path / "run" / "steps.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "arguments", [("--help",), ("train", "--help"), ("train", "--list"), ("train", "quick", "--show")]
)
def test_help_loads_no_torch(arguments: tuple[str, ...]) -> None:
    done = command(("torch", "polars", "duckdb"), *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "False"


def test_the_groups_help_has_the_commands_own() -> None:
    assert "Train a model: an experiment on a split." in command(("torch",), "--help").stdout


def test_without_the_extra_it_says_how_to_get_it(tiny: Ground, tmp_path: Path) -> None:
    program = (
        "import sys, importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'torch' else real(name, *more)\n"
        "from cxrdata.cli.main import run\n"
        "sys.exit(run(['train', 'quick']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 3
    assert "error CXR-604: torch is not installed" in done.stderr
    assert "fix: pip install 'cxrdata[train]'" in done.stderr
