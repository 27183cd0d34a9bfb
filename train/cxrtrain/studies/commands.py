"""Steps of a study that are commands of ours: what a stage does, anyone can do by hand."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from importlib import import_module

import click

# command -> module and attribute; not through entry points, so that a clone that is not installed has them too.
_COMMANDS = {
    "synth": ("cxrdata.cli.sources", "synth"),
    "build-catalog": ("cxrdata.cli.build", "build_catalog"),
    "split": ("cxrdata.cli.split", "split"),
    "images": ("cxrdata.cli.images", "images"),
    "train": ("cxrtrain.cli.train", "train"),
    "predict": ("cxrtrain.cli.predict", "predict"),
    "embed": ("cxrtrain.cli.predict", "embed"),
    "probe": ("cxrtrain.cli.probe", "probe"),
    "explain": ("cxrtrain.cli.explain", "explain"),
    "resample": ("cxrdata.cli.resample", "resample"),
}


def run_command(name: str, *arguments: object) -> str:
    """Run `cxrdata NAME …` in this process and give what it printed. Raises what it raises, Ctrl-C as KeyboardInterrupt."""
    module, attribute = _COMMANDS[name]
    command: click.Command = getattr(import_module(module), attribute)
    with redirect_stdout(io.StringIO()) as said:
        try:
            command.main(args=[str(one) for one in arguments], prog_name=f"cxrdata {name}", standalone_mode=False)
        except click.Abort as error:
            raise KeyboardInterrupt from error
    return said.getvalue()
