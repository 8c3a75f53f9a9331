"""`renderdrop pause` and `resume`: a person's word on whether a route's jobs are sent.

Owns the two deeds, one transaction on the ledger each. What is with the platform already is followed and delivered,
and new files are taken: they wait. It is kept until it is taken back, over restarts of the daemon too, and has nothing
to do with the pauses that the daemon makes by itself when a route is in trouble.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from renderdrop.cli.opening import Config, has_ledger, ledger_of, no_ledger, opened
from renderdrop.cli.paper import hint, line
from renderdrop.model.errors import LedgerBroken
from renderdrop.model.names import shown

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from renderdrop.settings import Loaded

_HELP: Final = "Names of routes."


def pause(
    route: Annotated[list[str], typer.Argument(help=_HELP)],
    config: Config = None,
    reason: Annotated[str | None, typer.Option(help="Why, for whoever wonders; told wherever its jobs wait.")] = None,
) -> None:
    """Send nothing more of these routes until they are resumed.

    New files are taken and wait; what is with the platform is delivered."""
    loaded = opened(config)
    path = _ledger(loaded, route)
    from renderdrop.ledger import quota
    from renderdrop.runtime.clock import Clock

    at, why = Clock().text(), None if reason is None else " ".join(reason.split())

    def deed(conn: "Connection", name: str) -> str:
        if quota.pause(conn, name, at, why):
            return "is paused; `renderdrop resume` lets it go on"
        return "is paused already" + ("; the reason is noted" if why else "")

    _do(path, loaded, route, deed)


def resume(route: Annotated[list[str], typer.Argument(help=_HELP)], config: Config = None) -> None:
    """Send the jobs of paused routes again."""
    loaded = opened(config)
    path = _ledger(loaded, route)
    from renderdrop.ledger import quota

    def deed(conn: "Connection", name: str) -> str:
        return "goes on" if quota.resume(conn, name) else "is not paused"

    _do(path, loaded, route, deed)
    hint("A running daemon sees it within a second; if none runs, start `renderdrop run`.")


def _ledger(loaded: "Loaded", routes: Sequence[str]) -> "Path":
    path = ledger_of(loaded)
    if not has_ledger(path):
        _require(loaded, routes, ())
        raise LedgerBroken(no_ledger(path))
    return path


def _do(
    path: "Path", loaded: "Loaded", routes: Sequence[str], deed: "Callable[[Connection, str], str]"
) -> None:  # fmt: skip
    from renderdrop.ledger import engine, quota

    with engine.transaction(path) as conn:
        _require(loaded, routes, quota.paused(conn))
        told = [f"Route {name} {deed(conn, name)}." for name in dict.fromkeys(routes)]
    for text in told:  # only now: before the commit nothing of it is true
        line(text)


def _require(loaded: "Loaded", routes: Sequence[str], paused: "Collection[str]") -> None:
    """A route that is no more in the settings can still be resumed."""
    known = loaded.settings.routes
    if strange := [name for name in routes if name not in known and name not in paused]:
        named = ", ".join(shown(name) for name in strange)
        raise typer.BadParameter(f"there is no route {named}; the settings have: {', '.join(known) or 'none'}")
