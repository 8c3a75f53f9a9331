"""Which queued job goes next, and to where.

Owns the queue's turn: as many uploads at once as the settings allow, the most urgent job first, nothing for a
route, share or platform in trouble. The choice of a cluster and the commit of the intent are one step under one
lock, so that every choice sees the ones before it.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy import Connection

from renderdrop.dispatch.choose import Hold
from renderdrop.dispatch.farm import Farm
from renderdrop.dispatch.kinds import Errand
from renderdrop.dispatch.limits import Closed, Limits
from renderdrop.dispatch.opened import Opened, opened
from renderdrop.dispatch.places import Places
from renderdrop.dispatch.queue import Queue
from renderdrop.dispatch.rescue import REST, Rescue, left_on
from renderdrop.dispatch.same import Same
from renderdrop.dispatch.submit import Submit
from renderdrop.dispatch.upload import Stopping
from renderdrop.ledger import moves
from renderdrop.ledger.adopt import disband
from renderdrop.ledger.queries import Unfinished
from renderdrop.ledger.store import Ledger
from renderdrop.model.backoff import backoff
from renderdrop.model.errors import (
    NotTakeable,
    PlatformDown,
    Refused,
    RouteDown,
    ShareOffline,
    SourceChanged,
    SourceGone,
    Temporary,
)
from renderdrop.model.job import Job, Outcome
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.model.wishes import NO_PIN, params_of
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.disk import Disks
from renderdrop.runtime.hands import Hands
from renderdrop.runtime.troubles import PLATFORM, SUBMISSIONS, Troubles
from renderdrop.share.marker import Folders, online

log = structlog.get_logger()

_TRIAL_LOOK: Final = 200
"""Queued jobs among which one is chosen for a trial."""
_SAME_REST: Final = 2.0
"""Seconds until a duplicate of a job that is under way is looked at again."""
_CLOSED_REST: Final = 1.0
"""Seconds until a job is looked at again whose route was closed after it had been taken up."""
_HOLD_REST: Final = 5.0
"""Seconds until a job is looked at again that was taken up and then had better wait for a cluster."""
_WRITER_REST: Final = 2.0
"""Seconds until a file that somebody opened for writing again, after it settled, is looked at once more."""


class Dispatch:
    """Carries queued jobs to the platform. `submitted`, `shared` (a duplicate has its results) and `ended` wake the
    stages that come after."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        troubles: Troubles,
        farm: Farm,
        same: Same,
        rescue: Rescue,
        submit: Submit,
        hands: Hands,
        disks: Disks,
        submitted: Callable[[], None],
        shared: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._troubles = troubles
        self._farm = farm
        self._submit = submit
        self._hands = hands
        self._disks = disks
        self._submitted = submitted
        self._shared = shared
        self._same = same
        self._rescue = rescue
        self._ended = ended
        self._routes: dict[str, Route] = {}
        self._queue = Queue(ledger, clock)
        self.places = Places(ledger, clock, troubles, farm)
        self._trials: dict[str, set[str]] = {}
        self._choosing = asyncio.Lock()
        self.stopped = False

    def is_stuck(self, job: Unfinished) -> bool:
        """Whether a queued job waits for what nobody here brings about: another one about which a person has to decide,
        or a cluster of its own that is not there."""
        return job.id in self._same.stuck or self.places.is_nowhere(job)

    def set_routes(self, routes: tuple[Route, ...]) -> None:
        """The routes whose jobs are sent from now on."""
        self._routes = {route.name: route for route in routes}

    def set_limits(self, limits: Limits) -> None:
        """What holds for all routes together from now on."""
        self._queue.limits = limits

    async def round(self) -> None:
        """Take up as many queued jobs as there are hands."""
        if self.stopped or self._troubles.stops(SUBMISSIONS):
            return
        open_routes, on_trial = self._sort_routes()
        passed_over = self._hands.passed_over()
        for job in await self._queue.paid_for([*open_routes, *on_trial], passed_over, self._hands.free):
            self._take(job)
            passed_over.add(job.id)
        stand = await self._queue.standing(self._routes.values())
        open_routes, on_trial = ([n for n in names if n not in stand.closed] for names in (open_routes, on_trial))
        sending = [route for name, route in self._routes.items() if name in open_routes]
        if open_routes and self._hands.free:
            free = self._hands.free
            if self._submit.in_doubt:
                await self._try_platform(open_routes, passed_over)
                return
            try:
                stand = stand.within(await self.places.rooms(sending))
            except PlatformDown as fault:
                await self._troubles.tell("platform", PLATFORM, fault.sentence)
                return
            rescuing = [route.name for route in sending if route.rescue and stand.pinned.get((route.name, NO_PIN)) != 0]
            # One at a time: where a whole cluster stands still, what is sent first tells where there is room.
            if (lagging := await self._rescue.next(rescuing, passed_over)) is not None:
                self._take(lagging)
                passed_over.add(lagging.id)
                free = self._hands.free
            jobs = await self._queue.next(open_routes, passed_over, free, stand)
            self._hands.more = len(jobs) == free
            for job in jobs:
                self._take(job)
        for name in on_trial:
            await self._try_one(name, passed_over)

    def _sort_routes(self) -> tuple[list[str], list[str]]:
        """Routes that go on freely, and paused ones whose next trial is due."""
        free, trial = [], []
        for name, route in self._routes.items():
            if self._troubles.of("share", name) is not None or self._disks.of(route).silent:
                continue
            if self._troubles.of("route", name) is None:
                free.append(name)
                self._trials.pop(name, None)
            elif self._troubles.probe_due("route", name) and self._hands.free:
                trial.append(name)
        return free, trial

    async def _try_platform(self, routes: list[str], passed_over: set[str]) -> None:
        """After a row of failures one job alone goes ahead, by preference one that has not lost an answer yet: a
        second lost answer would need a person, and an hour's trouble must not use up a whole batch."""
        if self._hands.taken:
            return
        jobs = await self._queue.next(routes, passed_over, _TRIAL_LOOK)
        for job in sorted(jobs, key=_has_lost_an_answer)[:1]:
            self._take(job)

    async def _try_one(self, route: str, passed_over: set[str]) -> None:
        tried = self._trials.setdefault(route, set())
        job = await self._next_of(route, passed_over | tried)
        if job is None:
            tried.clear()
            job = await self._next_of(route, passed_over)
        if job is None:
            await self._troubles.end("route", route)  # nothing of it waits any more
            return
        tried.add(job.id)
        self._take(job)

    def _take(self, job: Job) -> None:
        # Settings that were read again while the queue was looked at may have taken its route away.
        if (route := self._routes.get(job.route)) is not None:
            self._queue.took(job)
            self._hands.take(job.id, self._carry(job), self._disks.of(route))

    async def _carry(self, job: Job) -> None:
        try:
            await self._send(job)
        finally:
            self._queue.began(job)

    async def _next_of(self, route: str, but: set[str]) -> Job | None:
        found = await self._queue.next([route], but, 1)
        return found[0] if found else None

    async def _send(self, job: Job) -> None:
        route = self._routes.get(job.route)
        if route is None or self.stopped:
            return
        if job.paid and job.task_id is not None:
            await self._resume(job)
            return
        second = left_on(job) is not None
        if second:
            self._hands.rest(job.id, REST)
        disk = self._disks.of(route)
        try:
            if second and await self._has_no_place(route, job):
                return
            await disk(online, Folders(route.inbox, route.outbox, route.done, route.failed))
            async with opened(disk, route, job, lambda: self.stopped) as files:
                if await disk(files.being_written):
                    self._hands.rest(job.id, _WRITER_REST)
                    return
                await self._submit.ready(route, files)
                if second and not await self._rescue.may_begin(route, job):
                    return
                skips = route.duplicates == "skip" and not job.wishes.whole and not second
                if skips and await self._is_known(route, job, files):
                    return
                errand = await self._begin(route, job, files)
                if errand is not None:
                    await self._submit.send(errand)
        except Stopping:
            pass  # nothing was begun
        except RouteDown as fault:
            await self._troubles.tell("route", route.name, fault.sentence)
        except ShareOffline as fault:
            await self._troubles.tell("share", route.name, fault.sentence)
        except SourceGone:
            await self._drop(job, "its file (or one of them) was taken out of the inbox before it was sent")
        except SourceChanged:
            await self._drop(job, "its file was changed before it was sent; the new version is taken once it settled")
        except NotTakeable as fault:
            await self._fail(job, fault.sentence)
        except PlatformDown as fault:
            await self._troubles.tell("platform", PLATFORM, fault.sentence)
        except (Temporary, Refused) as fault:
            # The clusters' status could not be had: nothing was begun for this job, nothing is burnt.
            self._hands.rest(job.id, backoff(self._hands.failed(job.id), self._clock.chance()))
            log.info("clusters_unknown", job=job.id, reason=fault.sentence)

    async def _has_no_place(self, route: Route, job: Job) -> bool:
        """Whether no other cluster takes a second task now, asked before its files are opened and the platform is asked
        after the first one: many may lag. One that was left behind is the job's again then, for it may be silent."""
        choice = await self.places.choose(route, job)
        if isinstance(choice, Hold):
            await self._rescue.takes_back(job, choice.reason)
        return isinstance(choice, Hold)

    async def _is_known(self, route: Route, job: Job, files: Opened) -> bool:
        """Whether an earlier job was asked for the very same: then it gets that one's results, or waits for them."""
        if await self._same.still_waits(job) is not None:
            self._hands.rest(job.id, _SAME_REST)
            return True
        fingerprint = await self._same.fingerprint(route, job, files)
        verdict = await self._same.verdict(fingerprint, route, job)
        at, earlier = self._clock.text(), verdict.result_of
        if verdict.wait_for is not None:
            self._hands.rest(job.id, _SAME_REST)
            why = f"it waits for job {verdict.wait_for}, which was asked for the very same"
            await self._ledger.write(
                lambda c: moves.change(c, job.id, State.QUEUED, at, error=why), point="waits_for_same"
            )
            return True
        if earlier is None:
            return False
        digests = await files.digests()

        def share(c: Connection) -> bool:
            for path, sha256 in digests.items():
                moves.record_source(c, job.id, path, sha256=sha256)
            return moves.share_results(c, job.id, at, earlier, fingerprint)

        if await self._ledger.write(share, point="shared"):
            log.info("job_is_a_duplicate", job=job.id, route=route.name, of=earlier.id)
            self._shared()
        return True

    async def _begin(self, route: Route, job: Job, files: Opened) -> Errand | None:
        """Choose, and commit the intent. None: the job is not queued any more, or no cluster is active."""
        params, _ = params_of(route, job.wishes)
        async with self._choosing:
            if _has_lost_an_answer(job):
                await self._farm.refresh()  # its last try without a person: not into a platform that does not answer
            choice = await self.places.choose(route, job)
            if choice is None:
                return None
            if isinstance(choice, Hold):
                self._hands.rest(job.id, _HOLD_REST if left_on(job) is None else REST)
                log.debug("job_waits_for_cluster", job=job.id, route=route.name, reason=choice.reason)
                return None
            at, now = self._clock.text(), self._clock.now()

            def begin(c: Connection) -> int | Closed | None:
                if (closed := self._queue.closed(c, route, now)) is not None:
                    return closed
                if left_on(job) is not None and not self._rescue.leave(c, job, at):
                    return None
                return moves.begin_submission(
                    c, job.id, at, cluster=choice.cluster, note=choice.reason,
                    workflow_id=job.wishes.workflow_id or route.workflow_id,
                    version_id=job.wishes.version_id or route.version_id, params=params, priority=job.priority,
                )  # fmt: skip

            leaves = job.state is State.SUBMITTED
            if leaves:
                number = await self._ledger.write(begin, point="left_behind")
            else:
                number = await self._ledger.write(begin, point="submitting")
        if isinstance(number, Closed):
            self._hands.rest(job.id, _CLOSED_REST)
            return None
        if number is None:
            return None
        self._queue.began(job)
        if leaves:
            self._farm.left_behind(job.cluster or "", job.id)
            log.warning("task_left_behind", job=job.id, route=route.name, task=job.task_id, cluster=job.cluster)
        self.places.begun(route, job, choice)
        log.info("job_submitting", job=job.id, route=route.name, cluster=choice.cluster, reason=choice.reason)
        return Errand(route, job, number, choice.cluster, params, files)

    async def _resume(self, job: Job) -> None:
        at = self._clock.text()
        if await self._ledger.write(lambda c: moves.resume_task(c, job.id, at), point="resumed"):
            log.info("task_asked_again", job=job.id, route=job.route, task=job.task_id)
            self._submitted()

    async def _drop(self, job: Job, reason: str) -> None:
        """End a job whose files are not what they were: what lies there may become a new job."""
        if await self._rescue.takes_back(job, reason):
            return
        at = self._clock.text()
        if await self._ledger.write(lambda c: disband(c, job.id, at, reason), point="dropped"):
            log.info("job_cancelled", job=job.id, route=job.route, reason=reason)

    async def _fail(self, job: Job, reason: str) -> None:
        if await self._rescue.takes_back(job, reason):
            return
        at = self._clock.text()
        if await self._ledger.write(
            lambda c: moves.move(c, job.id, State.QUEUED, State.FAILED, at, reason, error=reason),
            point="not_takeable",
        ):
            log.warning("job_failed", job=job.id, route=job.route, reason=reason)
            self._ended()


def _has_lost_an_answer(job: Job) -> bool:
    return any(s.outcome is Outcome.UNKNOWN for s in job.submissions)
