"""Following tasks: one heap of who is due, drained within the budget of status calls.

Owns the polls and what their answers do to a job. A failed poll says nothing about a task and never fails it;
only the platform's own word does, or a person's. Which tasks there are stands in the ledger; the heap is only
this process's plan, made anew after a restart.
"""

import asyncio
import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Connection

from renderdrop.ledger import moves, queries
from renderdrop.ledger.failpoints import Point
from renderdrop.ledger.store import Ledger
from renderdrop.model.backoff import backoff
from renderdrop.model.errors import Busy, PlatformDown, Refused, Temporary
from renderdrop.model.in_a_row import IN_A_ROW, Row
from renderdrop.model.job import Level, Step
from renderdrop.model.lifecycle import ENDS, State
from renderdrop.model.names import shown
from renderdrop.model.route import Route
from renderdrop.model.units import spoken
from renderdrop.platform.client import CALLS, Client
from renderdrop.platform.graphs import names_missing_input
from renderdrop.platform.kinds import ASK
from renderdrop.platform.reports import Report, names_no_task
from renderdrop.runtime.budget import Budget
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.tasks import Tasks
from renderdrop.runtime.troubles import PLATFORM, POLLS, Troubles
from renderdrop.tracking.cadence import FIRST, next_look

log = structlog.get_logger()

_AT_ONCE: Final = CALLS
"""Polls in flight; more would only wait for a slot."""
POLL: Final = "poll "
"""How the tasks of polls are named; a poll may be abandoned at any moment."""
_BATCH: Final = 256
"""Due tasks taken in one go before the loop gets a turn (DESIGN 9)."""
_DEAF: Final = 60.0
"""Seconds without any answer, to whatever task, that count at most as listening: well over MOST_PENDING."""
_GONE_LOOKS: Final = 8
_GONE_AFTER: Final = 120.0
"""Looks in a row that found no such task, and seconds between the first and the last of them, before it counts as
vanished: a platform that is restarted, or a copy of its books that lags behind, needs less."""
_LONGEST_REASON: Final = 2_000
"""Characters of what a failed task said that a person is told at once."""
_MOST_WORDS: Final = 50
"""Things that were not understood, of one task and status words of all: whoever says more is not listened to."""
_DEFAULT_SILENCE: Final = 1800.0
"""For a task whose route is gone from the settings."""


@dataclass(slots=True)
class Watched:
    """A task being followed. `since` is monotonic; `changed_at`, of its last news, counts seconds of hearing."""

    job_id: str
    route: str
    kind: str
    task_id: str
    since: float
    changed_at: float
    status: str | None = None
    progress: float | None = None
    node: str | None = None
    failures: int = 0
    refused: int = 0
    """Looks in a row that were refused because there is no such task."""
    refused_since: float = 0.0
    strange: frozenset[str] = frozenset()
    due: float | None = None
    """When it is looked at next, None while it is being asked after; a place in the heap that says otherwise is old."""


