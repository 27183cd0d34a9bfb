"""`cxrdata images`: where the files are and whether they are whole; what is made of their pixels is in `images_store`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cxrdata.cli.options import NAMES, Command, catalog_option, example, names, quiet_option, rows_options
from cxrdata.cli.output import emit, progress, remark, tell_of
from cxrdata.errors import CxrError, Exit, nearest
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.images.check import Checked

# subcommand -> (module, attribute, one line of help), so that help imports nothing.
SUBCOMMANDS: dict[str, tuple[str, str, str]] = {
    "paths": ("cxrdata.cli.images", "paths", "Say where the file of each image is."),
    "check": ("cxrdata.cli.images", "check", "Look at every file: missing, damaged, odd, twice there."),
    "build": ("cxrdata.cli.images_store", "build", "Decode and resize the images into a store."),
    "export": ("cxrdata.cli.images_store", "export", "Write a store's images as plain files."),
    "show": ("cxrdata.cli.images_store", "show", "Draw a contact sheet of images."),
}


class _LazyImages(click.Group):
    """The group of `images`, its subcommands imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in SUBCOMMANDS:
            return None
        module, attribute, _ = SUBCOMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in SUBCOMMANDS and not args[0].startswith("-"):
            raise CxrError(
                "CXR-501",
                f"`cxrdata images` has no subcommand {args[0]!r}{nearest(args[0], list(SUBCOMMANDS))}",
                fix=f"subcommands: {', '.join(SUBCOMMANDS)}",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in SUBCOMMANDS.items()])


@click.group(cls=_LazyImages, epilog=example("cxrdata images check --dataset nih"))
def images() -> None:
    """The image files: where they are, whether they are whole, and a store of their pixels.

    Where they are is said by this machine, not by the catalog: --root, else $CXRDATA_ROOT_<DATASET>, else
    ~/.config/cxrdata/roots.toml (lines such as nih = "/data/nih"), else a folder of the dataset's name below
    $CXRDATA_ROOT or ./data. Folders of any official layout, .zip, .tar and .tar.gz are read as they are.
    """


def roots_option(function: Command) -> Command:
    """`--root NAME=PATH`, repeatable, as `roots`."""
    return click.option(
        "--root", "roots", multiple=True, metavar="NAME=PATH", help="Where a dataset's images are; repeatable."
    )(function)


def chosen_options(function: Command) -> Command:
    """`--dataset`, `--where`, `--split`: which images, as `datasets`, `where`, `split`."""
    for option in (
        click.option("--split", metavar="NAME[:PART]", help="Only images of a stored split, or of one of its parts."),
        click.option("--where", metavar="SQL", help="Only images that meet a condition over the columns of images."),
        click.option("--dataset", "datasets", metavar=NAMES, help="Only these datasets."),
    ):
        function = option(function)
    return function


def given_roots(pairs: tuple[str, ...]) -> dict[str, list[Path]]:
    """`--root` by dataset. Raises CxrError CXR-502."""
    given: dict[str, list[Path]] = {}
    for text in pairs:
        name, sign, path = text.partition("=")
        if not sign or not path:
            raise CxrError("CXR-502", f"--root needs NAME=PATH, got {text!r}", fix="for example --root nih=/data/nih")
        given.setdefault(name, []).append(Path(path))
    return given


