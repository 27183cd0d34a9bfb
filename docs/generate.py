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
from cxrdata.schemas import tables, vocabulary_tables
from cxrdata.schemas.label_views import describe_label_view
from cxrdata.schemas.names import LABEL_VIEWS
from cxrdata.schemas.tables import Table
from cxrdata.schemas.views import VIEWS
from cxrdata.vocabularies import Vocabularies
from docs import examples

FOLDER = Path(__file__).resolve().parent
LABEL_KEYS = ("dataset", "image_id", "labeler")
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
    """The relations of a catalog, with the description of every column."""
    vocabularies = Vocabularies.load()
    findings = dict(zip(vocabularies.findings["finding"], vocabularies.findings["title"], strict=True))
    stored = [
        tables.IMAGES,
        tables.STUDIES,
        tables.PATIENTS,
        tables.BOXES,
        tables.REJECTS,
        tables.LEDGER,
        tables.SOURCE_FILES,
        tables.BUILD_NOTES,
        *(value for value in vars(vocabulary_tables).values() if isinstance(value, Table)),
    ]
    parts = ["# Tables\n", NOTE, "`cxrdata describe TABLE` shows the same for a catalog, with counts.\n"]
    for table in stored:
        key = ", ".join(f"`{column}`" for column in table.key)
        parts.append(
            f"## `{table.name}`\n\n{table.description} Key: {key}.\n\n| column | type | description |\n|---|---|---|"
        )
        types = table.types()
        parts += [f"| `{name}` | {types[name]} | {text} |" for name, text in table.describe().items()]
        parts.append("")
    for name in LABEL_VIEWS:
        description, columns = describe_label_view(name, findings)
        parts.append(f"## `{name}`\n\n{description} A view.\n\n| column | type | description |\n|---|---|---|")
        parts += [
            f"| `{column}` | {'VARCHAR' if column in LABEL_KEYS else 'TINYINT'} | {text} |"
            for column, text in columns.items()
        ]
        parts.append("")
    for view in VIEWS:
        parts.append(
            f"## `{view.name}`\n\n{view.description} A view.\n\n| column | type | description |\n|---|---|---|"
        )
        parts += [f"| `{name}` | {sql_type} | {text} |" for name, (sql_type, text) in view.columns.items()]
        parts.append("")
    return "\n".join(parts)


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
