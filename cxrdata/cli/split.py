"""`cxrdata split`: make splits, verify them, share them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cxrdata.cli.options import (
    NAMES,
    catalog_option,
    example,
    names,
    quiet_option,
    rows_options,
    timeout_option,
)
from cxrdata.cli.output import emit, progress, remark
from cxrdata.errors import CxrError
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.splits.make import MadeSplit
    from cxrdata.splits.request import SplitRequest
    from cxrdata.store.catalog import Catalog

LAYOUTS = ("chexploration", "torchxrayvision", "medfair", "index")


class _MakingGroup(click.Group):
    """A group that makes a split where no subcommand is named."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            fix = f"subcommands: {', '.join(sorted(self.commands))}; to make a split give options only, such as --balance race --name {args[0]}"
            raise CxrError("CXR-501", f"`cxrdata split` has no subcommand {args[0]!r}", fix=fix)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_MakingGroup,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    epilog=example("cxrdata split --balance race"),
)
@click.option("--name", help="What to call it; default from what is asked, such as race-balanced.")
@click.option(
    "--cohort", metavar="NAME|FILE", help="Only the images of a cohort (`cxrdata cohort list`) or of your own SQL file."
)
@click.option("--where", metavar="SQL", help="Only images that meet a condition over the columns of `images`.")
@click.option("--dataset", "datasets", metavar=NAMES, help="Only these datasets.")
@click.option(
    "--ratios",
    default=None,
    metavar="A,B,C",
    help="Shares of train, valid, test, or of train, test; default 0.7,0.1,0.2.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, another split.")
@click.option("--exact", is_flag=True, help="Fill quotas in the order of the hash, so that the ratios hold exactly.")
@click.option("--stratify", metavar=NAMES, help="Fill the quotas within each group of patients by these attributes.")
@click.option(
    "--balance",
    metavar=NAMES,
    help="Equally many images of each group in every split: race, sex, age_group:SCHEME, a finding, ….",
)
@click.option(
    "--mode",
    type=click.Choice(["downsample", "weights", "resample"]),
    default="downsample",
    show_default=True,
    help="How --balance balances.",
)
@click.option(
    "--groups",
    metavar=NAMES,
    help="The groups to balance; default: all but Other and Multiple with at least 2 % of the images.",
)
@click.option(
    "--unit", type=click.Choice(["image", "patient"]), help="What --balance (image) and --exact (patient) count."
)
@click.option(
    "--pool", is_flag=True, help="Balance over all datasets together. It confounds the groups with the hospitals."
)
@click.option(
    "--policy",
    metavar="NAME|FILE",
    help="How labels are read where they are attributes: raw, zeros, ones, ignore (the default); of --spurious also dne (its default) or a TOML file.",
)
@click.option("--official", is_flag=True, help="The datasets' own published splits.")
@click.option("--folds", type=int, metavar="K", help="K folds outside the held-out test.")
@click.option(
    "--subgroup",
    "subgroup",
    multiple=True,
    metavar="A=VALUE",
    help="Train and validate on one group alone; the test stays whole. Repeatable.",
)
@click.option(
    "--max-images-per-patient", type=click.IntRange(min=1), metavar="K", help="Keep at most K images of a patient."
)
@click.option(
    "--min-images-per-patient", type=click.IntRange(min=1), metavar="K", help="Leave out patients with fewer images."
)
@click.option(
    "--keep",
    type=click.Choice(["hash", "first", "frontal", "labelled"]),
    default="hash",
    show_default=True,
    help="Which images of a patient are kept.",
)
@click.option("--only-existing", is_flag=True, help="Only images whose files have been checked and are there.")
@click.option(
    "--pediatric-vs-adult", is_flag=True, help="Train on adults, test on healthy adults by age and on healthy children."
)
@click.option("--finding", default="cardiomegaly", show_default=True, help="What --pediatric-vs-adult trains to find.")
@click.option("--match", metavar=NAMES, help="Give its healthy adults the children's shares of these attributes.")
@click.option(
    "--children",
    type=click.Choice(["certain", "possible"]),
    default="certain",
    show_default=True,
    help="Ages that leave both sides of 18 open.",
)
@click.option(
    "--spurious",
    metavar="FINDING",
    help="Train where an attribute goes with a finding, test where it does not: a finding against healthy.",
)
@click.option(
    "--with", "attribute", metavar="ATTRIBUTE", help="Of --spurious: the attribute: sex, age_years>60, race=White, …."
)
@click.option(
    "--correlation",
    type=float,
    default=0.9,
    show_default=True,
    help="Share of the positives with its first value, and of the healthy with its second.",
)
@click.option("--train-images", type=int, metavar="N", help="Of --spurious: so many; default as many as there can be.")
@click.option("--per-cell", type=int, default=200, show_default=True, help="Images of each of the test's four cells.")
@click.option(
    "--valid",
    type=click.Choice(["correlated", "balanced"]),
    default="correlated",
    show_default=True,
    help="Of --spurious: validation as the training is, or as the test is.",
)
@click.option("--from-file", type=click.Path(path_type=Path), help="Take the split from a published file.")
@click.option("--key", metavar="COLUMN", help="Of --from-file: the column with ids, paths or row numbers.")
@click.option("--rows-of", metavar="FILE", help="Of --from-file: the source file whose rows its numbers count.")
@click.option("--listed", metavar="SPLIT", help="Of --from-file: the split of all images that it lists.")
@click.option("--split-column", metavar="COLUMN", help="Of --from-file: the column that names the splits.")
@timeout_option("a cohort's step")
@click.option("--with-columns", metavar=NAMES, help="Store these attributes beside the keys, in the split's files.")
@click.option(
    "--layout", type=click.Choice(LAYOUTS), help="Also write files that other code reads; see `split export`."
)
@click.option("--replace", is_flag=True, help="Replace another split of that name.")
@rows_options
@quiet_option
@catalog_option
@click.pass_context
def split(ctx: click.Context, /, **wishes: Any) -> None:  # noqa: ANN401
    """Split images by patient, so that anyone can rebuild and check it.

    A patient's place follows from a hash of the seed, the dataset and the patient id alone: adding data moves nobody.
    The split is stored in the catalog (splits/NAME/) and is there in SQL as `splits`. The same from Python:
    make_split(catalog, SplitRequest(...)) of cxrdata.splits.make and .request, stored by
    cxrdata.splits.stored.store_split.
    """
    if ctx.invoked_subcommand is not None:
        return
    _make(wishes)


