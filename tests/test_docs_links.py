"""Every link between pages leads somewhere, on the site and where the Markdown is read; the site has all pages and loads
nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrdata.errors import PROBLEMS
from docs.site import loaded_from_elsewhere
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)
_NAMED = re.compile(r'<a id="(?P<name>[^"]+)">')


def _text(page: Path) -> str:
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def _plain(heading: str) -> str:
    return re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).strip()


def _anchor_on_the_site(heading: str) -> str:
    """As Python-Markdown makes it."""
    ascii_text = unicodedata.normalize("NFKD", _plain(heading)).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_text).strip().lower())


def _anchor_in_the_repository(heading: str) -> str:
    """As code forges make it, who do not run hyphens together."""
    return re.sub(r"[^\w -]", "", _plain(heading).lower()).replace(" ", "-")


def _anchors(page: Path) -> set[str]:
    """The anchors that both readers know."""
    text = _text(page)
    headings = [match["text"] for match in _HEADING.finditer(text)]
    both = {_anchor_on_the_site(h) for h in headings} & {_anchor_in_the_repository(h) for h in headings}
    return both | {match["name"] for match in _NAMED.finditer(text)}


def _broken_links(page: Path) -> Iterator[str]:
    for match in _LINK.finditer(_text(page)):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        linked = (page.parent / target).resolve() if target else page
        if not linked.exists():
            yield f"{match['target']}: no such file"
        elif anchor and anchor not in _anchors(linked):
            yield f"{match['target']}: no such heading"
        elif page.is_relative_to(DOCS) and not linked.is_relative_to(DOCS):
            yield f"{match['target']}: not on the site"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert list(_broken_links(page)) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Here, and *there*\n\n## `a_b`\n", encoding="utf-8")
    page = tmp_path / "page.md"
    good = "[a](other.md) [b](other.md#here-and-there) [c](other.md#a_b) [`d`](#own) [e](https://example.org/x#y)"
    page.write_text(f"# Own\n{good}\n[f](gone.md) [g](other.md#gone)\n```\n[h](gone.md)\n```\n", encoding="utf-8")
    assert list(_broken_links(page)) == ["gone.md: no such file", "other.md#gone: no such heading"]


def _site() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "zensical.toml").read_text(encoding="utf-8"))["project"]


def _pages_of(nav: Any) -> Iterator[str]:
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else _pages_of(value)


def test_navigation_has_every_page_once() -> None:
    assert sorted(_pages_of(_site()["nav"])) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_every_error_has_an_anchor() -> None:
    assert {code.lower() for code in PROBLEMS} <= _anchors(DOCS / "errors.md")


def test_what_a_browser_would_load_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '<a href="https://example.org/read"></a><link rel="canonical" href="https://example.org/">'
        '<script src="own.js"></script><script async src="https://example.org/a.js"></script>'
        '<link rel=stylesheet href=//example.org/b.css><img src="data:image/png;base64,AA">',
        encoding="utf-8",
    )
    (tmp_path / "style.css").write_text("@font-face{src:url(https://example.org/c.woff)}", encoding="utf-8")
    assert loaded_from_elsewhere(tmp_path) == [
        "page.html: //example.org/b.css",
        "page.html: https://example.org/a.js",
        "style.css: https://example.org/c.woff",
    ]


def test_the_site_builds_without_the_network(tmp_path: Path) -> None:
    """With the settings and pages of the repository, in a folder of its own."""
    pytest.importorskip("zensical", reason="the extra cxrdata[docs] is not installed")
    shutil.copy(REPOSITORY / "zensical.toml", tmp_path)
    shutil.copytree(DOCS, tmp_path / "docs")
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    site = tmp_path / "site"
    assert all((site / page.relative_to(DOCS)).with_suffix(".html").is_file() for page in DOCS.rglob("*.md"))
    assert not list(site.rglob("*.py"))
    assert loaded_from_elsewhere(site) == []
