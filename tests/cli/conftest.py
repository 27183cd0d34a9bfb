"""Commands run in this process, and a small catalog for them to answer from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from said import Said

from cxrdata.cli.main import run
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """`say("sql", …)`: run a command line in this process."""
    for name in ("CXRDATA_CATALOG", "CXRDATA_ROOT", "CXRDATA_DEBUG"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str) -> Said:
        code = run(arguments)
        captured = capsys.readouterr()
        return Said(int(code), captured.out, captured.err)

    return command


@pytest.fixture(scope="session")
def catalog(registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "cxr-catalog"
    build_catalog(BuildRequest(folder, named=[(registry.get("nih"), synthetic("nih_cxr14", scale=0.0005))], workers=1))
    return folder


@pytest.fixture
def ask(say: Callable[..., Said], catalog: Path) -> Callable[..., Said]:
    """`ask(query, …)`: `cxrdata sql` on the catalog."""
    return lambda *arguments: say("sql", *arguments, "-c", str(catalog))