def _make(wishes: dict[str, Any]) -> None:
    import cxrdata
    from cxrdata.splits.make import make_from_file, make_split
    from cxrdata.splits.stored import store_split
    from cxrdata.splits.summary import remarks, summary_table

    quiet = wishes["quiet"]
    path = wishes["from_file"]
    reading = {name: wishes[name] for name in ("key", "rows_of", "listed", "split_column") if wishes[name] is not None}
    if reading and path is None:
        raise CxrError(
            "CXR-502",
            f"--{next(iter(reading)).replace('_', '-')} says how a file is read, and none is given",
            fix="add --from-file FILE",
        )
    request = _request(wishes)
    if path is not None:
        _check_file_alone(request, listed="listed" in reading)
    columns = names(wishes["with_columns"])
    with cxrdata.open(wishes["catalog"]) as catalog:
        with progress("splitting", quiet=quiet) as tell:
            tell("choosing images")
            made = (
                make_split(catalog, request, with_columns=columns, seconds=wishes["timeout"] or None)
                if path is None
                else make_from_file(catalog, request, path, with_columns=columns, **reading)
            )
            name = wishes["name"] or (request.default_name() if path is None else path.name.partition(".")[0])
            store_split(catalog, name, made.frame, made.manifest, replace=wishes["replace"])
        emit(summary_table(made), row_format=wishes["row_format"], limit=wishes["limit"], out=wishes["out"])
        if quiet:
            return
        for text in remarks(made):
            remark(text)
        _say_synthetic(made)
        if wishes["layout"]:
            _export(catalog, name, wishes["layout"], Path(f"{name}-{wishes['layout']}"))
    what = "no ids, anyone can rebuild and check it" + ("" if path is None else f" who has {path.name}")
    remark(f"split {name} is stored; next: cxrdata split recipe {name} --out {name}.json   (what to share: {what})")


def _request(wishes: dict[str, Any]) -> SplitRequest:
    from cxrdata.splits.request import SplitRequest

    given: dict[str, Any] = {"cohort": wishes["cohort"]}
    if wishes["cohort"] is not None and (wishes["cohort"].endswith(".sql") or "/" in wishes["cohort"]):
        from cxrdata.splits.cohorts import load_cohort

        given = {"cohort_text": load_cohort(wishes["cohort"]).text}
    plain = ("where", "seed", "exact", "official", "folds", "subgroup", "max_images_per_patient", "min_images_per_patient", "keep", "only_existing",
             "mode", "unit", "pool", "policy", "pediatric_vs_adult", "finding", "children", "spurious", "attribute", "correlation",
             "train_images", "per_cell", "valid")  # fmt: skip
    given |= {name: wishes[name] for name in plain}
    given |= {name: names(wishes[name]) for name in ("datasets", "stratify", "balance", "groups", "match")}
    if wishes["ratios"] is not None:
        given["ratios"] = wishes["ratios"]
    return SplitRequest(**given)


def _check_file_alone(request: SplitRequest, *, listed: bool) -> None:
    """A published file says itself who stands where."""
    if "ratios" in request.arguments() and not listed:
        raise CxrError("CXR-502", "--ratios has no part in a split that a file holds", fix="leave it out")
    allowed = {"seed", "cohort", "cohort_text", "where", "datasets", "ratios", "policy"}
    for name in request.arguments():
        if name not in allowed:
            raise CxrError(
                "CXR-502",
                f"--{name.replace('_', '-')} does not go with --from-file, which says itself who stands where",
                fix="leave one of them out",
            )


def _say_synthetic(made: MadeSplit) -> None:
    if made.manifest["synthetic"]:
        remark(f"synthetic data: {', '.join(made.manifest['synthetic'])}")