class Track:
    """All open tasks. `rendered`, `requeued` and `ended` wake the other stages."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        clock: Clock,
        troubles: Troubles,
        budget: Budget,
        tasks: Tasks,
        rendered: Callable[[], None],
        requeued: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._clock = clock
        self._troubles = troubles
        self._budget = budget
        self._tasks = tasks
        self._rendered = rendered
        self._requeued = requeued
        self._ended = ended
        self._routes: Mapping[str, Route] = {}
        self._watched: dict[str, Watched] = {}
        self._due: list[tuple[float, str]] = []
        self._asking = 0
        self._heard = 0.0
        self._heard_at = clock.monotonic()
        self._faults = Row()
        self._well_at = float("-inf")
        self._words: set[str] = set()
        self.stopped = False

    def set_routes(self, routes: tuple[Route, ...]) -> None:
        """Whose `silence` counts from now on; tasks of other routes are followed all the same."""
        self._routes = {route.name: route for route in routes}

    async def take_up(self) -> None:
        """Follow every submitted job of the ledger that is not followed yet."""
        jobs = await self._ledger.read(queries.submitted)
        now = self._clock.monotonic()
        if not self._watched:
            self._heard_at = now  # there was nobody to listen to
        for j in jobs:
            known = self._watched.get(j.id)
            if known is None or known.task_id != j.task_id:
                self._watched[j.id] = Watched(
                    j.id, j.route, j.kind, j.task_id, now, self._heard, j.status, j.progress, j.node
                )
                self._plan(self._watched[j.id], FIRST)
        gone = self._watched.keys() - {j.id for j in jobs}
        for job_id in gone:
            del self._watched[job_id]

    async def tick(self) -> None:
        """Ask after the tasks that are due, as far as the budget goes."""
        if self.stopped:
            return
        now = self._clock.monotonic()
        if self._troubles.stops(POLLS):
            return
        for _ in range(_BATCH):
            if not self._due or self._due[0][0] > now or self._asking >= _AT_ONCE:
                break
            due, job_id = self._due[0]
            first = self._watched.get(job_id)
            if first is None or first.due != due:
                heapq.heappop(self._due)
                continue
            if not self._budget.take(now):
                break
            heapq.heappop(self._due)
            self._ask(first)
        await asyncio.sleep(0)

    def _plan(self, watched: Watched, seconds: float) -> None:
        due = self._clock.monotonic() + seconds
        watched.due = due
        heapq.heappush(self._due, (due, watched.job_id))

    def _ask(self, watched: Watched) -> None:
        watched.due = None
        self._asking += 1

        def over(error: BaseException | None) -> None:
            self._asking -= 1
            if self._watched.get(watched.job_id) is watched:
                now = self._clock.monotonic()
                wait = next_look(now - watched.since, watched.status)
                if watched.failures or error is not None:
                    wait = max(wait, backoff(max(1, watched.failures), self._clock.chance()))
                self._plan(watched, wait)

        self._tasks.start(self._look(watched), POLL + watched.job_id, over)

    async def _look(self, watched: Watched) -> None:
        bound = log.bind(job=watched.job_id, route=watched.route, task=watched.task_id)
        try:
            report = await ASK[watched.kind](self._client, watched.task_id, self._clock.now())
        except PlatformDown as fault:
            await self._troubles.tell("platform", PLATFORM, fault.sentence)
            return
        except Busy as fault:
            watched.failures += 1
            self._budget.pause(self._clock.monotonic(), backoff(watched.failures, 0.5, fault.retry_after))
            bound.info("poll_failed", reason=fault.sentence)
            return
        except (Temporary, Refused) as fault:
            watched.failures += 1
            bound.info("poll_failed", reason=shown(fault.sentence), in_a_row=watched.failures)
            if await self._is_gone(watched, fault):
                return
            if self._faults.add(watched.job_id, ""):
                # The platform is unwell: it is probed before more is asked of it.
                await self._troubles.tell("platform", POLLS, f"several polls in a row failed: {shown(fault.sentence)}")
                return
            if self._faults.jobs == 1:
                self._hear()  # as far as we know it is this task alone that cannot be asked after
        else:
            watched.failures = watched.refused = 0
            self._well_at = self._clock.monotonic()
            self._hear()
            self._faults.end()
            unknown = frozenset(report.strange) - watched.strange - self._words
            if unknown and max(len(watched.strange), len(self._words)) < _MOST_WORDS:
                watched.strange |= unknown
                # A new status word is told once, not once for every frame of a night.
                self._words |= {what for what in unknown if what.startswith("status ")}
                bound.warning("answer_not_understood", what=sorted(unknown))
            if self._watched.get(watched.job_id) is watched:  # else it is another task's job by now, or over
                await self._take_in(watched, report)
            if self._watched.get(watched.job_id) is not watched:
                return
        await self._mind_silence(watched)

    async def _take_in(self, watched: Watched, report: Report) -> None:
        if report.status == "success":
            await self._success(watched, report)
        elif report.status == "fail":
            if not await self._upload_again(watched, report):
                await self._fail(watched, report, failure(report))
        elif (report.status, report.progress, report.node) != (watched.status, watched.progress, watched.node):
            at = self._clock.text()
            started = {"started_at": at} if report.status == "running" and watched.status != "running" else {}
            watched.status, watched.progress, watched.node = report.status, report.progress, report.node
            watched.changed_at = self._heard
            if not await self._ledger.write(
                lambda c: moves.change(
                    c, watched.job_id, State.SUBMITTED, at, status=report.status, progress=report.progress,
                    node=report.node, **started,
                ),
                point="progress",
            ):  # fmt: skip
                self._watched.pop(watched.job_id, None)  # somebody moved it: cancelled or held by hand

    async def _success(self, watched: Watched, report: Report) -> None:
        if not report.outputs:
            texts = _joined([shown(r.message) for r in report.remarks])
            reason = "the platform says the task succeeded, but it gave no media file" + (f": {texts}" if texts else "")
            await self._fail(watched, report, reason)
            return
        at = self._clock.text()
        # A task that was never seen at work began some time before now; that is the best that is known.
        started = {"started_at": at} if watched.status != "running" else {}

        def rendered(c: Connection) -> bool:
            # First the move, and nothing without it: a late answer must not touch what is being delivered by now.
            if not moves.move(
                c, watched.job_id, State.SUBMITTED, State.RENDERED, at, f"{len(report.outputs)} to fetch", paid=True,
                status=report.status, progress=report.progress, node=None, error=None, finished_at=at, **started,
            ):  # fmt: skip
                return False
            moves.set_results(c, watched.job_id, report.outputs, report.remarks)
            return True

        if await self._leave(watched, rendered, point="rendered"):
            log.info(
                "task_succeeded", job=watched.job_id, route=watched.route, task=watched.task_id,
                outputs=len(report.outputs),
            )  # fmt: skip
            self._rendered()

    async def _fail(self, watched: Watched, report: Report, reason: str) -> None:
        at = self._clock.text()

        def failed(c: Connection) -> bool:
            if not moves.move(
                c, watched.job_id, State.SUBMITTED, State.FAILED, at, reason, error=reason, status=report.status,
                progress=report.progress, node=None, finished_at=at,
            ):  # fmt: skip
                return False
            moves.set_results(c, watched.job_id, (), report.remarks)
            return True

        if await self._leave(watched, failed, point="task_failed"):
            log.warning("job_failed", job=watched.job_id, route=watched.route, task=watched.task_id, reason=reason)
            self._ended()

    async def _upload_again(self, watched: Watched, report: Report) -> bool:
        """Whether a graph's task failed only because the platform had forgotten an upload of an earlier job: then the
        job goes back to the queue once, and its files are uploaded anew."""
        if watched.kind != "graph":
            return False
        job = await self._ledger.read(lambda c: queries.job(c, watched.job_id))
        if job is None or not job.sent.remembered or not names_missing_input(failure(report), job.sent.uploads):
            return False
        if _was_requeued(await self._ledger.read(lambda c: queries.steps(c, watched.job_id))):
            return False
        at, lost = self._clock.text(), job.sent.uploads
        reason = f"{failure(report)}; the platform has forgotten an earlier upload, its files are uploaded again"

        def again(c: Connection) -> bool:
            moves.forget_uploads(c, lost)
            return moves.move(
                c, watched.job_id, State.SUBMITTED, State.QUEUED, at, reason, error=reason, status=None, progress=None,
                node=None,
            )  # fmt: skip

        if await self._leave(watched, again, point="uploads_again"):
            log.warning("job_requeued", job=watched.job_id, route=watched.route, task=watched.task_id, reason=reason)
            self._requeued()
        return True

    def status_answered(self) -> None:
        """The address is right and the platform is up: one or two tasks that it does not know are then themselves to
        blame. Not so when every task is refused: then it is the calls that go astray."""
        if self._faults.jobs < IN_A_ROW:
            self._well_at = self._clock.monotonic()

    async def _is_gone(self, watched: Watched, fault: Temporary | Refused) -> bool:
        """Whether the platform does not know this very task any more; then a person decides, for it may have been
        paid for. Where everything is refused it is the address or the platform that is wrong, and nothing is held.
        A refusal that does not speak of the task is left to `silence`: a platform may be busy for hours."""
        if not isinstance(fault, Refused) or not names_no_task(fault):
            watched.refused = 0
            return False
        now = self._clock.monotonic()
        if not watched.refused:
            watched.refused_since = now
        watched.refused += 1
        if watched.refused < _GONE_LOOKS or now - watched.refused_since < _GONE_AFTER:
            return False
        said = shown(fault.message)
        if self._well_at < watched.refused_since:
            # Nothing else was answered: a probe is to tell whether the platform is there at all.
            await self._troubles.tell("platform", POLLS, f"the task {watched.task_id} cannot be asked after: {said}")
            return False
        await self._hold(
            watched,
            f"the platform refuses to tell of the task {watched.task_id} ({said}), although it answers otherwise: the "
            "task may have vanished there, and may have been paid for. Look at the platform's own page, then `release` "
            "the job (its task is asked after again; with --resubmit it is rendered once more) or `cancel` it",
        )
        return True

    def _hear(self) -> None:
        """The line works: the time since it last did counts as listening, unless that was long ago."""
        now = self._clock.monotonic()
        self._heard += min(now - self._heard_at, _DEAF)
        self._heard_at = now

    async def _mind_silence(self, watched: Watched) -> None:
        """Hold a task that has said nothing new for too long. Silence is the task's, not the line's: time in which
        no task could be asked after does not count."""
        route = self._routes.get(watched.route)
        silence = route.silence if route is not None else _DEFAULT_SILENCE
        if self._heard - watched.changed_at < silence:
            return
        await self._hold(
            watched,
            f"the task {watched.task_id} has said nothing new for {spoken(silence)}; look at the platform's own page, "
            "then `release` the job (its task is asked after again) or `cancel` it",
        )

    async def _hold(self, watched: Watched, reason: str) -> None:
        at = self._clock.text()
        if await self._leave(
            watched,
            lambda c: moves.move(c, watched.job_id, State.SUBMITTED, State.HELD, at, reason, error=reason),
            point="silent",
        ):
            log.warning("job_held", job=watched.job_id, route=watched.route, task=watched.task_id, reason=reason)

    async def _leave(self, watched: Watched, deed: Callable[[Connection], bool], *, point: Point) -> bool:
        """The move that ends the following; False when somebody moved the job first."""
        moved = await self._ledger.write(deed, point=point)
        self._watched.pop(watched.job_id, None)
        return moved


def _was_requeued(steps: Sequence[Step]) -> bool:
    """Whether a job went from its task back to the queue since a person last sent it: what fails again is not the
    upload's fault, and each task may cost."""
    for step in reversed(steps):
        if (step.frm, step.to) == (State.SUBMITTED, State.QUEUED):
            return True
        if step.frm in ENDS or step.frm is State.HELD:
            return False
    return False


def failure(report: Report) -> str:
    """One sentence out of what a failed task said."""
    texts = [shown(r.message) for r in report.remarks if r.level is Level.ERROR]
    return f"the platform could not render it: {_joined(texts)}" if texts else "the platform says the task failed"


def _joined(texts: Sequence[str]) -> str:
    """All of them as far as a sentence goes; the sidecar has them whole."""
    text = "; ".join(texts)
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"
