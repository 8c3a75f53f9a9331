"""`renderdrop explain`: would this file be taken, as what, and sent how; if not, why not.

Owns the questions in the order in which the intake asks them. It looks at the path with lstat alone and opens no file:
whoever asks about a file must not change what becomes of it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from renderdrop.cli.jobs import tell_troubles
from renderdrop.cli.opening import Config, has_ledger, ledger_of, opened
from renderdrop.cli.paper import fact, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from renderdrop.ledger.queries import Known
    from renderdrop.model.job import Job
    from renderdrop.model.route import Route
    from renderdrop.settings import Loaded
    from renderdrop.share.scan import Entry


class _No(Exception):
    """Why it is not taken: a whole sentence."""


def explain(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file in an inbox; it need not exist.")],
    config: Config = None,
) -> None:
    """Tell whether a file would be taken, and what would be sent.

    Looks only: nothing is sent, nothing is changed."""
    loaded = opened(config)
    try:
        route, rel = _place(loaded.routes, path)
        fact("route", route.name)
        fact("path", rel)
        _share(loaded, route)
        _ignored(loaded, rel)
        entry = _entry(route, rel)
        if not _known(loaded, route, rel, entry):
            _fits(route, rel, entry)
            _sending(route, rel, entry)
    except _No as reason:
        line(f"Not taken: {reason}", "yellow")
        raise typer.Exit(1) from None


def _place(routes: "Sequence[Route]", path: Path) -> "tuple[Route, str]":
    """The route in whose inbox a path is, and the path below it."""
    given = Path(os.path.abspath(path))
    # A link above the file may lead into an inbox; the file's own name is never followed.
    real = Path(os.path.realpath(given.parent), given.name)
    for route in routes:
        for candidate, inbox in ((given, route.inbox), (real, Path(os.path.realpath(route.inbox)))):
            if candidate.is_relative_to(inbox) and candidate != inbox:
                return route, candidate.relative_to(inbox).as_posix()
    for route in routes:
        for role in ("inbox", "outbox", "done", "failed"):
            folder: Path = getattr(route, role)
            if given.is_relative_to(folder):
                what = "is the inbox itself" if role == "inbox" else f"is in the {role} folder"
                raise _No(f"{given} {what} of route {route.name}; files are taken from {route.inbox}.")
    inboxes = ", ".join(f"{route.inbox} ({route.name})" for route in routes)
    raise _No(f"{given} is in no inbox. The inboxes are: {inboxes}.")


def _share(loaded: "Loaded", route: "Route") -> None:
    from renderdrop.ledger import engine, queries
    from renderdrop.model.errors import ShareOffline
    from renderdrop.share.marker import Folders, online

    path = ledger_of(loaded)
    if not has_ledger(path):
        return  # never run: nothing has been seen, so nothing is missing
    with engine.view(path) as conn:
        seen = queries.seen_inboxes(conn)
        tell_troubles([t for t in queries.present_troubles(conn) if t.reach == "platform" or t.subject == route.name])
    if route.inbox in seen:
        try:
            online(Folders(route.inbox, route.outbox, route.done, route.failed))
        except ShareOffline as fault:
            raise _No(f"the share is offline: {fault.sentence.rstrip('.')}.") from None


def _ignored(loaded: "Loaded", rel: str) -> None:
    from renderdrop.share.ignore import Ignore

    if rule := Ignore(loaded.settings.intake.ignore).path(rel, is_folder=False):
        raise _No(f"the rule {rule} ignores it, always or by intake.ignore in the settings.")


def _entry(route: "Route", rel: str) -> "Entry | None":
    from renderdrop.model.errors import ShareOffline
    from renderdrop.share.scan import look

    try:
        entry = look(route.inbox, [rel])[rel]
    except ShareOffline:
        return None  # the inbox is not made yet; where it was there before, the share was found offline already
    if entry is None and (route.inbox / rel).is_dir():
        raise _No("it is a folder; the files in it are taken one by one, ask about one of them.")
    if entry is None:
        line("There is no such file yet; if it were dropped:", "dim")
    return entry


def _known(loaded: "Loaded", route: "Route", rel: str, entry: "Entry | None") -> bool:
    """Whether it is a job already; raises _No where it was one that is over."""
    from renderdrop.ledger import engine, queries

    path = ledger_of(loaded)
    if not has_ledger(path):
        return False
    with engine.view(path) as conn:
        known: Known | None = queries.known_paths(conn, route.name, [rel]).get(rel)
        past: list[Job] = queries.at_path(conn, route.name, rel) if known is not None else []
    if known is None or not past:
        return False
    if known.open:
        fact("taken", f"it is job {past[0].id} already, which is {past[0].state}; see `renderdrop show {past[0].id}`")
        return True
    if entry is not None and (known.size, known.mtime_ns) == (entry.size, entry.mtime_ns):
        raise _No(
            f"it is unchanged since job {past[0].id}, which is {past[0].state}, and is remembered; "
            f"change it, or run `renderdrop retry {past[0].id}`."
        )
    return False


def _fits(route: "Route", rel: str, entry: "Entry | None") -> None:
    from renderdrop.intake.refuse import refusal

    if reason := refusal(route, rel, entry.kind if entry is not None else "file"):
        raise _No(f"{reason.rstrip('.')}. It would go to failed/ with that sentence.")
    if entry is not None and entry.size == 0:
        raise _No("it is empty; it is left where it is until it grows.")


def _sending(route: "Route", rel: str, entry: "Entry | None") -> None:
    from renderdrop.model.media import media_type
    from renderdrop.model.units import spoken_size

    size = f", {spoken_size(entry.size)}" if entry is not None else ""
    fact("taken", "yes, once it has stopped changing")
    fact("workflow", f"{route.workflow_id}, version {route.version_id or 'newest'}")
    fact("input", f"{route.input_name} = {rel.rpartition('/')[2]} ({media_type(rel)}{size})")
    for name, value in route.params.items():
        fact(f"param {name}", str(value))
    fact("clusters", f"{', '.join(route.clusters)} (the least loaded; this order where they are even)")
    fact("afterwards", {"move": "its source goes to done/", "keep": "its source stays and is remembered",
                        "delete": "its source is deleted once the results are on disk"}[route.after])  # fmt: skip