def _export(catalog: Catalog, name: str, layout: str, folder: Path) -> None:
    from cxrdata.interop.split_layouts import write_layout

    written = write_layout(catalog, catalog.split(name), layout, folder)
    for path, rows in written.files.items():
        remark(f"written: {path}, {counted(rows, 'row')}")
    for note in written.notes:
        remark(note)


@split.command("list", epilog=example("cxrdata split list"))
@rows_options
@catalog_option
def list_command(row_format: str, limit: int | None, out: Path | None, catalog: Path | None) -> None:
    """List the splits of the catalog."""
    import cxrdata
    from cxrdata.splits.stored import list_splits

    with cxrdata.open(catalog) as opened:
        emit(list_splits(opened), row_format=row_format, limit=limit, out=out)


@split.command("verify", epilog=example("cxrdata split verify race-balanced"))
@click.argument("name_or_file")
@click.option("--key", metavar="COLUMN", help="Of a file: the column with ids, paths or row numbers.")
@click.option("--rows-of", metavar="FILE", help="Of a file: the source file whose rows its numbers count.")
@click.option("--listed", metavar="SPLIT", help="Of a file: the split of all images that it lists.")
@click.option("--split-column", metavar="COLUMN", help="Of a file: the column that names the splits.")
@click.option("--balance", "show_balance", is_flag=True, help="Print the shares of each group in each split instead.")
@rows_options
@catalog_option
def verify_command(
    name_or_file: str,
    show_balance: bool,
    row_format: str,
    limit: int | None,
    out: Path | None,
    catalog: Path | None,
    **wishes: str | None,
) -> None:
    """Check a split of this catalog, or anyone's file: is it what it says, who leaks, how do its parts differ?

    A split of this catalog is made again from its manifest and compared. Exit code 1 if a check fails.
    """
    import cxrdata
    from cxrdata.splits.verify import FAILED, verify_split

    with cxrdata.open(catalog) as opened:
        verified = verify_split(
            opened, name_or_file, **{name: value for name, value in wishes.items() if value is not None}
        )
    emit(verified.balance if show_balance else verified.checks, row_format=row_format, limit=limit, out=out)
    if not verified.sound:
        failed = verified.checks.filter(result=FAILED).row(0, named=True)
        raise CxrError(
            "CXR-406" if failed["check"] == "leaks" else "CXR-405",
            f"{failed['check']}: {failed['detail']}",
            where=verified.name,
            fix="do not use this split as it is",
        )


@split.command("recipe", epilog=example("cxrdata split recipe race-balanced --out race-balanced.json"))
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file.")
@catalog_option
def recipe_command(name: str, out: Path | None, catalog: Path | None) -> None:
    """Print what is needed to rebuild a split and to check it, without an id of any image or patient."""
    import cxrdata
    from cxrdata.cli.output import write_text
    from cxrdata.splits.recipe import recipe_of, recipe_text

    with cxrdata.open(catalog) as opened:
        write_text(recipe_text(recipe_of(opened, name)), out)
    if out is not None:
        remark(f"written: {out}; whoever has the same data: cxrdata split rebuild {out.name}")


@split.command("rebuild", epilog=example("cxrdata split rebuild race-balanced.json"))
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--file", "file", type=click.Path(path_type=Path), help="The published file that the split was read from."
)
@click.option("--name", help="What to call it; default the recipe's name.")
@click.option("--replace", is_flag=True, help="Replace another split of that name.")
@rows_options
@catalog_option
def rebuild_command(
    recipe: Path,
    file: Path | None,
    name: str | None,
    replace: bool,
    row_format: str,
    limit: int | None,
    out: Path | None,
    catalog: Path | None,
) -> None:
    """Make the split of a recipe from your own catalog and compare. Stored only if it is identical, else exit code 1."""
    import cxrdata
    from cxrdata.splits.recipe import read_recipe, rebuild
    from cxrdata.splits.stored import store_split

    said = read_recipe(recipe)
    with cxrdata.open(catalog) as opened:
        rebuilt = rebuild(opened, said, file)
        emit(rebuilt.differences, row_format=row_format, limit=limit, out=out)
        if not rebuilt.identical:
            raise CxrError(
                "CXR-409",
                f"the split is {rebuilt.verdict}",
                where=recipe.name,
                fix="build the catalog from the same source files as the recipe's maker, with the same version",
            )
        store_split(opened, name or said["split_name"], rebuilt.made.frame, rebuilt.made.manifest, replace=replace)
    remark(f"identical; stored as {name or said['split_name']}")


@split.command("export", epilog=example("cxrdata split export race-balanced --layout index"))
@click.argument("name")
@click.option("--layout", type=click.Choice(LAYOUTS), required=True, help="For which code.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder to write to; default NAME-LAYOUT."
)
@catalog_option
def export_command(name: str, layout: str, out: Path | None, catalog: Path | None) -> None:
    """Write a split as files that other code reads: chexploration, torchxrayvision, MEDFAIR, or row numbers (index)."""
    import cxrdata

    with cxrdata.open(catalog) as opened:
        _export(opened, name, layout, out or Path(f"{name}-{layout}"))
