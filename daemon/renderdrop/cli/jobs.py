"""`renderdrop jobs`: what there is to do, is being done and was done.

Owns the row that scripts read (DESIGN 6) and the table that people read. Looks at the ledger once, changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from renderdrop.cli.opening import Config, has_ledger, ledger_of, no_ledger, opened
from renderdrop.cli.paper import as_json, hint, line, on_terminal, rows, shortened
from renderdrop.model.lifecycle import State

if TYPE_CHECKING:
    from renderdrop.ledger.queries import Trouble
    from renderdrop.model.job import Job

_ON_A_SCREEN = 50
_NOTE_LENGTH = 90


def jobs(
    config: Config = None,
    state: Annotated[list[State] | None, typer.Option(help="Only jobs in this state; may be repeated.")] = None,
    route: Annotated[str | None, typer.Option(metavar="ROUTE", help="Only jobs of this route.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help=f"The newest N; 0 = all (default: {_ON_A_SCREEN} on a terminal, else all)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """List jobs, the newest first."""
    loaded = opened(config)
    if route is not None and route not in loaded.settings.routes:
        known = ", ".join(loaded.settings.routes) or "none"
        raise typer.BadParameter(f"there is no route {route}; the settings have: {known}", param_hint="--route")
    path = ledger_of(loaded)
    if not has_ledger(path):
        hint(no_ledger(path))
        if json:
            as_json([])
        return
    from renderdrop.ledger import engine, queries

    most = limit if limit is not None else _ON_A_SCREEN if on_terminal() and not json else 0
    with engine.view(path) as conn:
        found = queries.listed(conn, states=state or (), route=route, limit=most + 1 if most else None)
        troubles = queries.present_troubles(conn)
    listed = found[:most] if most else found
    if json:
        as_json([row(job) for job in listed])
        return
    tell_troubles(troubles)
    _table(listed)
    if len(found) > len(listed):
        hint("… and more; `--limit 0` shows all, `--state` and `--route` narrow them down.")


def row(job: "Job") -> dict[str, Any]:
    """A job as scripts see it; the keys are a contract."""
    from renderdrop.model.sidecar import task_id

    return {
        "id": job.id,
        "route": job.route,
        "state": job.state.value,
        "source": job.source.path,
        "sources": [source.path for source in job.inputs],
        "cluster": job.cluster,
        "task_id": task_id(job.task_id),
        "status": job.status,
        "progress": job.progress,
        "error": waiting(job) or job.error,
        "outputs": named_outputs(job),
        "created": job.created,
        "updated": job.updated,
    }


def named_outputs(job: "Job") -> list[str]:
    """The paths below the outbox of the outputs that have their names."""
    folder = f"{job.folder}/" if job.folder else ""
    return [folder + output.file for output in job.outputs if output.file is not None]


def waiting(job: "Job") -> str | None:
    """What a job waits for: "waiting for input_video"; None for one that waits for nothing of its own."""
    if job.state is not State.QUEUED or job.waiting_for is None:
        return None
    return f"waiting for {job.waiting_for}"


def doing(job: "Job") -> str | None:
    """How far the platform is with it, for people."""
    if job.state is not State.SUBMITTED:
        return None
    percent = f"{job.progress:.0f} %" if job.progress is not None else ""
    return " ".join(part for part in (job.status or "sent", percent) if part)


def tell_troubles(troubles: "Sequence[Trouble]") -> None:
    """What makes work wait now, one sentence each; beside the rows where these are piped."""
    for trouble in troubles:
        who = {"daemon": "The daemon", "platform": "The platform"}.get(trouble.reach, f"Route {trouble.subject}")
        text = f"{who} waits since {trouble.since}: {trouble.sentence}"
        if on_terminal():
            line(text, "yellow")
        else:
            hint(text)


def _table(listed: "Sequence[Job]") -> None:
    from renderdrop.model.units import spoken
    from renderdrop.runtime.clock import Clock

    now = Clock().now()

    def when(job: "Job") -> str:
        if not on_terminal():
            return job.created
        return spoken(max(0.0, (now - datetime.fromisoformat(job.created)).total_seconds()))

    columns = ("id", "route", "state", "source", "cluster", "progress", "age", "note")
    rows(
        columns,
        ((j.id, j.route, j.state.value, j.source.path, j.cluster, doing(j), when(j), _note(j)) for j in listed),
        wrapped=(3, 7),
    )


def _note(job: "Job") -> str | None:
    if job.state is State.DELIVERED and job.error is None:
        return ", ".join(named_outputs(job))
    return shortened(waiting(job) or job.error or "", _NOTE_LENGTH)
