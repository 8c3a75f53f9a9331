"""`renderdrop retry`, `release`, `cancel`: what a person decides about jobs.

Owns the words and the conditions of each deed. Every deed is one transaction on the ledger, guarded by the state
that was read in it; the daemon, when it runs, sees the result within a second or two. None touches a file.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from renderdrop.cli.opening import Config, job_named, ledger_of, opened, require_ledger
from renderdrop.cli.paper import hint, line
from renderdrop.model.lifecycle import ENDS, OPEN, State
from renderdrop.model.names import shown

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from renderdrop.model.job import Job
    from renderdrop.settings import Loaded

Ids = Annotated[list[str], typer.Argument(metavar="JOB...", help="Ids of jobs, or their beginnings.")]

_TAKEN_UP = "A running daemon takes this up at once; if none runs, start `renderdrop run`."
_MOVED_ON = "the daemon moved it on in this very moment; look at it again with `renderdrop show`"


class _Cannot(Exception):
    """Why a deed is not done to a job; its text is the rest of a sentence that begins with the job."""


def retry(
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB...]", help="Ids of jobs, or their beginnings.")
    ] = None,
    config: Config = None,
    failed: Annotated[bool, typer.Option("--failed", help="All jobs that failed.")] = False,
) -> None:
    """Run ended jobs again.

    What was rendered and paid for but not delivered is only fetched."""
    if bool(jobs) == failed:
        raise typer.BadParameter("name jobs, or write --failed for all that failed, not both")
    loaded = opened(config)

    def again(conn: "Connection", job: "Job", at: str) -> str:
        from renderdrop.ledger import moves

        if job.state not in ENDS:
            way = "release it" if job.state is State.HELD else "the daemon carries it on"
            raise _Cannot(f"has not ended, it is {job.state}: {way}")
        _require_sources(loaded, job)
        if not moves.retry(conn, job.id, job.state, at):
            raise _Cannot(_MOVED_ON)
        if job.paid and job.times.delivered is None:
            return "its render is paid for already; the result is only fetched again"
        return "it is rendered again" + (", which is paid for again" if job.state is State.DELIVERED else "")

    _do(loaded, jobs or [], again, states=[State.FAILED] if failed else None)


def release(
    jobs: Ids,
    config: Config = None,
    resubmit: Annotated[bool, typer.Option("--resubmit", help="Do not ask after its task: send it once more.")] = False,
) -> None:
    """Let held jobs go on.

    Their task is asked after again; without one they are sent once more."""

    def let_go(conn: "Connection", job: "Job", at: str) -> str:
        from renderdrop.ledger import moves
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
        if not moves.move(conn, job.id, State.HELD, to, at, note, error=None):
            raise _Cannot(_MOVED_ON)
        return said

    _do(opened(config), jobs, let_go)


def cancel(jobs: Ids, config: Config = None) -> None:
    """End open jobs.

    The platform has no call for it: what it renders already goes on and may be billed."""

    def end(conn: "Connection", job: "Job", at: str) -> str:
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
        if not moves.cancel(conn, job.id, job.state, at, f"a person cancelled it{billed}"):
            raise _Cannot(_MOVED_ON)
        return f"cancelled; its source goes to failed/ with a notice{billed}"

    _do(opened(config), jobs, end)


def _do(
    loaded: "Loaded",
    wanted: list[str],
    deed: "Callable[[Connection, Job, str], str]",
    states: list[State] | None = None,
) -> None:
    """Do a deed to the named jobs (or to all in `states`) in one transaction, and tell of each."""
    path = ledger_of(loaded)
    require_ledger(path, wanted or ["that failed"])
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
                done.append(f"{job.id} {job.source.path}: {deed(conn, job, at)}.")
            except _Cannot as why:
                refused.append(f"{job.id} {job.source.path} {why}.")
    # Told only now: before the commit nothing of it is true.
    for text in done:
        line(text)
    for text in refused:
        print(shown(text), file=sys.stderr)
    if done:
        hint(_TAKEN_UP)
    elif states is not None and not refused:
        line("No job has failed.")
    if refused:
        raise typer.Exit(1)


def _require_sources(loaded: "Loaded", job: "Job") -> None:
    """Raises _Cannot where a source is known to be gone; one that cannot be looked for is taken to be there."""
    from renderdrop.model.errors import ShareOffline
    from renderdrop.model.job import Place
    from renderdrop.share.scan import look

    route = next((r for r in loaded.routes if r.name == job.route), None)
    for source in job.sources:
        if source.place in (Place.DELETED, Place.GONE):
            what = "was deleted after its delivery" if source.place is Place.DELETED else "is gone from the share"
            raise _Cannot(f"cannot run again: its source {what}. Drop the file into the inbox instead")
        if route is None:
            continue
        roots: dict[Place, Path] = {Place.INBOX: route.inbox, Place.DONE: route.done, Place.FAILED: route.failed}
        path = source.path if source.place is Place.INBOX else source.stored or source.path
        try:
            there = look(roots[source.place], [path])[path] is not None
        except ShareOffline:
            continue
        if not there:
            raise _Cannot(
                f"cannot run again: its source is not in {source.place}/ any more. Drop the file into the inbox instead"
            )
