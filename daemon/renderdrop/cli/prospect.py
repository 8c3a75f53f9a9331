"""The job to be, in words: which files it is made of, when it is taken, what is sent, what becomes of the files.

Owns the facts that `explain` tells of a file that would be taken. It decides nothing: what is told was found before.
"""

from typing import Final

from sqlalchemy import Connection

from renderdrop.cli.gathered import Gathered
from renderdrop.cli.opening import has_ledger, ledger_of
from renderdrop.cli.paper import fact, line, parameter
from renderdrop.cli.waits import Moment
from renderdrop.intake.bundle import Part, meant, part_of
from renderdrop.intake.fit import is_link
from renderdrop.intake.refuse import described
from renderdrop.ledger import engine, queries
from renderdrop.model.job import Role
from renderdrop.model.lifecycle import State
from renderdrop.model.media import media_type
from renderdrop.model.route import Route
from renderdrop.model.units import spoken, spoken_size
from renderdrop.model.wishes import params_of
from renderdrop.settings import Loaded

_MOST_NAMED: Final = 12


def tell_parts(route: Route, rel: str, found: Gathered) -> None:
    """Which files belong together, and what each of them is."""
    assembly = found.assembly
    if part_of(route, rel) is Part.TICKET:
        of = meant(rel)
        fact("ticket of", assembly.bundle if of is None else of.rpartition("/")[2])
    if route.bundle != "file":
        fact("bundle", f"{assembly.bundle or rel} ({route.bundle})")
    for name, path, _ in assembly.assigned:
        entry = found.files[path]
        size = f", {spoken_size(entry.size)}" if entry is not None else ", not there yet" if path != rel else ""
        fact("input", f"{name or '?'} = {path.rpartition('/')[2]} ({media_type(path)}{size})")
    for given in route.inputs:
        if given.name in found.named:
            fact("input", f"{given.name} = what the ticket says")
        elif given.name in (*assembly.missing, *assembly.lacking):
            fact("optional" if given.optional else "missing", f"{given.name}: {described(given)}")
    for path in assembly.tickets:
        fact("ticket", path)
    for path in found.batches:
        fact("batch ticket", path)


def tell_when(loaded: Loaded, route: Route, rel: str, found: Gathered) -> None:
    """When it is taken and when it is sent, and what it waits for until then."""
    path, closed = ledger_of(loaded), None
    if has_ledger(path):
        with engine.view(path) as conn:
            _made_by(conn, route, found)
            jobs = [job for p in found.files for job in queries.at_path(conn, route.name, p)]
            closed = Moment(conn, loaded).closed(lasting=True).get(route.name)
        for job in {job.id: job for job in jobs if job.state is State.QUEUED and job.waiting_for}.values():
            fact("job", f"{job.id} waits for {job.waiting_for}; see `renderdrop show {job.id}`")
    fact("taken", _taken(route, rel, found, loaded.settings.intake.ticket_wait))
    fact("sent", None if closed is None else f"not yet: {closed}")


def _taken(route: Route, rel: str, found: Gathered, ticket_wait: float) -> str:
    if missing := ", ".join(found.assembly.missing):
        most = f"at most {spoken(route.bundle_timeout)}" if route.bundle_timeout else "for ever"
        return f"not yet: it waits for {missing}, {most}"
    if absent := [path.rpartition("/")[2] for path, entry in found.files.items() if entry is None and path != rel]:
        return f"not yet: it waits for {', '.join(absent)}"
    whole = found.assembly.tickets and not (found.assembly.lacking or found.named)  # nothing more can come with it
    more = f", at the earliest {spoken(ticket_wait)} after its last change" if ticket_wait and not whole else ""
    return f"yes, once it has stopped changing{more}"


def _made_by(conn: Connection, route: Route, found: Gathered) -> None:
    """The job of another route that makes what lies here."""
    for path in found.files if route.fed_by else ():
        folder, slash, name = path.rpartition("/")
        maker = queries.maker_of(conn, route.fed_by, folder, name)
        if maker is not None and maker.state is State.RENDERED:
            fact("made by", f"job {maker.id} of route {maker.route}, which has not delivered all of it yet")
        elif maker is not None and maker.state is State.DELIVERED:
            fact("derived from", f"{folder}{slash}{maker.base}.json")


def tell_job(route: Route, found: Gathered) -> None:
    """The job to be, and its request."""
    from renderdrop.cli.request import Sending, tell_request  # with all that sends: only where it is told

    wishes = found.wishes[0]
    if route.kind == "app":
        version = wishes.version_id or route.version_id or "newest"
        fact("workflow", f"{wishes.workflow_id or route.workflow_id}, version {version}")
    else:
        fact(route.kind, route.workflow_id)
    params, origins = params_of(route, wishes)
    for name, value in params.items():
        parameter(name, value, origins[name])
    if len(found.wishes) > 1:
        named = ", ".join(one.label for one in found.wishes[:_MOST_NAMED])
        more = ", …" if len(found.wishes) > _MOST_NAMED else ""
        fact("matrix", f"{len(found.wishes)} jobs: {named}{more}; told here is the first")
    fact("priority", None if found.priority is None else f"{found.priority} (ticket)")
    for note in wishes.notes:
        fact("warning", note)
    if route.clusters:
        clusters = ", ".join(wishes.clusters or route.clusters)
        fact("clusters", f"{clusters} (chosen just before it is sent; this order where they are even)")
    files = [
        Sending(name, path.rpartition("/")[2], entry.size if (entry := found.files[path]) is not None else None)
        for name, path, role in found.assembly.assigned
        if role is Role.FILE
    ]
    for name, own in route.constants.items():
        fact(f"constant {name}", own.name)
        files.append(Sending(name, own.name, own.stat().st_size if own.is_file() else None))
    unread = [n for n, path, _ in found.assembly.assigned if is_link(route, path) and found.files[path] is None]
    if not found.assembly.missing:
        tell_request(route, wishes, files, unread)
    if route.kind == "model" and route.publish is None and any(file.input not in route.constants for file in files):
        line("The route has no `publish`, so it would wait: only .url files and tickets can name pictures.", "yellow")
    alone = len(found.files) == 1 and not found.assembly.missing
    what = "its folder" if route.bundle == "folder" else "its source" if alone else "its files"
    goes, stays, is_ = ("go", "stay", "are") if what == "its files" else ("goes", "stays", "is")
    fact("afterwards", {"move": f"{what} {goes} to done/", "keep": f"{what} {stays} and {is_} remembered",
                        "delete": f"{what} {is_} deleted once the results are on disk"}[route.after])  # fmt: skip
