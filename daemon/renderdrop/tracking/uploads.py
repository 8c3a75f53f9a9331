"""Tasks of graphs that failed only because the platform had forgotten an upload of an earlier job.

Owns that question and the one commit by which such a job goes back to the queue, to have its files uploaded anew. Once
only since a person last sent it, for each task may cost; and not while the job has another task that lives.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from renderdrop.ledger import moves, queries
from renderdrop.model.experience import UPLOADED_AGAIN
from renderdrop.model.job import Step
from renderdrop.model.lifecycle import ENDS, State
from renderdrop.platform.graphs import names_missing_input
from renderdrop.platform.reports import Report
from renderdrop.tracking.outcome import failure


def forgotten(conn: Connection, job_id: str, report: Report) -> tuple[str, ...]:
    """The uploads for the lack of which its task failed; none where it failed for something else, or must not be sent
    again for that."""
    job = queries.job(conn, job_id)
    if job is None or job.spare is not None or not job.sent.remembered:
        return ()
    lost = names_missing_input(failure(report), job.sent.uploads)
    return job.sent.uploads if lost and not _were_uploaded_again(queries.steps(conn, job_id)) else ()


def why_again(report: Report) -> str:
    """For people; and by its end `forgotten` knows that it was done."""
    return f"{failure(report)}; the platform has forgotten an earlier upload, {UPLOADED_AGAIN}"


def upload_again(conn: Connection, job_id: str, task: str, at: str, reason: str, lost: Sequence[str]) -> bool:
    """submitted → queued; the lost uploads are not used again. `reason`: as `why_again` has it."""
    moves.forget_uploads(conn, lost)
    return moves.move(
        conn, job_id, State.SUBMITTED, State.QUEUED, at, reason, of_task=task, error=reason, status=None,
        progress=None, node=None,
    )  # fmt: skip


def _were_uploaded_again(steps: Sequence[Step]) -> bool:
    """Whether that was done for a job since a person last sent it: what fails again is not the upload's fault. A task
    that is left behind or taken back goes by way of the queue too, and says nothing of uploads."""
    for step in reversed(steps):
        if (step.frm, step.to) == (State.SUBMITTED, State.QUEUED) and step.note.endswith(UPLOADED_AGAIN):
            return True
        if step.frm in ENDS or step.frm is State.HELD:
            return False
    return False
