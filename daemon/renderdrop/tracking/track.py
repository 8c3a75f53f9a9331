"""Following tasks: those that are due by the plan are asked after, within the budget of status calls.

Owns the polls and what their answers do to a job. A failed poll says nothing about a task and never fails it;
only the platform's own word does, or a person's. Which tasks there are stands in the ledger; who is due
when is the `plan`'s business, which is made anew after a restart.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

import structlog
from sqlalchemy import Connection

from renderdrop.ledger import moves, queries, spares
from renderdrop.ledger.experience import ended
from renderdrop.ledger.failpoints import Point
from renderdrop.ledger.store import Ledger
from renderdrop.model.backoff import backoff
from renderdrop.model.errors import Busy, PlatformDown, Refused, Temporary
from renderdrop.model.in_a_row import IN_A_ROW, Row
from renderdrop.model.lifecycle import State
from renderdrop.model.names import shown
from renderdrop.model.route import Route
from renderdrop.model.units import spoken
from renderdrop.platform.client import CALLS, Client
from renderdrop.platform.kinds import ASK
from renderdrop.platform.reports import Report, names_no_task
from renderdrop.runtime.budget import TICK, Budget
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.tasks import Tasks
from renderdrop.runtime.troubles import PLATFORM, POLLS, Troubles
from renderdrop.tracking.late import Late
from renderdrop.tracking.outcome import failure, no_media
from renderdrop.tracking.plan import Plan
from renderdrop.tracking.spare import SpareTasks, Then
from renderdrop.tracking.uploads import forgotten, upload_again, why_again
from renderdrop.tracking.watched import Watched

log = structlog.get_logger()

T = TypeVar("T")

_AT_ONCE: Final = CALLS
"""Polls in flight; more would only wait for a slot."""
POLL: Final = "poll "
"""How the tasks of polls are named; a poll may be abandoned at any moment."""
_BATCH: Final = 256
"""Due tasks taken in one go before the loop gets a turn (DESIGN 9)."""
_DEAF: Final = 60.0
"""Seconds without any answer, to whatever task, that count at most as listening: well over the longest interval."""
_GONE_LOOKS: Final = 8
_GONE_AFTER: Final = 120.0
"""Looks in a row that found no such task, and seconds between the first and the last of them, before it counts as
vanished: a platform that is restarted, or a copy of its books that lags behind, needs less."""
_MOST_WORDS: Final = 50
"""Things that were not understood, of one task and status words of all: whoever says more is not listened to."""
_ROUGHLY: Final = 0.2
"""Share of a run time within which the ledger's is right: it knows when a task was first seen at work, no more."""
_DEFAULT_SILENCE: Final = 1800.0
"""For a task whose route is gone from the settings."""


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
        self._plan = Plan(budget.pace)
        self.late = Late(ledger, clock)
        self._spares = SpareTasks(ledger, clock)
        self._experienced = False
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
        """Follow every task of the ledger that is not followed yet, also those left behind."""
        if not self._experienced:
            for task in await self._ledger.read(lambda c: ended(c, placed=False)):
                if task.well and task.seconds is not None:
                    self._plan.learned.ran(task.workflow, task.cluster, task.seconds, task.seconds * _ROUGHLY)
            self._experienced = True
        tasks = await self._ledger.read(lambda c: [*queries.submitted(c), *spares.left_behind(c)])
        if not self._watched:
            self._heard_at = self._clock.monotonic()  # there was nobody to listen to
        for key in self._watched.keys() - {self._follow(task) for task in tasks}:
            self._let_go(key)

    def _follow(self, t: queries.Following) -> str:
        """Follow a task, unless that is done already; returns its key."""
        lags = t.lags_since is not None
        watched = Watched(
            t.id, t.route, t.kind, t.task_id, self._heard, t.cluster or "", t.left, t.status, t.progress, t.node,
            lags=lags, told=lags,
        )  # fmt: skip
        known = self._watched.get(watched.key)
        if known is not None and known.task_id == watched.task_id:
            return watched.key
        self._watched[watched.key] = watched
        waited, runs = self._ago(t.submitted_at) or 0.0, self._ago(t.started_at) if t.status == "running" else None
        now = self._clock.monotonic()
        self._plan.follow(watched.key, t.workflow_id, watched.cluster, now, waited=waited, runs=runs)
        self.late.forget(watched)
        if runs is None:
            self.late.follow(watched, t.workflow_id, waited)
        return watched.key

    def _ago(self, at: str | None) -> float | None:
        """Seconds since then by the wall clock, which may have been set since."""
        return None if at is None else max(0.0, (self._clock.now() - datetime.fromisoformat(at)).total_seconds())

    def _let_go(self, key: str) -> None:
        if (watched := self._watched.pop(key, None)) is not None:
            self.late.forget(watched)
        self._plan.forget(key)

    async def tick(self) -> None:
        """Ask after the tasks that are due, as far as the budget goes."""
        if self.stopped:
            return
        now = self._clock.monotonic()
        if self._troubles.stops(POLLS):
            return
        self._plan.adapt(self._budget.pace_at(now), now)
        soon = now + TICK / 2  # half of the looks a little too soon, half a little too late, rather than all too late
        for _ in range(_BATCH):
            due = self._plan.next_due()
            if due is None or due > soon or self._asking >= _AT_ONCE or not self._budget.take(now):
                break
            key = self._plan.take(soon)
            watched = self._watched.get(key) if key is not None else None
            if watched is not None:
                self._ask(watched, now)
        await asyncio.sleep(0)

    def _ask(self, watched: Watched, now: float) -> None:
        watched.heard = False
        self._asking += 1

        def over(error: BaseException | None) -> None:
            self._asking -= 1
            if self._watched.get(watched.key) is not watched:
                return
            at = self._clock.monotonic()
            if watched.heard and error is None:
                self._plan.saw(watched.key, at, watched.status or "running", watched.progress)
            else:
                failed = watched.failures or error is not None
                least = backoff(max(1, watched.failures), self._clock.chance()) if failed else 0.0
                self._plan.missed(watched.key, at, least)

        self._tasks.start(self._look(watched, now), POLL + watched.key, over)

    async def _look(self, watched: Watched, asked: float) -> None:
        bound = log.bind(job=watched.job_id, route=watched.route, task=watched.task_id)
        try:
            report = await ASK[watched.kind](self._client, watched.task_id, self._clock.now())
        except PlatformDown as fault:
            await self._troubles.tell("platform", PLATFORM, fault.sentence)
            return
        except Busy as fault:
            watched.failures += 1
            now = self._clock.monotonic()
            self._budget.too_many(asked, now)
            self._budget.pause(now, backoff(watched.failures, 0.5, fault.retry_after))
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
            watched.heard = True
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
            if self._watched.get(watched.key) is watched:  # else it is another task's job by now, or over
                await self._take_in(watched, report)
            if self._watched.get(watched.key) is not watched:
                return
            if report.status == "pending" and not watched.left:
                await self.late.waits(watched)
        await self._mind_silence(watched)

    async def _take_in(self, watched: Watched, report: Report) -> None:
        if report.status in ("running", "success"):
            self.late.begun(watched)
        if watched.left:
            await self._take_in_spare(watched, report)
        elif report.status == "success":
            await self._success(watched, report)
        elif report.status == "fail":
            if not await self._upload_again(watched, report):
                await self._fail(watched, report, failure(report))
        elif (report.status, report.progress, report.node) != (watched.status, watched.progress, watched.node):
            at = self._clock.text()
            started = {"started_at": at} if report.status == "running" and watched.status != "running" else {}
            watched.status, watched.progress, watched.node = report.status, report.progress, report.node
            watched.changed_at = self._heard
            caught_up = {"lags_since": None, "error": None} if watched.lags and report.status != "pending" else {}
            watched.lags = watched.lags and not caught_up
            if not await self._ledger.write(
                lambda c: moves.change(
                    c, watched.job_id, State.SUBMITTED, at, of_task=watched.task_id, status=report.status,
                    progress=report.progress, node=report.node, **started, **caught_up,
                ),
                point="progress",
            ):  # fmt: skip
                self._let_go(watched.key)  # somebody moved it: cancelled or held by hand

    async def _take_in_spare(self, watched: Watched, report: Report) -> None:
        heard = self._clock.monotonic()
        then = await self._spares.heard(watched, report)
        if then is Then.WON:
            self._plan.succeeded(watched.key, heard)
            self._rendered()
        if then is not Then.GOES_ON:
            self._let_go(watched.key)

    async def _success(self, watched: Watched, report: Report) -> None:
        if not report.outputs:
            await self._fail(watched, report, no_media(report))
            return
        at, heard = self._clock.text(), self._clock.monotonic()
        # A task that was never seen at work began some time before now; that is the best that is known.
        started = {"started_at": at} if watched.status != "running" else {}

        def rendered(c: Connection) -> bool:
            # First the move, and nothing without it: a late answer must not touch what is being delivered by now.
            if not moves.move(
                c, watched.job_id, State.SUBMITTED, State.RENDERED, at, f"{len(report.outputs)} to fetch",
                of_task=watched.task_id, paid=True, status=report.status, progress=report.progress, node=None,
                error=None, finished_at=at, lags_since=None, **started,
            ):  # fmt: skip
                return False
            moves.set_results(c, watched.job_id, report.outputs, report.remarks)
            return True

        if await self._leave(watched, rendered, point="rendered", succeeded=heard):
            log.info(
                "task_succeeded", job=watched.job_id, route=watched.route, task=watched.task_id,
                outputs=len(report.outputs),
            )  # fmt: skip
            self._rendered()

    async def _fail(self, watched: Watched, report: Report, reason: str) -> None:
        at, job = self._clock.text(), watched.job_id

        def failed(c: Connection) -> State | None:
            # Of two tasks the second: the job goes on with the one that it had left behind.
            if spares.take_back(c, job, State.SUBMITTED, at, reason, of_task=watched.task_id):
                return State.SUBMITTED
            if not moves.move(
                c, job, State.SUBMITTED, State.FAILED, at, reason, of_task=watched.task_id, error=reason,
                status=report.status, progress=report.progress, node=None, finished_at=at,
            ):  # fmt: skip
                return None
            moves.set_results(c, job, (), report.remarks)
            return State.FAILED

        went = await self._leave(watched, failed, point="task_failed")
        if went is not None:
            event = "job_failed" if went is State.FAILED else "task_taken_back"
            log.warning(event, job=job, route=watched.route, task=watched.task_id, reason=reason)
            self._ended()

    async def _upload_again(self, watched: Watched, report: Report) -> bool:
        """Whether a graph's job goes back to the queue, once, because its uploads were forgotten."""
        lost = (
            await self._ledger.read(lambda c: forgotten(c, watched.job_id, report)) if watched.kind == "graph" else ()
        )
        if not lost:
            return False
        at = self._clock.text()
        reason = why_again(report)
        again = partial(upload_again, job_id=watched.job_id, task=watched.task_id, at=at, reason=reason, lost=lost)
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
        """Hold a task that has said nothing new for too long (of two tasks the second). Silence is the task's, not the
        line's: time in which no task could be asked after does not count."""
        silence = self._routes[watched.route].silence if watched.route in self._routes else _DEFAULT_SILENCE
        if watched.left and await self._spares.silent(watched, self._heard, silence):
            self._let_go(watched.key)
        if watched.left or self._heard - watched.changed_at < silence:
            return
        await self._hold(
            watched,
            f"the task {watched.task_id} has said nothing new for {spoken(silence)}; look at the platform's own page, "
            "then `release` the job (its task is asked after again) or `cancel` it",
        )

    async def _hold(self, watched: Watched, reason: str) -> None:
        if watched.left:
            await self._spares.lost(watched, "the platform does not know it any more")
            self._let_go(watched.key)
            return
        at, job, task = self._clock.text(), watched.job_id, watched.task_id
        hold = partial(moves.move, job_id=job, frm=State.SUBMITTED, to=State.HELD, at=at, note=reason, error=reason)
        if await self._leave(watched, partial(hold, of_task=task), point="silent"):
            log.warning("job_held", job=watched.job_id, route=watched.route, task=watched.task_id, reason=reason)

    async def _leave(
        self, watched: Watched, deed: Callable[[Connection], T], *, point: Point, succeeded: float | None = None
    ) -> T:
        """The move that ends the following; gives what the deed does, which is nothing true when somebody moved the job
        first. `succeeded`: when it was heard that the task did, for the plan to learn from."""
        moved = await self._ledger.write(deed, point=point)
        if succeeded is not None:
            self._plan.succeeded(watched.key, succeeded)
        self._let_go(watched.key)
        return moved
