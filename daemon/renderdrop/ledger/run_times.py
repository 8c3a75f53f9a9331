"""The run times that the ledger knows, for a start that is not without experience. Reads only, in one query."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from renderdrop.ledger.schema import jobs
from renderdrop.model.lifecycle import State

_LATEST: Final = 1_000
"""Jobs that are asked about: a few dozen of each workflow are plenty."""


class Ran(NamedTuple):
    """A task that succeeded, and the seconds between the looks that found it begun and done."""

    workflow: str
    cluster: str
    seconds: float


def run_times(conn: Connection) -> list[Ran]:
    """Those of the latest tasks that succeeded, the oldest first. One that was never seen at work tells nothing."""
    query = (
        select(jobs.c.workflow_id, jobs.c.cluster, jobs.c.started_at, jobs.c.finished_at)
        .where(jobs.c.state.in_([State.RENDERED, State.DELIVERED]), jobs.c.paid.is_(True))
        .where(jobs.c.started_at.is_not(None), jobs.c.finished_at > jobs.c.started_at)
        .order_by(jobs.c.id.desc())
        .limit(_LATEST)
    )
    found = [
        Ran(r.workflow_id, r.cluster or "", (_time(r.finished_at) - _time(r.started_at)).total_seconds())
        for r in conn.execute(query)
    ]
    return found[::-1]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
