"""Folders of made-up predictions, and the command."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from study_predictions import write_model


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """One model's predictions, in the layout of ped_vs_adults-cxr."""
    folder = tmp_path / "inference"
    write_model(folder, "vindr_cxr")
    return folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`command("--out", …)`: exit code, stdout and stderr of `cxrdata case-study cardiomegaly`, installed or not."""
    main = import_module("cxrdata.cli.main")
    monkeypatch.setitem(main.COMMANDS, "case-study", ("cxrtrain.cli.case_study", "case_study", ""))

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main.run(["case-study", "cardiomegaly", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
