"""`renderdrop jobs`: what there is to do, is being done and was done.

Owns the row that scripts read (DESIGN 6) and the table that people read. Looks at the ledger once, changes nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from renderdrop.cli.finish import finish
from renderdrop.cli.opening import Config, has_ledger, ledger_of, no_ledger, opened
from renderdrop.cli.paper import as_json, hint, line, on_terminal, rows, shortened
from renderdrop.cli.waits import Moment, paused_by_hand, tell_pauses
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
        moment = Moment(conn, loaded)
        troubles, paused = moment.troubles, paused_by_hand(conn)
        listed = found[:most] if most else found
        why = {job.id: moment.waits(job) for job in listed}
        done = "" if json or route is not None or state else finish(moment)
    if json:
        as_json([row(job, why[job.id]) for job in listed])
        return
    tell_troubles(troubles)
    tell_pauses({name: since for name, since in paused.items() if route in (None, name)})
    _table(listed, why)
    if done:
        hint(f"All routes: {done}.")
    if len(found) > len(listed):
        hint("… and more; `--limit 0` shows all, `--state` and `--route` narrow them down.")


def row(job: "Job", why: str | None) -> dict[str, Any]:
    """A job as scripts see it; the keys are a contract. `why`: what it waits for, if it does."""
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
        "error": why or job.error,
        "outputs": named_outputs(job),
        "created": job.created,
        "updated": job.updated,
    }


def named_outputs(job: "Job") -> list[str]:
    """The paths below the outbox of the outputs that have their names."""
    folder = f"{job.folder}/" if job.folder else ""
    return [folder + output.file for output in job.outputs if output.file is not None]


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


def _table(listed: "Sequence[Job]", why: "Mapping[str, str | None]") -> None:
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
        (
            (j.id, j.route, j.state.value, j.source.path, j.cluster, doing(j), when(j), _note(j, why[j.id]))
            for j in listed
        ),
        wrapped=(3, 7),
    )


def _note(job: "Job", why: str | None) -> str | None:
    if job.state is State.DELIVERED and job.error is None:
        return ", ".join(named_outputs(job))
    return shortened(why or job.error or "", _NOTE_LENGTH)
