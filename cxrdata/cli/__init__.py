"""The command line: thin files, one a command group. Parse, call, print; no logic."""

from cxrdata.cli.main import main

__all__ = ["main"]