@click.command(epilog=example("cxrdata images paths --dataset nih --where \"age_group = 'pediatric'\" --format csv"))
@click.argument("table", required=False, type=click.Path(path_type=Path))
@click.option("--key", metavar="COLUMN", help="The column of TABLE with the image keys.")
@chosen_options
@roots_option
@rows_options
@quiet_option
@catalog_option
def paths(
    table: Path | None,
    key: str | None,
    datasets: str | None,
    where: str | None,
    split: str | None,
    roots: tuple[str, ...],
    row_format: str,
    limit: int | None,
    out: Path | None,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Say where the file of each image is: of those asked for, or of each row of TABLE (CSV or Parquet).

    `path` is empty where there is no file; `member` is the name inside an archive. The same from Python:
    cxrdata.open().paths(frame).
    """
    if table is not None and (datasets or where or split):
        raise CxrError("CXR-502", "a TABLE names the images itself", fix="leave --dataset, --where and --split out")
    import cxrdata
    from cxrdata.annotate.tabular import read_table
    from cxrdata.images.choice import choose

    with cxrdata.open(catalog) as opened:
        tell_of(opened, quiet=quiet)
        if table is not None:
            frame, remarks = read_table(table)
            for text in remarks:
                remark(text, quiet=quiet)
        else:
            frame = choose(opened, datasets=names(datasets), where=where, split=split)
        with progress("looking for the files", quiet=quiet):
            found = opened.paths(
                frame, roots=given_roots(roots), key=key, remarks=lambda text: remark(text, quiet=quiet)
            )
        emit(found, row_format=row_format, limit=limit, out=out, quiet=quiet)


@click.command(epilog=example("cxrdata images check --dataset nih --hash --workers 4"))
@chosen_options
@click.option("--hash", "with_hash", is_flag=True, help="SHA-256 too: equal files, and PhysioNet's SHA256SUMS.")
@click.option("--quick", is_flag=True, help="Only whether each file is there, and its size in bytes.")
@click.option("--only-new", is_flag=True, help="Leave out images that were checked before; goes on after Ctrl-C.")
@click.option("--list", "list_problems", is_flag=True, help="Print the images in question, not their counts.")
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Processes; default: the cores there are.")
@roots_option
@rows_options
@quiet_option
@catalog_option
def check(
    datasets: str | None,
    where: str | None,
    split: str | None,
    with_hash: bool,
    quick: bool,
    only_new: bool,
    list_problems: bool,
    workers: int | None,
    roots: tuple[str, ...],
    row_format: str,
    limit: int | None,
    out: Path | None,
    quiet: bool,
    catalog: Path | None,
) -> int:
    """Look at every image file: is it there, whole, of the size and mode it should be, there twice?

    What is found stays with the catalog as the table image_files, by image; `cxrdata split --only-existing` keeps
    those that are ok. Exit code 1 if any file is missing, truncated, unreadable or altered that is not known to be
    published so (table broken_images).
    """
    if quick and with_hash:
        raise CxrError("CXR-502", "--quick reads no file, so it cannot hash one", fix="leave one of them out")
    import os

    import cxrdata
    from cxrdata.images.check import CheckRequest, check_images, problems, summary
    from cxrdata.images.choice import choose
    from cxrdata.images.roots import ImageRoots

    with cxrdata.open(catalog) as opened:
        tell_of(opened, quiet=quiet)
        known = ImageRoots.load(given_roots(roots), datasets=opened.manifest["datasets"])
        asked = names(datasets)
        # Not to be asked for the roots of datasets that nobody has named.
        rooted = [name for name in opened.manifest["datasets"] if known.by_dataset.get(name)]
        chosen = choose(opened, datasets=asked or tuple(rooted), where=where, split=split)
        if not asked:
            _tell_unrooted(opened.manifest["datasets"], rooted, quiet=quiet)
        request = CheckRequest(
            chosen, known, with_hash=with_hash, quick=quick, only_new=only_new, workers=workers or os.cpu_count() or 1
        )
        with progress("checking", quiet=quiet) as say:
            found = check_images(opened, request, progress=say)
        _tell(found, quiet=quiet)
        rows = problems(found.rows) if list_problems else summary(found.rows)
        emit(rows, row_format=row_format, limit=limit, out=out, quiet=quiet)
    if not found.complete:
        remark("stopped; `cxrdata images check --only-new` goes on from here")
        raise KeyboardInterrupt
    return Exit.DONE if found.sound else Exit.DATA


def _tell_unrooted(built: list[str], rooted: list[str], *, quiet: bool) -> None:
    left = [name for name in built if name not in rooted]
    if left and rooted:
        remark(f"not checked, since nothing says where their images are: {', '.join(left)}", quiet=quiet)


def _tell(found: Checked, *, quiet: bool) -> None:
    for text in found.remarks:
        remark(text, quiet=quiet)
    for dataset, n in found.others.items():
        if n:
            remark(f"{dataset}: {counted(n, 'image file')} below its root that the catalog does not have", quiet=quiet)
