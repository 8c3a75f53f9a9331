"""The task that a job has left behind for a second one: how it is left, taken back, and what becomes of it.

Owns the one rule of money: a job has a second task at most once in its life (until a person's `retry` or `release
--resubmit`). The first is left behind in the very commit that states the intent to send the second one, and never while
some submission of it has lost its answer. From then on two tasks may be paid for, and both are followed: whichever
succeeds first gives the result. Where the second comes to nothing the job takes the first back instead of ending or
waiting for a person.

Nothing here touches the network. Every deed is guarded by what the caller believes, and runs in the caller's
transaction; every move goes the ways of `model/lifecycle`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from renderdrop.ledger.moves import end_submission, forget_leaving, move, set_results
from renderdrop.ledger.queries import Following
from renderdrop.ledger.rows import with_all
from renderdrop.ledger.schema import history, jobs, spares, submissions
from renderdrop.model.job import Job, Outcome, Output, Remark
from renderdrop.model.lifecycle import State

_KEPT: Final = ("task_id", "cluster", "workflow_id", "version_id", "params", "submitted_at", "sent")
"""Columns of a job that are about its task, and that the second one overwrites."""
_BACK: Final[Mapping[State, tuple[State, ...]]] = {
    State.QUEUED: (State.SUBMITTING, State.SUBMITTED),
    State.SUBMITTING: (State.SUBMITTED,),
    State.SUBMITTED: (State.QUEUED, State.SUBMITTING, State.SUBMITTED),
    State.HELD: (State.SUBMITTED,),
}
"""The way back to being with the platform, as a job goes that is asked after again."""


def left_behind(conn: Connection) -> list[Following]:
    """All of them, to be followed: few at any time."""
    # From the few to their jobs, not from all that there ever were.
    of_job = (select(c).where(jobs.c.id == spares.c.job_id).scalar_subquery() for c in (jobs.c.route, jobs.c.kind))
    route, kind = (column.label(name) for column, name in zip(of_job, ("route", "kind"), strict=True))
    query = select(spares, route, kind).order_by(spares.c.id)
    return [
        Following(
            r.job_id, r.route, r.kind, r.task_id, "pending" if r.started_at is None else "running", None, None,
            r.kept["workflow_id"], r.cluster, r.kept["submitted_at"], r.started_at, None, left=True,
        )
        for r in conn.execute(query)
    ]  # fmt: skip


def state_beside(conn: Connection, job_id: str, task_id: str) -> State | None:
    """Where the job stands that has left this task behind; None: it is not left behind any more."""
    query = select(jobs.c.state).join(spares, spares.c.job_id == jobs.c.id)
    found = conn.execute(query.where(jobs.c.id == job_id, spares.c.task_id == task_id)).scalar()
    return None if found is None else State(found)


def leave(conn: Connection, job_id: str, task_id: str, at: str, note: str) -> bool:
    """submitted → queued: the task lags, and a second one is about to be sent. False, and nothing is changed: it is not
    the job's any more, does not lag, or the job may not have another one."""
    lags = (jobs.c.lags_since.is_not(None), jobs.c.status == "pending", jobs.c.cluster != "")
    job = conn.execute(
        select(jobs).where(
            jobs.c.id == job_id, jobs.c.state == State.SUBMITTED, jobs.c.task_id == task_id, *lags,
            jobs.c.rescued.is_(False), jobs.c.paid.is_(False),
        )
    ).first()  # fmt: skip
    tries = conn.execute(select(submissions).where(submissions.c.job_id == job_id).order_by(submissions.c.id)).all()
    its_own = [one.id for one in tries if one.task_id == task_id and one.outcome == Outcome.ACCEPTED]
    if job is None or not its_own or any(one.outcome == Outcome.UNKNOWN for one in tries):
        return False
    kept = {column: job._mapping[column] for column in _KEPT}
    spare = {"job_id": job_id, "submission": its_own[-1], "task_id": task_id, "cluster": job.cluster, "at": at}
    conn.execute(insert(spares).values(**spare, kept=kept))
    conn.execute(update(submissions).where(submissions.c.id == its_own[-1]).values(left_at=at, detail=note))
    return move(
        conn, job_id, State.SUBMITTED, State.QUEUED, at, note, error=note, rescued=True, lags_since=None, status=None,
        progress=None, node=None,
    )  # fmt: skip


def take_back(
    conn: Connection, job_id: str, frm: State, at: str, note: str, *, of_task: str | None = None, **changes: Any
) -> bool:  # fmt: skip
    """The job goes on with the task that it had left behind, from wherever it is. False: it has none, or is not in
    `frm`, or with another task than `of_task`. `changes` are further columns of `jobs`."""
    spare = _spare(conn, job_id)
    if spare is None or not _goes_back(conn, job_id, frm, at, note, of_task, error=note, **_task(spare), **changes):
        return False
    conn.execute(delete(spares).where(spares.c.job_id == job_id))
    later = (submissions.c.job_id == job_id, submissions.c.id > spare.submission)
    begun = select(submissions.c.id).where(*later, submissions.c.outcome.in_([Outcome.ACCEPTED, Outcome.UNKNOWN]))
    if conn.execute(begun).first() is None:
        # No second task has come of it: nothing is to be told of one, and the job may have one yet.
        conn.execute(update(jobs).where(jobs.c.id == job_id).values(rescued=False))
        its_own = update(submissions).where(submissions.c.id == spare.submission)
        conn.execute(its_own.values(left_at=None, detail=note))
    return True


