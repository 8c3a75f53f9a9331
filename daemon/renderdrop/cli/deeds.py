"""`renderdrop retry`, `release`, `cancel`: what a person decides about jobs.

Owns the words and the conditions of each deed. Every deed is one transaction on the ledger, guarded by the state
that was read in it; the daemon, when it runs, sees the result within a second or two. None touches a file.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from renderdrop.cli.opening import Config, job_named, ledger_of, opened, require_ledger
from renderdrop.cli.paper import hint, line
from renderdrop.model.lifecycle import ENDS, OPEN, State
from renderdrop.model.names import shown

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from renderdrop.model.job import Job, Source
    from renderdrop.model.route import Route
    from renderdrop.settings import Loaded

_HELP: Final = "Ids of jobs, or their beginnings."
_TAKEN_UP: Final = "A running daemon takes this up at once; if none runs, start `renderdrop run`."
_MOVED_ON: Final = "the daemon moved it on in this very moment; look at it again with `renderdrop show`"


class _Cannot(Exception):
    """Why a deed is not done to a job; its text is the rest of a sentence that begins with the job."""


def retry(
    job: Annotated[list[str] | None, typer.Argument(help=_HELP)] = None,
    config: Config = None,
    failed: Annotated[bool, typer.Option("--failed", help="All jobs that failed.")] = False,
) -> None:
    """Run ended jobs again.

    What was rendered and paid for but not delivered is only fetched.
    """
    if bool(job) == failed:
        raise typer.BadParameter("name jobs, or write --failed for all that failed; one of the two")
    loaded = opened(config)
    _do(loaded, job or [], partial(_run_again, loaded=loaded), states=[State.FAILED] if failed else None)


def release(
    job: Annotated[list[str], typer.Argument(help=_HELP)],
    config: Config = None,
    resubmit: Annotated[bool, typer.Option("--resubmit", help="Do not ask after its task: send it once more.")] = False,
) -> None:
    """Let held jobs go on.

    Their task is asked after again; those without one are sent once more. A task that one has left behind is followed
    on, but not once the job is sent afresh.
    """
    _do(opened(config), job, partial(_let_go, resubmit=resubmit))


def cancel(job: Annotated[list[str], typer.Argument(help=_HELP)], config: Config = None) -> None:
    """End open jobs.

    The platform has no call for it: what it renders already goes on and may be billed; of two tasks, both.
    """
    _do(opened(config), job, _end)


def _run_again(conn: "Connection", job: "Job", at: str, *, loaded: "Loaded") -> str:
    from renderdrop.ledger import moves
    from renderdrop.model.job import Role

    if job.state not in ENDS:
        way = "release it" if job.state is State.HELD else "the daemon carries it on"
        raise _Cannot(f"has not ended, it is {job.state}: {way}")
    route = next((route for route in loaded.routes if route.name == job.route), None)
    fetched = job.paid and job.times.delivered is None
    for source in job.sources if not fetched else ():
        _require_source(route, source)
        # What was refused for its ticket or its partners is looked at again as a whole, before anything is sent.
        if route is not None and job.waiting_for is None and source.role is not Role.TICKET:
            _require_fit(route, source)
    if not moves.retry(conn, job.id, job.state, at):
        raise _Cannot(_MOVED_ON)
    if fetched:
        return "its render is paid for already; the result is only fetched again"
    if job.waiting_for is not None:
        return "its files are looked at again, and rendered if nothing is wrong with them any more"
    return "it is rendered again" + (", which is paid for again" if job.state is State.DELIVERED else "")


def _let_go(conn: "Connection", job: "Job", at: str, *, resubmit: bool) -> str:
    from renderdrop.ledger import moves, spares
    from renderdrop.model.job import Outcome

    if job.state is not State.HELD:
        raise _Cannot(f"is not held, it is {job.state}: there is nothing to release")
    unknown = bool(job.submissions) and job.submissions[-1].outcome is Outcome.UNKNOWN
    if job.task_id is not None and (job.paid or not resubmit):
        to, note = State.SUBMITTED, f"released: task {job.task_id} is asked after again"
        said = f"its task {job.task_id} is asked after again, nothing is paid for anew"
    else:
        to, note = State.QUEUED, "released: it is sent once more"
        twice = unknown or job.task_id is not None
        said = "it is sent once more" + (", and may be paid for twice" if twice else "")
        if job.spare is not None:
            said += f"; task {job.spare.task_id}, which it had left behind, is followed no more and may be billed too"
    if not moves.move(conn, job.id, State.HELD, to, at, note, error=None, lags_since=None):
        raise _Cannot(_MOVED_ON)
    if to is State.QUEUED:
        spares.start_afresh(conn, job.id)
    return said


def _end(conn: "Connection", job: "Job", at: str) -> str:
    from renderdrop.ledger import moves

    if job.state not in OPEN:
        raise _Cannot(f"has ended already, it is {job.state}")
    billed = ""
    if job.state is State.SUBMITTING:
        billed = "; it was being sent, and the platform has no cancel call: it may render it and bill it"
    elif job.paid:
        billed = "; its render is finished and paid for: `renderdrop retry` still fetches it"
    elif job.task_id is not None and job.state in (State.SUBMITTED, State.HELD):
        billed = f"; the platform has no cancel call: task {job.task_id} may go on and be billed"
    if job.spare is not None:
        beside = f"task {job.spare.task_id}, which it had left behind, may go on and be billed"
        billed += f", and {beside}" if billed else f"; the platform has no cancel call: {beside}"
    if not moves.cancel(conn, job.id, job.state, at, f"a person cancelled it{billed}"):
        raise _Cannot(_MOVED_ON)
    return "cancelled" + _left(conn, job) + billed


def _left(conn: "Connection", job: "Job") -> str:
    """What becomes of a cancelled job's files."""
    from renderdrop.ledger import queries
    from renderdrop.model.job import Place

    if any(source.place is not Place.INBOX for source in job.sources):
        return ""
    what, verb = ("its source", "goes") if len(job.sources) == 1 else ("its files", "go")
    others = [other for other in queries.siblings(conn, job.arrival) if other.id != job.id]
    if going_on := [other.id for other in others if other.state in OPEN]:
        return f"; {what} wait{'s' if verb == 'goes' else ''} for {', '.join(going_on)}, made of the same"
    if any(other.state is State.DELIVERED for other in others):
        return f"; {what} {verb} the way of the jobs of the same that were delivered"
    return f"; {what} {verb} to failed/ with a notice"


