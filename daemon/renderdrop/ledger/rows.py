"""Rows of the ledger as the values of `model`: a job with everything that hangs on it.

Owns the translation alone. Plain functions of a connection; none of them writes.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from renderdrop.ledger.schema import outputs, remarks, sources, spares, submissions
from renderdrop.model.job import (
    Constant,
    Job,
    Level,
    Outcome,
    Output,
    Place,
    Remark,
    Role,
    Sent,
    Source,
    Spare,
    Submission,
    Times,
)
from renderdrop.model.lifecycle import State
from renderdrop.model.wishes import Pin, Wishes

_CHUNK: Final = 500
"""Ids in one IN list: SQLite allows 32,766 variables, small lists plan better."""


def with_all(conn: Connection, rows: Sequence[Row[Any]]) -> list[Job]:
    """Jobs out of rows of `jobs`, in their order, with what hangs on them in five queries a chunk."""
    ids = [row.id for row in rows]
    by_job: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for table, make in (
        (sources, _source), (outputs, _output), (remarks, _remark), (submissions, _submission), (spares, _spare),
    ):  # fmt: skip
        for chunk in chunks(ids):
            query = select(table).where(table.c.job_id.in_(chunk)).order_by(table.c.id)
            for row in conn.execute(query):
                by_job[row.job_id][table.name].append(make(row))
    return [_job(row, by_job[row.id]) for row in rows]


def chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    """A long list in pieces that fit an IN."""
    return (ids[i : i + _CHUNK] for i in range(0, len(ids), _CHUNK))


def pin_of(text: str) -> Pin:
    """What the ledger calls `schema.PIN`."""
    workflow, clusters = json.loads(text) if text else (None, None)
    return Pin(workflow, tuple(clusters or ()))


def _job(r: Row[Any], parts: dict[str, list[Any]]) -> Job:
    return Job(
        id=r.id, route=r.route, kind=r.kind, state=State(r.state), priority=r.priority, attempts=r.attempts,
        workflow_id=r.workflow_id, version_id=r.version_id, params=r.params, cluster=r.cluster, task_id=r.task_id,
        paid=r.paid, status=r.status, progress=r.progress, node=r.node, error=r.error, base=r.base,
        created=r.created, updated=r.updated,
        times=Times(r.seen_at, r.queued_at, r.submitted_at, r.started_at, r.finished_at, r.delivered_at),
        arrival=r.arrival, wishes=Wishes.of_json(r.wishes), sent=_sent(r.sent), bundle=r.bundle,
        waiting_for=r.waiting_for, derived_from=r.derived_from, duplicate_of=r.duplicate_of,
        sources=tuple(parts["sources"]), outputs=tuple(sorted(parts["outputs"], key=lambda o: o.position)),
        remarks=tuple(parts["remarks"]), submissions=tuple(parts["submissions"]),
        spare=next(iter(parts["spares"]), None),
    )  # fmt: skip


def _source(r: Row[Any]) -> Source:
    return Source(
        r.input, r.path, r.size, r.mtime_ns, r.sha256, Place(r.place), r.stored, r.filed, Role(r.role), r.told
    )


def _sent(found: dict[str, Any]) -> Sent:
    constants = tuple(Constant(**c) for c in found.get("constants", ()))
    uploaded = tuple(found.get("uploads", ()))
    return Sent(found.get("graph_sha256"), constants, uploaded, found.get("remembered", False))


def _output(r: Row[Any]) -> Output:
    return Output(r.position, r.node_id, r.title, r.url, r.file, r.size, r.sha256, r.media_type, r.fetched)


def _remark(r: Row[Any]) -> Remark:
    return Remark(Level(r.level), r.message, r.node_id, r.title)


def _submission(r: Row[Any]) -> Submission:
    outcome = Outcome(r.outcome) if r.outcome else None
    return Submission(r.id, r.at, r.cluster, r.task_id, outcome, r.detail, r.complete, r.left_at)


def _spare(r: Row[Any]) -> Spare:
    return Spare(r.task_id, r.cluster, r.at)
