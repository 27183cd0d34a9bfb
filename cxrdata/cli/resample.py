"""`cxrdata resample`: a part of a split drawn anew, with groups made comparable."""

from __future__ import annotations

from pathlib import Path

import click

from cxrdata.cli.options import NAMES, catalog_option, example, names, policy_option, quiet_option, rows_options
from cxrdata.cli.output import emit, progress, remark


@click.command(epilog=example("cxrdata resample --split test --balance race --match disease,age_group:chexploration"))
@click.argument("name", required=False)
@click.option("--split", "part", default="test", show_default=True, help="The part of the split to draw from.")
@click.option("--balance", metavar=NAMES, required=True, help="Attributes whose groups get equally many draws.")
@click.option(
    "--groups", metavar=NAMES, help="The groups; default: all but Other and Multiple with at least 2 % of the images."
)
@click.option("--match", metavar=NAMES, help="Attributes that every group gets the whole part's shares of, in turn.")
@click.option("--factor", type=float, default=3.0, show_default=True, help="Draw so many times the part's images.")
@click.option("--exact", is_flag=True, help="Hit every cell's target to within one draw, without chance.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other draws.")
@policy_option
@click.option("--name", "new_name", help="What to call the new split; default NAME-PART-resampled.")
@click.option("--replace", is_flag=True, help="Replace another split of that name.")
@click.option("--cells", is_flag=True, help="Print the shares of every cell before and after instead.")
@rows_options
@quiet_option
@catalog_option
def resample(
    name: str | None,
    part: str,
    balance: str,
    groups: str | None,
    match: str | None,
    factor: float,
    exact: bool,
    seed: int,
    policy: str,
    new_name: str | None,
    replace: bool,
    cells: bool,
    row_format: str,
    limit: int | None,
    out: Path | None,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Draw a part of the split NAME anew, with replacement, so that groups become comparable.

    NAME may be left out where the catalog has one split. By default in the three steps of Glocker et al. 2023: as many
    draws of each group, then each match attribute with the shares of the whole part. Draws are counted in `n_draws`.
    Prints the groups: how often images were drawn, and how many equally often drawn ones they are worth. The same from
    Python: cxrdata.splits.resample_split.resample_split(catalog, name, ResampleRequest(...)).
    """
    import cxrdata
    from cxrdata.splits.resample_split import ResampleRequest, resample_split, the_split
    from cxrdata.splits.stored import store_split
    from cxrdata.splits.summary import remarks

    request = ResampleRequest(
        split=part,
        balance=names(balance),
        groups=names(groups),
        match=names(match),
        factor=factor,
        seed=seed,
        exact=exact,
        policy=policy,
    )
    with cxrdata.open(catalog) as opened, progress("resampling", quiet=quiet):
        name = the_split(opened, name)
        made, resampled = resample_split(opened, name, request)
        new_name = new_name or request.default_name(name)
        store_split(opened, new_name, made.frame, made.manifest, replace=replace)
    emit(resampled.cells if cells else resampled.groups, row_format=row_format, limit=limit, out=out)
    for text in remarks(made):
        remark(text, quiet=quiet)
    if made.manifest["synthetic"]:
        remark(f"synthetic data: {', '.join(made.manifest['synthetic'])}", quiet=quiet)
    query = f"SELECT sum(n_draws) FROM splits WHERE split_name = '{new_name}'"
    remark(
        f'split {new_name} is stored; its draws are in the column n_draws, as in: cxrdata sql "{query}"', quiet=quiet
    )
