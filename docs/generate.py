"""Write the generated pages of the documentation, or check that they are up to date.

    python -m docs.generate [--check]

commands.md from `--help`, errors.md from the list of codes, tables.md from the schemas; terms.md, findings.md and
cohorts.md from catalog/, metadata/ and sql/; and the output shown in the console and pycon blocks of all pages, where the
real test data are there ($CXRDATA_TEST_DATA).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from cxrdata.cli.main import cli
from cxrdata.errors import PROBLEMS, Exit
from cxrdata.export.dictionary import table_sections
from cxrdata.export.pages import markdown_sections
from cxrdata.vocabularies import Vocabularies
from docs import examples
from docs.catalog_pages import NOTE, cohorts_page, findings_page, terms_page

FOLDER = Path(__file__).resolve().parent
_RANGES = {
    "CXR-1": "Files",
    "CXR-2": "Rows that are refused",
    "CXR-3": "Values that are nulled",
    "CXR-4": "The catalog as a whole",
    "CXR-5": "Usage",
    "CXR-6": "Environment",
}
# Where an error's subject is explained, from docs/.
_SEE = {
    "CXR-102": "[sources](commands.md#cxrdata-sources)",
    "CXR-103": "[sources](commands.md#cxrdata-sources)",
    "CXR-105": "[sources](commands.md#cxrdata-sources)",
    "CXR-107": "[describe the files](add_a_dataset.md#1-describe-the-files-catalognametoml)",
    "CXR-113": "[sources](commands.md#cxrdata-sources)",
    "CXR-114": "[sources](commands.md#cxrdata-sources)",
    "CXR-116": "[published splits](splits.md#published-splits)",
    "CXR-303": "[overlays](configuration.md#overlays)",
    "CXR-304": "[overlays](configuration.md#overlays)",
    "CXR-307": "[how old was the patient?](tasks/age.md)",
    "CXR-401": "[ledger](tables.md#ledger)",
    "CXR-403": "[counts](tasks/counts.md)",
    "CXR-405": "[verify](commands.md#cxrdata-verify)",
    "CXR-406": "[where a patient goes](splits.md#where-a-patient-goes)",
    "CXR-408": "[sharing without data](splits.md#sharing-without-data)",
    "CXR-409": "[sharing without data](splits.md#sharing-without-data)",
    "CXR-410": "[balance](splits.md#balance)",
    "CXR-501": "[commands](commands.md)",
    "CXR-503": "[tables](tables.md)",
    "CXR-504": "[annotate](commands.md#cxrdata-annotate)",
    "CXR-505": "[configuration](configuration.md)",
    "CXR-508": "[cohorts](splits.md#cohorts)",
    "CXR-601": "[quickstart](quickstart.md)",
    "CXR-604": "[dependencies](dependencies.md)",
}


_COMMANDS_HEAD = """What `--help` says of each command. The catalog is the folder of `-c`, else `$CXRDATA_CATALOG`, else `./cxr-catalog`. Results go to
stdout, progress and remarks to stderr; `--out FILE` writes all rows, in the format of its suffix. [Errors](errors.md) lists exit codes
and error codes, [configuration](configuration.md) files and variables.
"""
_TABLES_HEAD = """The data dictionary: every relation of a catalog with every column. `cxrdata describe TABLE` shows the same for a catalog,
with counts. What a finding means: [findings](findings.md). Parquet files of the tables lie in the build's folder `tables/`.

## Identifiers

An image is known by `dataset` and `image_id`, a patient by `dataset` and `patient_id`: ids of two datasets may be equal. All are text.

| dataset | `image_id` | `study_id` | `patient_id` |
|---|---|---|---|
| `chexpert` | path below the root, `train/patient00001/study1/view1_frontal.jpg` (the same in every edition) | `patient00001/study1` | `patient00001` |
| `mimic_cxr` | dicom_id | study_id | subject_id |
| `nih_cxr14` | Image Index, `00000001_000.png` | the image_id: the files name no studies | Patient ID without leading zeros |
| `padchest` | ImageID | StudyID | PatientID |
| `vindr_cxr`, `vindr_pcxr` | image_id, without suffix | null | null |

`image_uid`, where it is used, is `dataset:image_id`. Other spellings of a key (another root, with or without suffix, full paths) are found
by `cxrdata annotate` and wherever a file of yours is read, and what could not be is counted.
"""


def commands_page() -> str:
    """Every command with its `--help`."""
    parts = ["# Commands\n", NOTE, _COMMANDS_HEAD]
    root = click.Context(cli, info_name="cxrdata", **cli.context_settings)
    for name in cli.list_commands(root):
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
        parts.append(f"## {title}\n\n| code | title | exit | meaning | see |\n|---|---|---|---|---|")
        parts += [_error_row(code) for code in PROBLEMS if code.startswith(prefix)]
        parts.append("")
    return "\n".join(parts)


def _error_row(code: str) -> str:
    """The anchor is the code in small letters: errors.md#cxr-406."""
    problem, anchor = PROBLEMS[code], code.lower()
    cells = [f'<a id="{anchor}"></a>[`{code}`](#{anchor})', problem.title, str(int(problem.exit)), problem.meaning]
    return f"| {' | '.join([*cells, _SEE.get(code, '')])} |"


def tables_page() -> str:
    """The relations of a catalog, with the description of every column: a part of `cxrdata export dictionary`."""
    return "\n".join(["# Tables\n", NOTE, _TABLES_HEAD, markdown_sections(table_sections(Vocabularies.load()))])


def _rewrite_examples() -> None:
    data = Path(os.environ.get("CXRDATA_TEST_DATA", FOLDER.parent.parent / "shared" / "data"))
    for pages in examples.page_groups(FOLDER.parent):
        with tempfile.TemporaryDirectory() as folder:
            examples.prepare(Path(folder), data if data.is_dir() else None)
            for page in pages:
                text = page.read_text(encoding="utf-8")
                page.write_text(examples.rewritten(text, Path(folder), with_real_data=data.is_dir()), encoding="utf-8")


PAGES = {
    "commands.md": commands_page,
    "errors.md": errors_page,
    "tables.md": tables_page,
    "terms.md": terms_page,
    "findings.md": findings_page,
    "cohorts.md": cohorts_page,
}


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
