"""`cxrdata study`: published systems, each from a catalog or from predictions to its tables and figures."""

from __future__ import annotations

import click

from cxrtrain.cli.study_chexnet import chexnet
from cxrtrain.cli.study_chexploration import chexploration
from cxrtrain.cli.study_implicit_attributes import implicit_attributes


@click.group("study", short_help="Published studies, from catalog to tables and figures.")
def study() -> None:
    """A published study as one command: from a catalog, from drawn phantoms, or from anyone's predictions."""


for one in (chexnet, chexploration, implicit_attributes):
    study.add_command(one)
