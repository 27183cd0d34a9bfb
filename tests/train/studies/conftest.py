"""Folders of made-up predictions, and the command."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from chexploration_predictions import Study, made_study
from study_predictions import write_model

from cxrdata.report.figure import Figure


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """One model's predictions, in the layout of ped_vs_adults-cxr."""
    folder = tmp_path / "inference"
    write_model(folder, "vindr_cxr")
    return folder


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cxrdata_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, str], Command]:
    """`cxrdata_command("study", "chexnet")("--out", …)`: exit code, stdout and stderr, installed or not."""
    main = import_module("cxrdata.cli.main")
    monkeypatch.setitem(main.COMMANDS, "case-study", ("cxrtrain.cli.case_study", "case_study", ""))
    monkeypatch.setitem(main.COMMANDS, "study", ("cxrtrain.cli.study", "study", ""))

    def named(*words: str) -> Command:
        def run(*arguments: object) -> tuple[int, str, str]:
            capsys.readouterr()
            code = main.run([*words, *map(str, arguments)])
            said = capsys.readouterr()
            return code, said.out, said.err

        return run

    return named


@pytest.fixture
def command(cxrdata_command: Callable[[str, str], Command]) -> Command:
    return cxrdata_command("case-study", "cardiomegaly")


@pytest.fixture(scope="session")
def chexploration(synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A catalog of CheXpert with the study's split, to make up predictions of."""
    return made_study(tmp_path_factory.mktemp("chexploration"), synthetic("chexpert", scale=0.01))


@pytest.fixture
def chexploration_command(cxrdata_command: Callable[[str, str], Command]) -> Command:
    return cxrdata_command("study", "chexploration")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, but not painted, and the page lacks the code that draws them: these take longest by far."""
    page = import_module("cxrdata.report.page")
    monkeypatch.setattr(page, "drawing_code", str)
    figure = import_module("cxrdata.report.figure")
    whole = figure._bytes

    def made(one: Figure, suffix: str, scheme: str) -> bytes:
        return whole(one, suffix, scheme) if suffix == "csv" else b""

    monkeypatch.setattr(figure, "_bytes", made)
