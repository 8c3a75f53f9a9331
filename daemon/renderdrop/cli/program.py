"""The program: every command by its name.

Owns the list and the options before a command. Nothing is decided here, and nothing heavy is imported.
"""

import sys
from typing import Annotated

import typer

from renderdrop import __version__
from renderdrop.cli.check import check
from renderdrop.cli.clusters import clusters
from renderdrop.cli.deeds import cancel, release, retry
from renderdrop.cli.demo import demo
from renderdrop.cli.explain import explain
from renderdrop.cli.init import init
from renderdrop.cli.jobs import jobs
from renderdrop.cli.pauses import pause, resume
from renderdrop.cli.rerun import rerun
from renderdrop.cli.run import run
from renderdrop.cli.sandbox import sandbox
from renderdrop.cli.schema import schema
from renderdrop.cli.show import show

program = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # Faults are told by __main__; Rich's own tracebacks would print local variables, the token among them.
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"renderdrop {__version__}")
        raise typer.Exit


@program.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Drop a file into a shared folder, get the render back in another."""


for _command in (
    run, check, init, jobs, show, retry, release, cancel, pause, resume, rerun, clusters, explain, schema, sandbox,
    demo,
):  # fmt: skip
    program.command()(_command)