def close(
    conn: Connection, job_id: str, submission: int | None, at: str, outcome: Outcome, to: State, note: str, *,
    fact: str = "", burnt: Mapping[str, Any] | None = None,
) -> State:  # fmt: skip
    """End a submission that gave no task, and move its job on; returns where it goes. One that has left a task behind
    takes that back rather than end, wait for a person, or be sent a third time for a lost answer. `fact`: what
    happened, where `note` also says what else would follow from it; `burnt`: further columns of `jobs`."""
    if submission is not None:
        end_submission(conn, submission, at, outcome, note)
    changes, fact = burnt or {}, fact or note
    if outcome is Outcome.UNKNOWN or to is not State.QUEUED:
        back = f"{fact}; the job goes on with the task that it had left behind"
        if take_back(conn, job_id, State.SUBMITTING, at, back, **changes):
            if submission is not None:
                end_submission(conn, submission, at, outcome, fact)
            return State.SUBMITTED
    move(conn, job_id, State.SUBMITTING, to, at, note, error=note, **changes)
    return to


def not_sent(conn: Connection) -> list[Job]:
    """Queued jobs that have left a task behind, and for which no second one was sent yet."""
    query = select(jobs).join(spares, spares.c.job_id == jobs.c.id).where(jobs.c.state == State.QUEUED)
    return with_all(conn, conn.execute(query).all())


def begin(conn: Connection, job_id: str, task_id: str, at: str) -> bool:
    """The task that was left behind was seen at work."""
    one = update(spares).where(spares.c.job_id == job_id, spares.c.task_id == task_id, spares.c.started_at.is_(None))
    return conn.execute(one.values(started_at=at)).rowcount == 1


def has_begun(conn: Connection, job_id: str) -> bool:
    """Whether the job has left a task behind that was seen at work since."""
    spare = _spare(conn, job_id)
    return spare is not None and spare.started_at is not None


def win(
    conn: Connection, job_id: str, task_id: str, at: str, note: str, results: Sequence[Output],
    remarks: Sequence[Remark], progress: float | None,
) -> bool:  # fmt: skip
    """The task that was left behind has succeeded first: its results are the job's. Only while the second is with the
    platform, or held; else False, and nothing is changed."""
    spare = _spare(conn, job_id)
    if spare is None or spare.task_id != task_id:
        return False
    came = _task(spare) | {
        "started_at": spare.started_at or at, "status": "success", "progress": progress, "paid": True, "node": None,
        "error": None, "finished_at": at,
    }  # fmt: skip
    if state_beside(conn, job_id, task_id) is State.HELD:
        _goes_back(conn, job_id, State.HELD, at, note)
    if not move(conn, job_id, State.SUBMITTED, State.RENDERED, at, note, **came):
        return False
    set_results(conn, job_id, results, remarks)
    return True


def lose(conn: Connection, job_id: str, task_id: str, at: str, note: str) -> bool:
    """The task that was left behind has come to nothing: it is forgotten, and the job goes on as it is. False: it was
    not left behind any more."""
    spare = _spare(conn, job_id)
    if spare is None or spare.task_id != task_id:
        return False
    conn.execute(delete(spares).where(spares.c.job_id == job_id))
    conn.execute(update(submissions).where(submissions.c.id == spare.submission).values(detail=note))
    # No move: the row says where the job stands while this is told.
    state = conn.execute(select(jobs.c.state).where(jobs.c.id == job_id)).scalar_one()
    conn.execute(insert(history).values(job_id=job_id, at=at, from_state=state, to_state=state, note=note))
    return True


def start_afresh(conn: Connection, job_id: str) -> None:
    """A person has the job sent as if it were new: what was left behind is forgotten, and it may be done once more."""
    conn.execute(delete(spares).where(spares.c.job_id == job_id))
    conn.execute(update(jobs).where(jobs.c.id == job_id).values(rescued=False))
    forget_leaving(conn, job_id)


def _spare(conn: Connection, job_id: str) -> Row[Any] | None:
    return conn.execute(select(spares).where(spares.c.job_id == job_id)).first()


def _task(spare: Row[Any]) -> dict[str, Any]:
    """What the job's columns said of the task before it was left behind, with what was seen of it since."""
    status = "pending" if spare.started_at is None else "running"
    return {
        **spare.kept, "status": status, "started_at": spare.started_at, "progress": None, "node": None,
        "finished_at": None, "lags_since": None,
    }  # fmt: skip


def _goes_back(
    conn: Connection, job_id: str, frm: State, at: str, note: str, of_task: str | None = None, **changes: Any
) -> bool:  # fmt: skip
    """Along the way to `submitted`, with `changes` at its end; False where the job is not in `frm`."""
    steps = _BACK[frm]
    for here, to in zip((frm, *steps), steps, strict=False):
        last = changes if to is State.SUBMITTED else {}
        if not move(conn, job_id, here, to, at, note, of_task=of_task, **last):
            return False
    return True
