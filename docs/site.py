"""Build the documentation site: the pages of docs/ as HTML in `site/`, for a server or to be read from the folder.

    python -m docs.site

A link to a page or a heading that does not exist ends it with 1; so does anything that a browser would load from elsewhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "site"
# What a browser fetches by itself; a link that a reader may follow is none of it.
_LOADED = re.compile(
    r"""<(?:script|img|iframe|audio|video|source|embed)\b[^>]*\bsrc=["']?(?P<source>(?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?![^>]*\brel=["']?canonical)[^>]*\bhref=["']?(?P<link>(?:https?:)?//[^"'\s>]+)"""
    r"""|@import\s+(?:url\()?["']?(?P<sheet>(?:https?:)?//[^"')\s]+)"""
    r"""|\burl\(["']?(?P<asset>(?:https?:)?//[^"')]+)""",
    re.IGNORECASE,
)


def loaded_from_elsewhere(site: Path) -> list[str]:
    """`page: address` for each thing that the pages or style sheets of a site load from another host, sorted."""
    found = {
        f"{path.relative_to(site).as_posix()}: {next(filter(None, match.groups()))}"
        for path in site.rglob("*")
        if path.suffix in {".html", ".css"}
        for match in _LOADED.finditer(path.read_text(encoding="utf-8"))
    }
    return sorted(found)


def main() -> int:
    """Build the site, strictly; 1 where a link is broken or something is loaded from elsewhere."""
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        remarks, _, _ = built.stderr.partition("Traceback (most recent call last)")  # a strict abort ends in one
        sys.stderr.write(f"{built.stdout}{remarks or built.stderr}")
        return 1
    if foreign := loaded_from_elsewhere(SITE):
        sys.stderr.write("loaded from elsewhere:\n" + "".join(f"  {line}\n" for line in foreign))
        return 1
    sys.stdout.write(f"{len(list(SITE.rglob('*.html')))} pages in site/: open site/index.html\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
