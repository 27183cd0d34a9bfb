"""`cxrdata verify`, `builds`, `diff`, `cite`: the builds of a catalog, whole, old, different, cited."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cxrdata.cli.options import catalog_option, example, quiet_option, rows_options
from cxrdata.cli.output import emit, progress, remark
from cxrdata.errors import CxrError
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.store.layout import CatalogFolder


def _folder(catalog: Path | None) -> CatalogFolder:
    from cxrdata.store.catalog import default_folder
    from cxrdata.store.layout import CatalogFolder

    return CatalogFolder(catalog or default_folder())


@click.command(epilog=example("cxrdata verify"))
@click.option("--build", "build_id", metavar="ID", help="Another build than the current one.")
@rows_options
@quiet_option
@catalog_option
def verify(
    build_id: str | None, row_format: str, limit: int | None, out: Path | None, quiet: bool, catalog: Path | None
) -> None:
    """Check that the catalog is whole: every byte of every file, no file more or less, and the rows of the DuckDB file
    against those of the Parquet. Prints a row a fault: path (or relation), problem. Exit code 1 if there is any.
    """
    import polars as pl

    from cxrdata.store.damage import rebuild
    from cxrdata.store.verify import verify as find_faults

    folder = _folder(catalog)
    build = folder.build(build_id) if build_id else folder.require_build()
    if not build.path.is_dir():
        raise CxrError("CXR-501", f"there is no build {build_id!r}", fix="`cxrdata builds list` shows the builds")
    with progress("verifying", quiet=quiet):
        faults = find_faults(folder, build)
    if faults or out is not None or row_format != "table":
        rows = [(fault.where, fault.problem) for fault in faults]
        emit(
            pl.DataFrame(rows, schema={"path": pl.String, "problem": pl.String}, orient="row"),
            row_format=row_format,
            limit=limit,
            out=out,
            quiet=quiet,
        )
    if faults:
        raise CxrError(
            "CXR-405",
            f"the build {build.build_id} is not whole: {counted(len(faults), 'fault')}",
            where=faults[0].where,
            fix=rebuild(build),
        )
    remark(f"build {build.build_id} is whole", quiet=quiet)


class _ListsByDefault(click.Group):
    """A group that means its command `list` where no other is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        names_no_command = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        return super().parse_args(ctx, ["list", *args] if names_no_command else args)


@click.group(cls=_ListsByDefault, epilog=example("cxrdata builds list"))
def builds() -> None:
    """List the builds kept (without a command, too), or drop old ones. The current build and builds that a split names
    are never dropped.
    """


@builds.command("list", epilog=example("cxrdata builds list"))
@rows_options
@catalog_option
def list_command(row_format: str, limit: int | None, out: Path | None, catalog: Path | None) -> None:
    """List the builds, newest first, with the splits that need them."""
    from cxrdata.store.builds import list_builds

    emit(list_builds(_folder(catalog)), row_format=row_format, limit=limit, out=out)


@builds.command(epilog=example("cxrdata builds prune --keep 3 --dry-run"))
@click.argument("ids", nargs=-1, metavar="[BUILD]...")
@click.option(
    "--keep", type=click.IntRange(min=0), help="Keep so many of the newest builds, and those that are needed."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be dropped.")
@quiet_option
@catalog_option
def prune(ids: tuple[str, ...], keep: int | None, dry_run: bool, quiet: bool, catalog: Path | None) -> None:
    """Drop the builds named, or all but the newest."""
    from cxrdata.store.builds import prune as drop

    dropped = drop(_folder(catalog), keep=keep, ids=ids, dry_run=dry_run)
    sys.stdout.write("".join(f"{build_id}\n" for build_id in dropped))
    remark(f"{counted(len(dropped), 'build')} {'would be ' if dry_run else ''}dropped", quiet=quiet)


@click.command(epilog=example("cxrdata diff 3f2a9c0d11e45b67 ../other-catalog"))
@click.argument("old", required=False)
@click.argument("new", required=False)
@click.option("--examples", is_flag=True, help="Up to five examples of each change instead of the counts.")
@rows_options
@quiet_option
@catalog_option
def diff(
    old: str | None,
    new: str | None,
    examples: bool,
    row_format: str,
    limit: int | None,
    out: Path | None,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Show what changed from OLD to NEW, each a build of this catalog or another catalog's folder: rows added and removed,
    changed ages, sexes, views, races, splits, and label states. NEW is the current build unless said; with neither,
    the two newest builds are compared.
    """
    from cxrdata.store.diff import diff as compare
    from cxrdata.store.diff import open_either, two_builds

    folder = _folder(catalog)
    if old is None or new is None:
        old, new = two_builds(folder, old)
        remark(f"from {old} to {new}", quiet=quiet)
    with open_either(old, folder) as before, open_either(new, folder) as after:
        difference = compare(before, after)
    emit(
        difference.examples if examples else difference.summary,
        row_format=row_format,
        limit=limit,
        out=out,
        quiet=quiet,
    )


@click.command(epilog=example("cxrdata cite"))
@click.argument("name", metavar="[SPLIT|COHORT]", required=False)
@catalog_option
def cite(name: str | None, catalog: Path | None) -> None:
    """Print BibTeX of cxrdata and of the datasets in the catalog, the exact sources, and a sentence for the methods section;
    with a split's or cohort's name, how that was made.
    """
    import cxrdata
    from cxrdata.cite import cite as cited

    with cxrdata.open(catalog) as opened:
        sys.stdout.write(cited(opened, name))
