"""`renderdrop show`: everything that is known of one job, and what a person can do with it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from renderdrop.cli.jobs import doing, row
from renderdrop.cli.opening import Config, job_named, ledger_of, opened, require_ledger
from renderdrop.cli.paper import as_json, fact
from renderdrop.model.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from renderdrop.model.job import Job, Step


def show(
    job: Annotated[str, typer.Argument(help="The job's id, or the beginning of it.")],
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Show everything about one job, and what can be done."""
    path = ledger_of(opened(config))
    require_ledger(path, [job])
    from renderdrop.ledger import engine, queries

    with engine.view(path) as conn:
        found = job_named(conn, job)
        steps = queries.steps(conn, found.id)
    if json:
        as_json(_whole(found, steps))
    else:
        _tell(found, steps)


def next_steps(job: "Job") -> list[str]:
    """What a person can do with a job as it stands, one sentence each."""
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
        if job.source.place in ("done", "failed"):
            back = f"moving its source from {job.source.place}/ back to inbox/"
            return [f"{again} renders it again; {back} does the same as a new job."]
        return [f"{again} renders it again, if its source is still there."]
    billed = " (the platform may go on and bill it)" if job.state in (State.SUBMITTING, State.SUBMITTED) else ""
    return [f"The daemon carries it on. {away.rstrip('.')}{billed}."]


def _whole(job: "Job", steps: "Sequence[Step]") -> dict[str, Any]:
    from renderdrop.model.sidecar import task_id

    folder = f"{job.folder}/" if job.folder else ""
    return row(job) | {
        "kind": job.kind,
        "priority": job.priority,
        "attempts": job.attempts,
        "paid": job.paid,
        "workflow_id": job.workflow_id,
        "version_id": job.version_id,
        "params": dict(job.params),
        "sources": [
            {
                "input": s.input, "path": s.path, "size": s.size, "sha256": s.sha256, "place": s.place.value,
                "stored": s.stored,
            }
            for s in job.sources
        ],
        "submissions": [
            {
                "at": s.at, "cluster": s.cluster, "task_id": task_id(s.task_id),
                "outcome": s.outcome.value if s.outcome else None, "detail": s.detail,
            }
            for s in job.submissions
        ],
        "times": _times(job),
        "history": [
            {"at": s.at, "from": s.frm.value if s.frm else None, "to": s.to.value, "note": s.note} for s in steps
        ],
        "outputs_detail": [
            {
                "file": folder + o.file if o.file is not None else None, "node_id": o.node_id, "title": o.title,
                "url": o.url, "size": o.size, "sha256": o.sha256, "media_type": o.media_type, "fetched": o.fetched,
            }
            for o in job.outputs
        ],
        "remarks": [
            {"level": r.level.value, "message": r.message, "node_id": r.node_id, "title": r.title} for r in job.remarks
        ],
    }  # fmt: skip


def _times(job: "Job") -> dict[str, str | None]:
    t = job.times
    return {
        "seen": t.seen, "queued": t.queued, "submitted": t.submitted, "started": t.started, "finished": t.finished,
        "delivered": t.delivered,
    }  # fmt: skip


def _tell(job: "Job", steps: "Sequence[Step]") -> None:
    from renderdrop.model.units import spoken_size

    fact("job", job.id)
    fact("route", f"{job.route} ({job.kind})")
    fact("state", job.state.value)
    fact("error" if job.state is State.FAILED else "note", job.error)
    fact("workflow", f"{job.workflow_id}, version {job.version_id or 'newest'}")
    fact("cluster", job.cluster)
    fact("task", job.task_id)
    fact("progress", doing(job))
    fact("node", job.node if job.state is State.SUBMITTED else None)
    for name, value in job.params.items():
        fact(f"param {name}", str(value))
    for source in job.sources:
        where = source.place.value
        if source.stored is not None and source.stored != source.path and source.place.value in ("done", "failed"):
            where += f" as {source.stored}"
        fact(f"source {source.input}", f"{source.path} ({spoken_size(source.size)}; now: {where})")
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
    for step_ahead in next_steps(job):
        fact("next", step_ahead)
