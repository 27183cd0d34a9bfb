"""Write the generated pages of the documentation, or check that they are up to date.

    python -m docs.generate [--check]

commands.md from `--help`, errors.md from the list of codes, tables.md from the schemas; and the output shown in the
README's console blocks, where the real test data are there ($CXRDATA_TEST_DATA).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from cxrdata.cli.main import COMMANDS, cli
from cxrdata.errors import PROBLEMS, Exit
from cxrdata.export.dictionary import table_sections
from cxrdata.export.pages import markdown_sections
from cxrdata.vocabularies import Vocabularies
from docs import examples

FOLDER = Path(__file__).resolve().parent
NOTE = "<!-- Written by `make docs`; edit the code, not this page. -->\n"
_RANGES = {
    "CXR-1": "Files",
    "CXR-2": "Rows that are refused",
    "CXR-3": "Values that are nulled",
    "CXR-4": "The catalog as a whole",
    "CXR-5": "Usage",
    "CXR-6": "Environment",
}


def commands_page() -> str:
    """Every command with its `--help`."""
    parts = ["# Commands\n", NOTE]
    root = click.Context(cli, info_name="cxrdata", **cli.context_settings)
    for name in COMMANDS:
        command = cli.get_command(root, name)
        assert command is not None
        parts += _help(command, name, root)
    return "\n".join(parts)


def _help(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100)
    yield f"## `{context.command_path}`\n"
    yield f"```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            assert child is not None
            yield from _help(child, child_name, context)


def errors_page() -> str:
    """Every code, what it means, and the exit code of a command that ends with it."""
    parts = ["# Errors\n", NOTE]
    parts.append(
        "An error is one block: what is wrong, where, and what to do. Codes 2xx and 3xx do not end a command: they\n"
        "stand in the relation `rejects`, one for each refused row or nulled value.\n\n"
        f"Exit codes: {Exit.DONE} done, {Exit.DATA} the data failed a check, {Exit.USAGE} wrong usage, "
        f"{Exit.ENVIRONMENT} environment or input and output, {Exit.INTERRUPTED} interrupted.\n"
    )
    for prefix, title in _RANGES.items():
        parts.append(f"## {title}\n\n| code | title | exit | meaning |\n|---|---|---|---|")
        parts += [
            f"| `{code}` | {p.title} | {int(p.exit)} | {p.meaning} |"
            for code, p in PROBLEMS.items()
            if code.startswith(prefix)
        ]
        parts.append("")
    return "\n".join(parts)


def tables_page() -> str:
    """The relations of a catalog, with the description of every column: a part of `cxrdata export dictionary`."""
    parts = ["# Tables\n", NOTE, "`cxrdata describe TABLE` shows the same for a catalog, with counts.\n"]
    return "\n".join([*parts, markdown_sections(table_sections(Vocabularies.load()))])


def _rewrite_examples() -> None:
    data = Path(os.environ.get("CXRDATA_TEST_DATA", FOLDER.parent.parent / "shared" / "data"))
    for page in (FOLDER.parent / "README.md", *sorted(FOLDER.glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        if "```console" in text:
            with tempfile.TemporaryDirectory() as folder:
                examples.prepare(Path(folder), data if data.is_dir() else None)
                page.write_text(examples.rewritten(text, Path(folder), with_real_data=data.is_dir()), encoding="utf-8")


PAGES = {"commands.md": commands_page, "errors.md": errors_page, "tables.md": tables_page}


def main(arguments: list[str]) -> int:
    """Write all pages; with `--check` only compare, and return 1 where one is out of date."""
    stale = []
    for name, page in PAGES.items():
        path, text = FOLDER / name, page()
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if "--check" not in arguments:
        _rewrite_examples()
    if stale:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run `make docs`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
