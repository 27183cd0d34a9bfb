"""The documentation is true: generated pages are up to date, and the commands that pages show print what they show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from docs import examples
from tests.conftest import REPOSITORY, _test_data

PAGES = examples.page_groups(REPOSITORY)


def test_generated_pages_are_up_to_date() -> None:
    """In a process of its own: click remembers on a command how its help was first asked for."""
    checked = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("pages", PAGES, ids=lambda pages: pages[0].name)
def test_commands_print_what_the_page_shows(pages: list[Path], tmp_path: Path) -> None:
    """Blocks on real data are left out where there is none, unless CXRDATA_REQUIRE_TEST_DATA says that it must be there."""
    data = _test_data()
    with_real_data = data.is_dir()
    assert with_real_data or not os.environ.get("CXRDATA_REQUIRE_TEST_DATA")
    examples.prepare(tmp_path, data if with_real_data else None)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert examples.rewritten(text, tmp_path, with_real_data=with_real_data) == text, page.name


def test_every_command_is_documented() -> None:
    from cxrdata.cli.main import COMMANDS

    text = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
    assert all(f"## `cxrdata {name}`" in text for name in COMMANDS)
