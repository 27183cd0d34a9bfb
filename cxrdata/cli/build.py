"""`cxrdata build-catalog`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cxrdata.cli.options import catalog_option, engine_options, example, overlays_option, quiet_option
from cxrdata.cli.output import emit, progress, remark
from cxrdata.errors import CxrError
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.store.build import BuildRequest, BuildResult
    from cxrdata.store.catalog import Catalog

_TOPICS_TOLD = ("left_out", "ambiguity", "missing_file", "extra_column", "disagreement", "coverage")


@click.command("build-catalog", epilog=example("cxrdata build-catalog nih=data/nih_cxr14"))
@click.argument("sources", nargs=-1, metavar="[NAME=PATH]...")
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Search a folder for files of any dataset; repeatable.",
)
@click.option(
    "--config", type=click.Path(path_type=Path), help="Read sources and wishes from this file; default ./cxrdata.toml."
)
@overlays_option
@click.option(
    "--race-rule",
    type=click.Choice(["majority", "first", "unanimous"]),
    help="How disagreeing race records are settled.",
)
@click.option(
    "--race-scheme", metavar="NAME", help="Which scheme reads them: omb1997 (default), chexploration, cxr_fairness."
)
@click.option("--strict", is_flag=True, help="Fail where counts differ from the official ones.")
@click.option("--keep-going", is_flag=True, help="Leave broken files out, say so, and publish the rest.")
@click.option("--keep-raw", is_flag=True, help="Also store every source column as text, in the schema raw.")
@click.option("--with-text", is_flag=True, help="With --keep-raw, report texts too.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; default: one a core.")
@engine_options
@quiet_option
@catalog_option
def build_catalog(
    sources: tuple[str, ...],
    roots: tuple[Path, ...],
    config: Path | None,
    quiet: bool,
    catalog: Path | None,
    **wishes: Any,  # noqa: ANN401 - options, as the request takes them
) -> None:
    """Read official files of the datasets into one validated catalog, published whole or not at all.

    NAME is a dataset (`cxrdata sources`), PATH its folder or file. With no source named: ./cxrdata.toml, else
    $CXRDATA_ROOT, else ./data, where datasets are recognised by content. Unchanged sources are not read again. The
    same from Python: cxrdata.store.build.build_catalog(BuildRequest(...)).
    """
    from cxrdata.store.build import build_catalog as build
    from cxrdata.store.catalog import Catalog

    request, told = _request(sources, roots, config, catalog, wishes)
    if told:
        remark(f"no source named: {told}", quiet=quiet)
    with progress("building", quiet=quiet) as tell:
        result = build(request, tell)
    with Catalog(request.catalog) as opened:
        _report(opened, result, quiet=quiet)


def _request(
    sources: tuple[str, ...], roots: tuple[Path, ...], config: Path | None, catalog: Path | None, wishes: dict[str, Any]
) -> tuple[BuildRequest, str | None]:
    """What is to be built; and, where the command line names no source, which ones are taken."""
    from cxrdata.config import FILE_NAME, Config, default_roots, default_roots_told, read_config
    from cxrdata.sources.base import Registry
    from cxrdata.store.build import BuildRequest
    from cxrdata.store.catalog import default_folder

    found, told = Config(), None
    file = config or Path(FILE_NAME)
    if config is not None or file.is_file():
        found = read_config(file)
    overlays = wishes.pop("overlays") or found.overlays
    registry = Registry(overlays)
    named = [_named(registry, text) for text in sources]
    if not named and not roots:
        named = list(found.named)
        roots = () if named else tuple(default_roots())
        told = f"those of {file}" if named else f"searching {default_roots_told()}"
    given = found.build | {name: value for name, value in wishes.items() if value not in (None, False)}
    return BuildRequest(catalog or default_folder(), named=named, roots=roots, overlays=overlays, **given), told


def _named(registry: Any, text: str) -> tuple[Any, Path]:  # noqa: ANN401
    name, sign, path = text.partition("=")
    if not sign or not path:
        fix = (
            f"say where it is: {name}=PATH"
            if name in registry.by_alias
            else f"for example nih={text or 'PATH'}; or search a folder with --root {text or 'PATH'}"
        )
        raise CxrError("CXR-502", f"a source is NAME=PATH, got {text!r}", fix=fix)
    return registry.get(name), Path(path).expanduser()


def _report(catalog: Catalog, result: BuildResult, *, quiet: bool) -> None:
    emit(catalog.sql(_SUMMARY))
    for name, error in result.left_out:
        remark(f"left out: {name}\n{error.block()}")
    if quiet:
        return
    if result.unclaimed:
        remark(
            f"not recognised: {', '.join(result.unclaimed[:5])}"
            + (f" and {len(result.unclaimed) - 5} more" if len(result.unclaimed) > 5 else "")
        )
    notes = catalog.sql("SELECT * FROM build_notes WHERE topic <> 'rollup' ORDER BY ALL")
    for note in notes.iter_rows(named=True):
        if note["topic"] in _TOPICS_TOLD:
            count = f" ({note['n']:,})" if note["topic"] not in ("missing_file", "left_out") else ""
            remark(f"{note['dataset']}: {note['topic'].replace('_', ' ')}: {note['item']}{count}: {note['message']}")
    for dataset, expected, found in catalog.sql(_SUBSETS).iter_rows():
        remark(
            f"{dataset}: {found:,} of {counted(expected, 'official image')}: a subset or another version; `cxrdata sql 'FROM expected_counts'` compares"
        )
    refused = catalog.sql("SELECT kind, count(*) AS n FROM rejects GROUP BY ALL ORDER BY ALL")
    for kind, n in refused.iter_rows():
        remark(f"{counted(n, kind)} {'refused' if kind == 'row' else 'nulled'}: see `cxrdata rejects`")
    state = "unchanged" if result.unchanged else "published"
    remark(f"build {result.build.build_id} {state}; next: cxrdata describe, or cxrdata sql --list")


_SUMMARY = """
SELECT
  i.dataset,
  count(*) AS images,
  count(DISTINCT i.patient_id) AS patients,
  count(*) FILTER (i.age_group = 'pediatric') AS images_of_children,
  count(*) FILTER (i.age_years IS NULL) AS without_age,
  any_value(d.synthetic) AS synthetic
FROM images AS i JOIN datasets AS d USING (dataset)
GROUP BY i.dataset
ORDER BY i.dataset
"""
_SUBSETS = (
    "SELECT dataset, expected, found FROM expected_counts WHERE what = 'images' AND expected <> found ORDER BY dataset"
)
