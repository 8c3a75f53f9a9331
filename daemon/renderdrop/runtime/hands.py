"""What a stage has in hand: a bounded number of jobs being worked on, and those that rest for a while.

The ledger is the queue; this only remembers, for this process, which of its rows are already taken.
Rests are on the monotonic clock and are forgotten by a restart, which then simply tries at once.
"""

from collections.abc import Coroutine
from typing import Any

from renderdrop.model.backoff import CAP
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.disk import Disk
from renderdrop.runtime.pulse import Pulse
from renderdrop.runtime.tasks import Tasks


class Hands:
    """Up to `limit` jobs at once; `pulse` is nudged when one is put down. A job that needs a share which is silent
    keeps no hand busy: it only waits, and others need not."""

    def __init__(self, limit: int, tasks: Tasks, clock: Clock, name: str) -> None:
        self.limit = limit
        self.pulse: Pulse | None = None
        self.more = False
        """The last look found as many jobs as there were free hands: others may be waiting."""
        self._tasks = tasks
        self._clock = clock
        self._name = name
        self._held: dict[str, tuple[Disk, ...]] = {}
        self._rests: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    @property
    def free(self) -> int:
        """How many more jobs may be taken now."""
        return max(0, self.limit - self.taken)

    @property
    def taken(self) -> int:
        """How many are being worked on."""
        return sum(not any(disk.silent for disk in disks) for disks in self._held.values())

    def passed_over(self) -> set[str]:
        """Jobs that are in hand or at rest: not to be taken now."""
        now = self._clock.monotonic()
        self._rests = {job: until for job, until in self._rests.items() if until > now}
        return self._held.keys() | self._rests.keys()

    def take(self, job_id: str, work: Coroutine[Any, Any, None], *disks: Disk) -> None:
        """Begin work on a job that needs these shares. If it dies of something unforeseen, the job rests a while."""
        self._held[job_id] = disks

        def put_down(error: BaseException | None) -> None:
            self._held.pop(job_id, None)
            if error is not None:
                self.rest(job_id, CAP)
            if self.more and self.pulse is not None:
                self.pulse.nudge()

        self._tasks.start(work, f"{self._name} {job_id}", put_down)

    def rest(self, job_id: str, seconds: float) -> None:
        """Leave a job alone for so long."""
        self._rests[job_id] = self._clock.monotonic() + seconds

    def failed(self, job_id: str) -> int:
        """Count one more failure in a row of this job; returns how many."""
        self._failures[job_id] = self._failures.get(job_id, 0) + 1
        return self._failures[job_id]

    def forget(self, job_id: str) -> None:
        """The job went on: no failures, no rest."""
        self._failures.pop(job_id, None)
        self._rests.pop(job_id, None)

    def wake_all(self) -> None:
        """End every rest: what they waited for is over."""
        self._rests.clear()
