"""Hostile input: each folder beside this file is one, with the exact answer of the command line.

    input/         the files as a user has them (what no text file can be: source/ and recipe.toml)
    command.txt    the arguments; {input}, {catalog}, and {nih}, {padchest}: sound files of a second dataset
    expected.txt   the exit code, then stderr; the build's id reads BUILD, the test's folder …
    rejects.csv    the rows and values refused, where there are any
    query.sql, rows.csv   a question to the catalog, and its answer, where values could go astray

With CXRDATA_UPDATE_EXPECTED=1 the answers are written instead of compared: read the difference before you keep it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from recipes import prepare

from cxrdata.cli.main import run

HERE = Path(__file__).parent
CASES = sorted(path.parent.name for path in HERE.glob("*/command.txt"))
UPDATE = bool(os.environ.get("CXRDATA_UPDATE_EXPECTED"))
REJECTS = "SELECT * FROM rejects ORDER BY ALL"


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of sound files, by the placeholder that stands for them."""
    folders = {}
    for case in sorted((HERE / "sound").iterdir()):
        folders[case.name] = tmp_path_factory.mktemp(case.name) / case.name
        shutil.copytree(case, folders[case.name])
    return folders


@pytest.fixture(scope="session")
def standing(sound: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog that stood before the bad input came."""
    folder = tmp_path_factory.mktemp("standing") / "catalog"
    assert run(["build-catalog", f"nih={sound['nih']}", "-c", str(folder), "--workers", "1", "--quiet"]) == 0
    return folder


def _hashes(catalog: Path) -> dict[str, str]:
    """Every file of a catalog but the builder's own notes (`cache/`)."""
    files = [
        path for path in sorted(catalog.rglob("*")) if path.is_file() and "cache" not in path.relative_to(catalog).parts
    ]
    return {path.relative_to(catalog).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _agrees(path: Path, text: str) -> None:
    if UPDATE:
        path.write_text(text, encoding="utf-8") if text else path.unlink(missing_ok=True)
    assert (path.read_text(encoding="utf-8") if path.is_file() else "") == text


def _rows(query: str, catalog: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run(["sql", query, "--format", "csv", "-c", str(catalog)]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", CASES)
def test_bad(
    name: str,
    sound: dict[str, Path],
    standing: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = HERE / name
    prepare(case, tmp_path / "input")
    monkeypatch.chdir(tmp_path)
    catalog = tmp_path / "catalog"
    shutil.copytree(standing, catalog)
    before = _hashes(catalog)
    places = {"input": tmp_path / "input", "catalog": catalog, **sound}
    arguments = [
        argument.format_map(places) for argument in shlex.split((case / "command.txt").read_text(encoding="utf-8"))
    ]
    capsys.readouterr()
    code = run(arguments)
    answer = capsys.readouterr()
    assert "Traceback" not in answer.out + answer.err
    stderr = re.sub(r"\bbuild [0-9a-f]{16}\b", "build BUILD", answer.err).replace(str(tmp_path), "…")
    _agrees(case / "expected.txt", f"{code:d}\n{stderr}")
    if code:
        assert answer.out == ""
        assert _hashes(catalog) == before
        return
    rejects = _rows(REJECTS, catalog, capsys)
    _agrees(case / "rejects.csv", rejects if rejects.count("\n") > 1 else "")
    if (case / "query.sql").is_file():
        _agrees(case / "rows.csv", _rows((case / "query.sql").read_text(encoding="utf-8"), catalog, capsys))


# Root may write everywhere, so the command runs as someone else once the engines are loaded.
_AS_NOBODY = """
import codecs, os, sys
for encoding in ("utf-8-sig", "latin-1", "ascii"):
    codecs.lookup(encoding)  # the interpreter's own files may be closed to others
import concurrent.futures.process, concurrent.futures.thread
import cxrdata.config, cxrdata.cli.build, cxrdata.store.build, cxrdata.store.assemble, cxrdata.store.catalog, cxrdata.harmonise.dataset
from cxrdata.cli.main import run
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(run(sys.argv[1:]))
"""


def test_unwritable_catalog(sound: dict[str, Path], tmp_path: Path) -> None:
    """The folder is closed to the user (a full disk: tests/store/test_crash.py)."""
    for folder in (
        tmp_path,
        *(parent for parent in tmp_path.parents if parent.name.startswith(("pytest-", "popen-"))),
        sound["nih"].parent,
    ):
        folder.chmod(0o755)  # pytest's folders are closed to others
    (tmp_path / "closed").mkdir(mode=0o555)
    command = ["build-catalog", f"nih={sound['nih']}", "-c", str(tmp_path / "closed" / "catalog"), "--workers", "1"]
    ended = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, *command], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    fix = "choose a folder that you may write to and that has space, with -c PATH"
    assert ended.stderr == f"error CXR-602: cannot write: Permission denied\n  at:  catalog\n  fix: {fix}\n"
    assert (ended.returncode, ended.stdout) == (3, "")
    assert list((tmp_path / "closed").iterdir()) == []