def _do(
    loaded: "Loaded",
    wanted: list[str],
    deed: "Callable[[Connection, Job, str], str]",
    states: list[State] | None = None,
) -> None:
    """Do a deed to the named jobs (or to all in `states`) in one transaction, and tell of each."""
    path = ledger_of(loaded)
    require_ledger(path, wanted)
    from renderdrop.ledger import engine, queries
    from renderdrop.runtime.clock import Clock

    done: list[str] = []
    refused: list[str] = []
    with engine.transaction(path) as conn:
        at = Clock().text()
        if states is None:
            found = list({job.id: job for job in (job_named(conn, name) for name in wanted)}.values())
        else:
            found = queries.listed(conn, states=states)
        for job in found:
            try:
                done.append(f"{_named(job)}: {deed(conn, job, at)}.")
            except _Cannot as why:
                refused.append(f"{_named(job)} {why}.")
    # Told only now: before the commit nothing of it is true.
    for text in done:
        line(text)
    for text in refused:
        print(shown(text), file=sys.stderr)
    if done:
        hint(_TAKEN_UP)
    if states is not None and not found:
        hint(f"No job is {' or '.join(states)}: there is nothing to do.")
    if refused:
        raise typer.Exit(1)


def _named(job: "Job") -> str:
    return f"{job.id} {job.source.path}" + (f" ({job.wishes.label})" if job.wishes.label else "")


def _require_source(route: "Route | None", source: "Source") -> None:
    """Raises _Cannot where a source is known to be gone; one that cannot be looked for is taken to be there."""
    from renderdrop.model.errors import ShareOffline
    from renderdrop.model.job import Place
    from renderdrop.share.scan import look

    name = source.path.rpartition("/")[2]
    if source.place in (Place.DELETED, Place.GONE):
        what = "was deleted after its delivery" if source.place is Place.DELETED else "is gone from the share"
        raise _Cannot(f"cannot run again: its source {name} {what}. Drop the file into the inbox instead")
    if route is None:
        return
    root = {Place.DONE: route.done, Place.FAILED: route.failed}.get(source.place, route.inbox)
    path = source.path if source.place is Place.INBOX else source.stored or source.path
    try:
        there = look(root, [path])[path] is not None
    except ShareOffline:
        return
    if not there:
        raise _Cannot(
            f"cannot run again: its source {name} is not in {source.place}/ any more. "
            "Drop the file into the inbox instead"
        )


def _require_fit(route: "Route", source: "Source") -> None:
    """Raises _Cannot for a file that the route does not take: sending it would only be refused."""
    from renderdrop.intake.refuse import refusal

    if reason := refusal(route, source.path, "file"):
        raise _Cannot(f"cannot run again: {reason.rstrip('.')}")
