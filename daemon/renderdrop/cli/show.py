"""`renderdrop show`: everything that is known of one job, and what a person can do with it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from renderdrop.cli.jobs import doing, row
from renderdrop.cli.opening import Config, job_named, ledger_of, opened, require_ledger
from renderdrop.cli.paper import as_json, fact, parameter
from renderdrop.cli.waits import Moment, paused_by_hand
from renderdrop.model.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from renderdrop.model.job import Job, Source, Step


def show(
    job: Annotated[str, typer.Argument(help="The job's id, or the beginning of it.")],
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Show everything about one job, and what can be done."""
    loaded = opened(config)
    path = ledger_of(loaded)
    require_ledger(path, [job])
    from renderdrop.ledger import engine, queries

    with engine.view(path) as conn:
        found = job_named(conn, job)
        steps = queries.steps(conn, found.id)
        others = [other.id for other in queries.siblings(conn, found.arrival) if other.id != found.id]
        why = Moment(conn, loaded).waits(found)
        paused = found.route in paused_by_hand(conn)
    if json:
        as_json(_whole(found, steps, others, why))
    else:
        _tell(found, steps, others, why)
        for step in next_steps(found, paused=paused):
            fact("next", step)


def next_steps(job: "Job", *, paused: bool = False) -> list[str]:
    """What a person can do with a job as it stands, one sentence each. `paused`: its route is, by hand."""
    again = f"`renderdrop retry {job.id}`"
    away = f"`renderdrop cancel {job.id}` ends it."
    if job.state is State.HELD:
        if job.task_id is not None:
            paid = "its result is fetched without paying again" if job.paid else "its task is asked after again"
            steps = [f"`renderdrop release {job.id}`: {paid}."]
            return (
                steps if job.paid else [*steps, f"`renderdrop release {job.id} --resubmit` pays for a new one.", away]
            )
        return [f"`renderdrop release {job.id}` sends it again, which may be paid for twice.", away]
    if job.state is State.DELIVERED:
        return [f"Nothing is left to do; {again} renders it anew, which is paid for again."]
    if job.state in (State.FAILED, State.CANCELLED):
        if job.paid:
            return [f"{again} fetches the result, which is paid for already."]
        does = "renders it again" if job.waiting_for is None else "brings its files back, to be looked at again"
        what = "its source" if len(job.sources) == 1 else "its files"
        if job.source.place in ("done", "failed"):
            back = f"moving {what} from {job.source.place}/ back to inbox/"
            return [f"{again} {does}; {back} does the same as a new job."]
        return [f"{again} {does}, if {what} {'is' if len(job.sources) == 1 else 'are'} still there."]
    if job.waiting_for is not None and job.state is State.QUEUED:
        return [f"Once that is there it goes on by itself. {away}"]
    if paused and job.state is State.QUEUED and not job.paid:
        return [f"`renderdrop resume {job.route}` lets its route go on. {away}"]
    sent = job.state in (State.SUBMITTING, State.SUBMITTED) or job.spare is not None
    billed = " (the platform may go on and bill it)" if sent else ""
    return [f"The daemon carries it on. {away.rstrip('.')}{billed}."]


def _whole(job: "Job", steps: "Sequence[Step]", others: "Sequence[str]", why: str | None) -> dict[str, Any]:
    from renderdrop.model.sidecar import short, task_id

    folder = f"{job.folder}/" if job.folder else ""
    return row(job, why) | {
        "kind": job.kind,
        "priority": job.priority,
        "attempts": job.attempts,
        "paid": job.paid,
        "workflow_id": job.workflow_id,
        "version_id": job.version_id,
        "params": dict(job.params),
        "params_from": _origins(job),
        "bundle": job.bundle,
        "waiting_for": job.waiting_for if job.state is State.QUEUED else None,
        "label": job.wishes.label or None,
        "same_files": list(others),
        "duplicate_of": job.duplicate_of,
        "derived_from": job.derived_from,
        "graph_sha256": job.sent.graph_sha256,
        "constants": [
            {"input": c.input, "name": c.name, "size": c.size, "sha256": c.sha256} for c in job.sent.constants
        ],
        "notes": list(job.wishes.notes),
        "sources": [
            {
                "input": s.input, "path": s.path, "size": s.size, "sha256": s.sha256, "place": s.place.value,
                "stored": s.stored, "role": s.role.value,
            }
            for s in job.inputs
        ],
        "tickets": [{"path": t.path, "size": t.size, "place": t.place.value, "stored": t.stored} for t in job.tickets],
        "submissions": [
            {
                "at": s.at, "cluster": s.cluster, "task_id": task_id(s.task_id),
                "outcome": s.outcome.value if s.outcome else None, "detail": s.detail,
            }
            for s in job.submissions
        ],
        "left_behind": _left_behind(job),
        "times": _times(job),
        "history": [
            {"at": s.at, "from": s.frm.value if s.frm else None, "to": s.to.value, "note": s.note} for s in steps
        ],
        "outputs_detail": [
            {
                "file": folder + o.file if o.file is not None else None, "node_id": o.node_id, "title": o.title,
                "url": short(o.url), "size": o.size, "sha256": o.sha256, "media_type": o.media_type,
                "fetched": o.fetched,
            }
            for o in job.outputs
        ],
        "remarks": [
            {"level": r.level.value, "message": r.message, "node_id": r.node_id, "title": r.title} for r in job.remarks
        ],
    }  # fmt: skip


