"""`renderdrop explain`: would this file be taken, as what, and sent how; if not, why not.

Owns the questions in the order in which the intake asks them, and the words of the answers. Nothing is sent, nothing is
changed, and no medium is opened: whoever asks about a file must not change what becomes of it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from renderdrop.cli.jobs import tell_troubles
from renderdrop.cli.opening import Config, has_ledger, ledger_of, opened
from renderdrop.cli.paper import fact, line, parameter
from renderdrop.cli.waits import Moment
from renderdrop.model.names import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from renderdrop.cli.gathered import Gathered, Lying
    from renderdrop.ledger.queries import Known
    from renderdrop.model.job import Job
    from renderdrop.model.route import Route
    from renderdrop.settings import Loaded
    from renderdrop.share.scan import Entry


class _No(Exception):
    """Why it is not taken: a whole sentence."""


def explain(
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="A file, a ticket or a bundle's folder in an inbox; it need not exist."),
    ],
    config: Config = None,
) -> None:
    """Tell whether a file would be taken, with which others, and what would be sent.

    Looks only: nothing is sent, nothing is changed."""
    loaded = opened(config)
    try:
        route, rel = _place(loaded.routes, path)
        fact("route", route.name)
        fact("path", rel)
        _share(loaded, route)
        _ignored(loaded, rel)
        _explain(loaded, route, rel)
    except _No as reason:
        line(f"Not taken: {reason}", "yellow")
        raise typer.Exit(1) from None


def _explain(loaded: "Loaded", route: "Route", rel: str) -> None:
    from renderdrop.cli.gathered import beside, gathered
    from renderdrop.cli.prospect import tell_job, tell_parts, tell_when
    from renderdrop.intake.bundle import Part, part_of
    from renderdrop.share.ignore import Ignore

    if part_of(route, rel) is Part.BATCH:
        _batch(route, rel)
        return
    rel = _bundle_folder(route, rel)
    files = beside(route, rel, Ignore(loaded.settings.intake.ignore))
    if rel in files and files[rel] is None:
        line("There is no such file yet; if it were dropped:", "dim")
    if _taken_already(loaded, route, rel, files):
        return
    _ours(route, rel, files)
    files = _without_taken(loaded, route, rel, files)
    found = gathered(route, files)
    _late(loaded, route, rel, found)
    tell_parts(route, rel, found)
    if found.refusal is not None:
        raise _No(f"{found.refusal.rstrip('.')}. It would go to failed/ with that sentence.")
    entry = files.get(rel)
    if entry is not None and entry.size == 0:
        raise _No("it is empty; it is left where it is until it grows.")
    tell_when(loaded, route, rel, found)
    tell_job(route, found)


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
        seen = queries.seen_folders(conn)
        told = queries.present_troubles(conn)
        tell_troubles([t for t in told if t.reach not in ("share", "route") or t.subject == route.name])
    if route.inbox in seen:
        try:
            online(Folders(route.inbox, route.outbox, route.done, route.failed))
        except ShareOffline as fault:
            raise _No(f"the share is offline: {fault.sentence.rstrip('.')}.") from None


def _ignored(loaded: "Loaded", rel: str) -> None:
    from renderdrop.share.ignore import Ignore

    if rule := Ignore(loaded.settings.intake.ignore).path(rel, is_folder=False):
        raise _No(f"the rule {rule} ignores it, always or by intake.ignore in the settings.")


def _bundle_folder(route: "Route", rel: str) -> str:
    """The path to ask about: for a folder, the folder of the bundle that it is or belongs to."""
    there = route.inbox / rel
    if not os.path.isdir(there) or os.path.islink(there):
        return rel
    if route.bundle != "folder":
        raise _No("it is a folder; the files in it are taken one by one, ask about one of them.")
    return rel.partition("/")[0]


def _batch(route: "Route", rel: str) -> None:
    """A batch ticket is no work by itself: what it asks for counts for everything below its folder."""
    from renderdrop.cli.gathered import read_batch
    from renderdrop.intake.ticket import BadTicket
    from renderdrop.model.errors import NotTakeable, ShareOffline, SourceChanged, SourceGone

    fact("ticket", f"for everything below {rel.rpartition('/')[0] or 'the inbox'}; it stays where it is")
    try:
        wishes, priority = read_batch(route, rel)
    except (BadTicket, NotTakeable, SourceChanged) as fault:
        raise _No(f"{fault.sentence.rstrip('.')}. Everything below would go to failed/ with that sentence.") from None
    except (SourceGone, ShareOffline):
        line("There is no such file yet.", "dim")
        return
    for name, value in wishes.params.items():
        parameter(name, value, wishes.origins[name])
    fact("priority", None if priority is None else str(priority))
    fact("clusters", ", ".join(wishes.clusters))
    fact("version", wishes.version_id)


def _taken_already(loaded: "Loaded", route: "Route", rel: str, files: "Lying") -> bool:
    """Whether it is a job already; raises _No where it was one that is over."""
    from renderdrop.ledger import engine, queries

    path = ledger_of(loaded)
    if not has_ledger(path):
        return False
    with engine.view(path) as conn:
        known = queries.known_paths(conn, route.name, list(files))
        past: dict[str, Sequence[Job]] = {p: queries.at_path(conn, route.name, p) for p in known}
        moment = Moment(conn, loaded)
        why = {job.id: moment.waits(job) for jobs in past.values() for job in jobs}
    for each in [rel] if rel in files else files:
        if each in known and past[each] and known[each].open:
            job = past[each][0]
            fact("taken", f"it is job {job.id} already, which is {job.state}; see `renderdrop show {job.id}`")
            if waits := why[job.id]:
                fact("sent", f"not yet: {waits}")
            else:
                fact("note", job.error)
            return True
    if not files or not all(p in past and past[p] and _as_known(known[p], entry) for p, entry in files.items()):
        return False
    job = past[rel if rel in past else next(iter(files))][0]
    raise _No(
        f"it is unchanged since job {job.id}, which is {job.state}, and is remembered; "
        f"change it, or run `renderdrop retry {job.id}`."
    )


def _as_known(known: "Known", entry: "Entry | None") -> bool:
    return entry is not None and (known.size, known.mtime_ns) == (entry.size, entry.mtime_ns)


def _without_taken(loaded: "Loaded", route: "Route", rel: str, files: "Lying") -> "Lying":
    """What lies there without the files that open jobs have taken already."""
    from renderdrop.ledger import engine, queries

    path = ledger_of(loaded)
    if not has_ledger(path):
        return files
    with engine.view(path) as conn:
        known = queries.known_paths(conn, route.name, list(files))
    return {p: entry for p, entry in files.items() if p == rel or p not in known or not known[p].open}


def _late(loaded: "Loaded", route: "Route", rel: str, found: "Gathered") -> None:
    """Raises _No for a ticket or an optional file whose job has begun without it."""
    from renderdrop.intake.bundle import meant, too_late
    from renderdrop.ledger import engine, queries

    optional = {given.name for given in route.inputs if given.optional}
    path, there = ledger_of(loaded), [p for _, p, _ in found.assembly.assigned if found.files.get(p) is not None]
    needed = [p for name, p, _ in found.assembly.assigned if name not in optional and p in (*there, rel)]
    name = meant(rel) if route.bundle == "file" else found.assembly.bundle
    if needed or name is None or not has_ledger(path):
        return
    with engine.view(path) as conn:
        names = {"paths" if route.bundle == "file" else "bundles": [name]}
        begun = queries.begun(conn, route.name, **names)
    if begun:
        raise _No(f"{too_late(rel, next(iter(begun.values())))}.")


def _ours(route: "Route", rel: str, files: "Lying") -> None:
    """Raises _No for a sidecar of ours, which is never work."""
    from renderdrop.model.errors import Fault
    from renderdrop.model.names import fold
    from renderdrop.model.sidecar import LARGEST, belongs_to
    from renderdrop.share.source import open_source

    entry = files.get(rel)
    if entry is None or entry.kind != "file" or not fold(rel).endswith(".json") or entry.size > LARGEST:
        return
    try:
        with open_source(route.inbox, rel) as file:
            job_id = belongs_to(file.read(0, LARGEST))
    except Fault:
        return
    if job_id is not None:
        raise _No(f"it is a sidecar of renderdrop, of job {shown(job_id)}; it stays where it is.")
