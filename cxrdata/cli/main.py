"""The `cxrdata` command: lazy subcommands, errors as one block, exit codes of the contract."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

import click

from cxrdata.errors import CxrError, Exit, nearest
from cxrdata.version import __version__

# command -> (module, attribute, one line of help), so that `--help` imports nothing.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "sources": ("cxrdata.cli.sources", "sources", "List what can be ingested, and where to get it."),
    "synth": ("cxrdata.cli.sources", "synth", "Write synthetic datasets in their official layout."),
    "build-catalog": ("cxrdata.cli.build", "build_catalog", "Read official files into a validated catalog."),
    "annotate": ("cxrdata.cli.annotate", "annotate", "Join age, sex, race, labels to a file; find leaks."),
    "sql": ("cxrdata.cli.sql", "sql", "Ask the catalog a question in SQL."),
    "cohort": ("cxrdata.cli.cohort", "cohort", "List, show and count cohorts, step by step."),
    "split": ("cxrdata.cli.split", "split", "Split images by patient; verify and share splits."),
    "resample": ("cxrdata.cli.resample", "resample", "Draw a subset anew, with groups made comparable."),
    "audit": ("cxrdata.cli.audit", "audit", "Measure how a model treats each group, with intervals."),
    "explore": ("cxrdata.cli.explore", "explore", "Show what a model's features know of patients."),
    "review": ("cxrdata.cli.review", "review", "Count public imaging datasets and their patients' ages."),
    "report": ("cxrdata.cli.report", "report", "Write what is in the catalog as one HTML page."),
    "export": ("cxrdata.cli.export", "export", "Write Croissant, Parquet, label tables, a data dictionary."),
    "fetch": ("cxrdata.cli.fetch", "fetch", "Get an openly licensed dataset, or say how to get it."),
    "images": ("cxrdata.cli.images", "images", "Find, check and store the image files."),
    "describe": ("cxrdata.cli.inspect", "describe", "Show what is in the catalog, or in one table."),
    "rejects": ("cxrdata.cli.inspect", "rejects", "Show what the build refused, and why."),
    "verify": ("cxrdata.cli.builds", "verify", "Check that the catalog is whole, to the byte."),
    "builds": ("cxrdata.cli.builds", "builds", "List the builds kept, or drop old ones."),
    "diff": ("cxrdata.cli.builds", "diff", "Show what changed between two builds."),
    "cite": ("cxrdata.cli.builds", "cite", "Print BibTeX, versions and a methods sentence."),
    "demo": ("cxrdata.cli.demo", "demo", "Walk the whole road on synthetic data."),
}
PLUGINS = "cxrdata.commands"
_DUCKDB_INTERRUPTED = "Query interrupted"  # what DuckDB makes of Ctrl-C, a plain RuntimeError
DEBUG_VARIABLE = "CXRDATA_DEBUG"


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [*COMMANDS, *sorted(point.name for point in entry_points(group=PLUGINS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name in COMMANDS:
            module, attribute, _ = COMMANDS[cmd_name]
            command: click.Command = getattr(import_module(module), attribute)
            return command
        for point in entry_points(group=PLUGINS, name=cmd_name):
            plugin: click.Command = point.load()
            return plugin
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            raise CxrError(
                "CXR-501",
                f"there is no command {args[0]!r}{nearest(args[0], known)}",
                fix="`cxrdata --help` lists the commands",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        rows = [(name, text) for name, (_, _, text) in COMMANDS.items()]
        rows += [
            (point.name, _short_help(point)) for point in sorted(entry_points(group=PLUGINS), key=lambda p: p.name)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _short_help(point: EntryPoint) -> str:
    """What an extension's command says of itself. One that cannot be loaded must not take the help of all others along."""
    try:
        command: click.Command = point.load()
        return command.get_short_help_str(limit=100)
    except Exception:  # noqa: BLE001 - it is not our code
        return "From an extension, which cannot be loaded."


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExample:\n  cxrdata demo",
)
@click.version_option(__version__, prog_name="cxrdata")
def cli() -> None:
    """Public chest X-ray datasets as one validated, harmonised, queryable catalog.

    The catalog is the folder given by -c, else $CXRDATA_CATALOG, else ./cxr-catalog. Put --debug
    anywhere to see a traceback.
    """


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; errors go to stderr as one block."""
    arguments = list(arguments)
    debug = "--debug" in arguments or bool(os.environ.get(DEBUG_VARIABLE))
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        result = cli.main(args=arguments, prog_name="cxrdata", standalone_mode=False)
    except KeyboardInterrupt:
        return _interrupted()
    except click.Abort as error:
        # Click takes the end of a file for the end of what a user types: a damaged file would look like Ctrl-C.
        cause = error.__cause__
        if isinstance(cause, EOFError) and not _came_of_ctrl_c(cause):
            return _fail(_cut_short(cause), debug=debug)
        return _interrupted()
    except BrokenPipeError:
        # The reader has gone (`| head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except Exception as error:  # noqa: BLE001 - the last resort: no traceback reaches a user
        return _interrupted() if _came_of_ctrl_c(error) else _fail(_as_told(error, arguments), debug=debug)
    return result if isinstance(result, int) else Exit.DONE


def _as_told(error: Exception, arguments: Sequence[str]) -> CxrError:
    """Any error as one with a code and a way out."""
    if isinstance(error, CxrError):
        return error
    if isinstance(error, click.NoSuchOption):
        return _misplaced(error, arguments)
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "cxrdata"
        return CxrError("CXR-502", error.format_message(), fix=f"`{command} --help` shows how it is used")
    if isinstance(error, OSError):
        where = str(error.filename) if error.filename else None
        fix = "check the path, its permissions and the space left"
        return CxrError("CXR-605", error.strerror or str(error), where=where, fix=fix)
    if isinstance(error, MemoryError):
        return CxrError("CXR-606", "there is not enough memory", fix="try --workers 1, or a machine with more")
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return CxrError("CXR-699", text, fix="this is a defect of cxrdata; please report it with what --debug prints")


def _cut_short(error: EOFError) -> CxrError:
    fix = "make the file again: it is likely one that was kept of earlier work (--debug shows which part read it)"
    return CxrError("CXR-605", f"a file ends too early: {error}".removesuffix(": "), fix=fix)


def _misplaced(error: click.NoSuchOption, arguments: Sequence[str]) -> CxrError:
    """An option that is not known where it stands; one before the command likely belongs after it."""
    context = error.ctx
    path = context.command_path if context else "cxrdata"
    fix = f"`{path} --help` shows how it is used"
    if context is not None and context.command is cli:
        command = next((argument for argument in arguments if argument in COMMANDS), "COMMAND")
        place = arguments.index(command) if command in arguments else len(arguments)
        options = " ".join(arguments[:place])
        fix = f"options come after the command: `cxrdata {command} {options}`"
    return CxrError("CXR-502", error.format_message(), fix=fix)


def _came_of_ctrl_c(error: BaseException) -> bool:
    """Whether an error is Ctrl-C as DuckDB tells it, or arose while Ctrl-C was cleaned up after: a connection cannot be
    closed while a thread that the interrupt left behind still uses it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):
            return True
        if isinstance(cause, RuntimeError) and str(cause) == _DUCKDB_INTERRUPTED:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _interrupted() -> int:
    sys.stderr.write("interrupted\n")
    return Exit.INTERRUPTED


def _fail(error: CxrError, *, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    sys.stderr.write(error.block() + "\n")
    return int(error.exit)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))