def _left_behind(job: "Job") -> dict[str, Any] | None:
    """The task that it has left behind for a second one, while that is still followed."""
    from renderdrop.model.sidecar import task_id

    spare = job.spare
    return None if spare is None else {"at": spare.at, "cluster": spare.cluster, "task_id": task_id(spare.task_id)}


def _times(job: "Job") -> dict[str, str | None]:
    t = job.times
    return {
        "seen": t.seen, "queued": t.queued, "submitted": t.submitted, "started": t.started, "finished": t.finished,
        "delivered": t.delivered,
    }  # fmt: skip


def _origins(job: "Job") -> dict[str, str]:
    from renderdrop.model.wishes import ROUTE

    return {name: job.wishes.origins.get(name, ROUTE) for name in job.params}


def _tell(job: "Job", steps: "Sequence[Step]", others: "Sequence[str]", why: str | None) -> None:
    from renderdrop.model.units import spoken_size

    fact("job", job.id)
    fact("route", f"{job.route} ({job.kind})")
    fact("state", job.state.value)
    fact("error" if job.state is State.FAILED else "note", why or job.error)
    if job.kind == "app":
        fact("workflow", f"{job.workflow_id}, version {job.version_id or 'newest'}")
    else:
        fact(job.kind, job.workflow_id)
    fact("graph sha256", job.sent.graph_sha256)
    fact("bundle", job.bundle)
    fact("combination", job.wishes.label)
    fact("same files", ", ".join(others))
    fact("derived from", job.derived_from)
    fact("duplicate of", job.duplicate_of)
    fact("cluster", job.cluster)
    fact("task", job.task_id)
    if (spare := job.spare) is not None:
        fact("left behind", f"task {spare.task_id} on {spare.cluster}, since {spare.at}; it is still followed")
    fact("progress", doing(job))
    fact("node", job.node if job.state is State.SUBMITTED else None)
    for name, origin in _origins(job).items():
        parameter(name, job.params[name], origin)
    for source in job.inputs:
        sent = "" if source.role.value == "file" else "; its content is the parameter"
        fact(f"source {source.input}".rstrip(), f"{source.path} ({spoken_size(source.size)}; {_now(source)}{sent})")
    for ticket in job.tickets:
        fact("ticket", f"{ticket.path} ({spoken_size(ticket.size)}; {_now(ticket)})")
    for constant in job.sent.constants:
        fact(f"constant {constant.input}", f"{constant.name} ({spoken_size(constant.size)})")
    for note in job.wishes.notes:
        fact("warning", note)
    folder = f"{job.folder}/" if job.folder else ""
    for output in job.outputs:
        size = f"{spoken_size(output.size)}, " if output.size is not None else ""
        name = folder + output.file if output.file is not None else "not named yet"
        fact("output", f"{name} ({size}node {output.node_id} {output.title})")
    for remark in job.remarks:
        fact(remark.level.value, f"{remark.message} (node {remark.node_id} {remark.title})")
    for try_ in job.submissions:
        outcome = try_.outcome.value if try_.outcome else "no answer yet"
        parts = (f"task {try_.task_id}" if try_.task_id else "", try_.detail)
        fact(f"submission {try_.at}", "; ".join(p for p in (f"{try_.cluster}: {outcome}", *parts) if p))
    for name, at in _times(job).items():
        fact(f"time {name}", at)
    for step in steps:
        way = f"{step.frm.value} → {step.to.value}" if step.frm else step.to.value
        fact(f"history {step.at}", f"{way}: {step.note}" if step.note else way)


def _now(source: "Source") -> str:
    """Where a file is, for people: "now: done as a-2.png"."""
    moved = source.stored not in (None, source.path) and source.place.value in ("done", "failed")
    return f"now: {source.place.value}" + (f" as {source.stored}" if moved else "")
