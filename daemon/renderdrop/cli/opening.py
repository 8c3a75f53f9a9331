"""From `--config` to what a command works on: checked settings, and one job out of what a person typed.

Owns how commands find both, and the words for when they cannot. It must never print the token, nor ask for
one where nothing is asked of the platform: an operator looks at jobs without being allowed to render.
"""

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TextIO

import typer

from renderdrop.model.errors import BrokenSettings, Fault
from renderdrop.model.names import shown

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from renderdrop.model.job import Job
    from renderdrop.settings import Loaded

EX_CONFIG: Final = 78
"""sysexits(3): something was found in an unconfigured or misconfigured state."""

Config = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="Settings file; else $RENDERDROP_CONFIG, ./renderdrop.toml, /etc/renderdrop/renderdrop.toml.",
    ),
]


def opened(config: Path | None, *, platform: bool = False) -> "Loaded":
    """The settings, or the end of the program with every problem told. `platform`: the token is needed."""
    from renderdrop.settings import find_config

    path: Path | None = None
    try:
        path = find_config(config, os.environ)
        return read(path, platform=platform)
    except BrokenSettings as broken:
        tell_problems(path, broken)
        raise typer.Exit(EX_CONFIG) from None


def tell_problems(path: Path | None, broken: BrokenSettings, file: TextIO | None = None) -> None:
    """Every problem, one a line, after the file they are of; on stderr, unless they are what was asked for."""
    out = file or sys.stderr
    if path is not None:
        print(f"{shown(str(path))} cannot be used:", file=out)
    for problem in broken.problems:
        print(problem, file=out)


def read(path: Path, *, platform: bool) -> "Loaded":
    """Read and check the settings. Raises BrokenSettings."""
    from renderdrop.settings import load

    environ = dict(os.environ)
    if not platform:
        environ["RENDERDROP_TOKEN"] = "not-needed"  # noqa: S105  whoever only asks the ledger need not have it
    return load(
        path, environ, network_fs=network_file_system, known_inboxes=_seen_inboxes, graph_faults=_graph_faults,
        store_installed=_store_installed(),
    )  # fmt: skip


def network_file_system(path: Path) -> str | None:
    """The name of the network file system that a path lies on; None for a local one."""
    from renderdrop.share.mounts import mount_of

    mount = mount_of(path)
    return mount.fs_type if mount.network else None


def _seen_inboxes(state_dir: Path) -> Collection[Path]:
    """A folder that is missing is no fault of the settings where the ledger knows its share: it is offline."""
    path = state_dir / "ledger.sqlite"
    if not _may_be(path):  # before anything heavy is imported
        return ()
    from renderdrop.ledger import engine, queries

    try:
        with engine.view(path) as conn:
            return queries.seen_folders(conn)
    except Fault:
        return ()  # one that its own command will complain about


def _graph_faults(data: bytes, keys: Collection[str]) -> list[str]:
    """What is wrong with a graph's file; else a sentence for each key that it does not have."""
    from renderdrop.platform.graph_json import missing_inputs, read_graph

    try:
        return missing_inputs(read_graph(data), keys)
    except ValueError as error:
        return [str(error)]


def _store_installed() -> bool:
    from renderdrop.platform.store import installed

    return installed()


def ledger_of(loaded: "Loaded") -> Path:
    """Where these settings have the ledger; it may not be there yet."""
    from renderdrop.ledger.engine import ledger_path

    return ledger_path(loaded.state_dir)


def has_ledger(path: Path) -> bool:
    """Whether there is one to look into; one that a daemon is only just making is none yet."""
    if not _may_be(path) and not _may_be(Path(f"{path}-wal")):
        return False
    from renderdrop.ledger import engine

    try:
        with engine.view(path):
            return True
    except engine.NoLedger:
        return False
    except Fault:
        return True  # damaged, older, newer or closed to us: whoever opens it next says so


def _may_be(path: Path) -> bool:
    """Whether something lies there, as far as we are allowed to know."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def no_ledger(path: Path) -> str:
    """The hint for when there is none."""
    return (
        f"There is no ledger at {shown(str(path))} yet; `renderdrop run` makes it at its first start. "
        "If a service keeps it elsewhere, name that folder with daemon.state_dir in the settings."
    )


def require_ledger(path: Path, wanted: Sequence[str]) -> None:
    """End with a usage error where jobs are named and no ledger is there to know them."""
    if not has_ledger(path):
        names = "".join(f" {shown(name)}" for name in wanted)
        raise typer.BadParameter(f"there is no job{names}. {no_ledger(path)}")


def job_named(conn: "Connection", wanted: str) -> "Job":
    """The job whose id begins with what a person typed; a usage error where that is none or several."""
    from renderdrop.ledger import queries

    ids = queries.matching(conn, wanted.strip()) if wanted.strip() else []
    found = queries.job(conn, ids[0]) if len(ids) == 1 else None
    if found is not None:
        return found
    if ids:
        several = "\n".join(ids)
        raise typer.BadParameter(f"{shown(wanted)} is the beginning of several jobs; write more of it:\n{several}")
    raise typer.BadParameter(f"there is no job {shown(wanted)}; `renderdrop jobs` lists them")
