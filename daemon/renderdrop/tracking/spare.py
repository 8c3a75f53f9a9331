"""What is heard of tasks that were left behind for a second one (`rescue`).

Owns the race between the two, as far as the first one is concerned. Until the second is really being sent, the job
takes its task back as soon as that says anything but "pending", or once it has said that for another `silence` in which
no second one could be sent: then nothing is paid for twice. Once both are with the platform, the first wins if it
succeeds while the second has not, and is forgotten if it comes to nothing. What a second one that comes to nothing
means is in `track`.
"""

from enum import Enum, auto

import structlog

from renderdrop.ledger import spares
from renderdrop.ledger.store import Ledger
from renderdrop.model.lifecycle import State
from renderdrop.model.units import spoken
from renderdrop.platform.reports import Report
from renderdrop.runtime.clock import Clock
from renderdrop.tracking.outcome import failure, no_media
from renderdrop.tracking.watched import Watched

log = structlog.get_logger()


class Then(Enum):
    """What becomes of the following of a task that was left behind."""

    GOES_ON = auto()
    OVER = auto()
    WON = auto()
    """Its results are the job's."""


class SpareTasks:
    """All tasks that were left behind."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def heard(self, watched: Watched, report: Report) -> Then:
        """A look was answered."""
        job, task = watched.job_id, watched.task_id
        state = await self._ledger.read(lambda c: spares.state_beside(c, job, task))
        if state is None:
            return Then.OVER
        if report.status == "pending":
            return Then.GOES_ON
        if state is State.QUEUED:
            return await self._goes_on(watched)
        if state is State.SUBMITTING or report.status == "running":
            at = self._clock.text()
            if watched.status == "pending":
                # Looked at before the last byte of the second one leaves. Where that has left, what comes of it first.
                await self._ledger.write(lambda c: spares.begin(c, job, task, at), point="progress")
            watched.status, watched.progress = "running", report.progress
            return Then.GOES_ON
        if report.status == "success" and report.outputs:
            return await self._wins(watched, report)
        await self.lost(watched, failure(report) if report.status == "fail" else no_media(report))
        return Then.OVER

    async def lost(self, watched: Watched, reason: str) -> None:
        """It has come to nothing."""
        at = self._clock.text()
        note = f"task {watched.task_id}, which was left behind on {watched.cluster}, came to nothing: {reason}"
        if await self._ledger.write(
            lambda c: spares.lose(c, watched.job_id, watched.task_id, at, note), point="spare_lost"
        ):
            log.warning("spare_task_lost", job=watched.job_id, route=watched.route, task=watched.task_id, reason=reason)

    async def silent(self, watched: Watched, heard: float, silence: float) -> bool:
        """Whether it was pending for so long (by `Watched.changed_at`) while no second one could be sent, and its job
        waits for it again: like any other job for its task, and not for ever."""
        job, task = watched.job_id, watched.task_id
        if await self._ledger.read(lambda c: spares.state_beside(c, job, task)) is not State.QUEUED:
            watched.changed_at = heard  # a second one is being sent, or followed
        if heard - watched.changed_at < silence:
            return False
        return await self._taken_back(
            watched,
            f"task {task} on {watched.cluster} was pending for {spoken(silence)} more, in which no second one could be "
            "sent: the job waits for it again",
        )

    async def _goes_on(self, watched: Watched) -> Then:
        reason = f"task {watched.task_id} on {watched.cluster} goes on after all: no second one is sent"
        # Else the second one is being sent in this very moment.
        return Then.OVER if await self._taken_back(watched, reason) else Then.GOES_ON

    async def _taken_back(self, watched: Watched, reason: str) -> bool:
        at = self._clock.text()
        if not await self._ledger.write(
            lambda c: spares.take_back(c, watched.job_id, State.QUEUED, at, reason), point="taken_back"
        ):
            return False
        log.info("task_taken_back", job=watched.job_id, route=watched.route, task=watched.task_id, reason=reason)
        return True

    async def _wins(self, watched: Watched, report: Report) -> Then:
        at = self._clock.text()
        note = f"task {watched.task_id}, which was left behind on {watched.cluster}, came first: its results are used"
        if not await self._ledger.write(
            lambda c: spares.win(
                c, watched.job_id, watched.task_id, at, note, report.outputs, report.remarks, report.progress
            ),
            point="rendered",
        ):
            return Then.GOES_ON
        log.info(
            "spare_task_won", job=watched.job_id, route=watched.route, task=watched.task_id,
            outputs=len(report.outputs),
        )  # fmt: skip
        return Then.WON
