"""The only wiring: settings → parts → loops, and their beginning and end.

Owns which part knows which, the order of start-up (ledger, recovery, stages, "ready") and the ten seconds of a
clean end. No decision about a job is made here.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from renderdrop import __version__
from renderdrop.delivery.deliver import Deliver
from renderdrop.delivery.fetch import Fetch
from renderdrop.delivery.file_away import FileAway
from renderdrop.dispatch.dispatch import Dispatch
from renderdrop.dispatch.farm import SEEN, Farm
from renderdrop.dispatch.graphs import Graphs
from renderdrop.dispatch.kinds import Kinds
from renderdrop.dispatch.limits import Limits
from renderdrop.dispatch.publish import Publisher
from renderdrop.dispatch.rescue import Rescue
from renderdrop.dispatch.same import Same
from renderdrop.dispatch.submit import Submit
from renderdrop.intake.intake import Intake, Pace
from renderdrop.ledger import failpoints, moves, queries, quota, spares
from renderdrop.ledger.engine import ledger_path
from renderdrop.ledger.store import Ledger
from renderdrop.model.errors import BrokenSettings, Fault, LedgerBroken
from renderdrop.model.job import Job
from renderdrop.model.lifecycle import State
from renderdrop.platform.client import Client
from renderdrop.runtime import logs, recovery, systemd
from renderdrop.runtime.budget import Budget
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.disk import Disks
from renderdrop.runtime.hands import Hands
from renderdrop.runtime.pulse import Pulse
from renderdrop.runtime.schedule import Schedule
from renderdrop.runtime.tasks import Tasks, Threads
from renderdrop.runtime.troubles import CALLS, LEDGER, Troubles
from renderdrop.settings import Loaded
from renderdrop.share.ignore import Ignore
from renderdrop.tracking.track import POLL, Track

log = structlog.get_logger()

_END_WITHIN: Final = 6.0
"""Seconds that work under way has to come to its end by itself; DESIGN 6 allows ten for all of it."""
_FULL: Final = (
    "the disk of the state folder is full: no file is taken and nothing is submitted, what runs goes on; free some "
    "space, the rest goes on by itself"
)
_FIRST_LOOK: Final = 5.0
"""Seconds that "ready" waits at most until every inbox was opened or found offline."""
_THREADS: Final = 16
"""For what is no share's: settings, names of hosts, object stores."""
_FILING: Final = 4
"""Sources archived at once: renames, and rarely a copy."""


class App:
    """A daemon with its parts. `reload` reads the settings again, for SIGHUP."""

    def __init__(self, loaded: Loaded, ledger: Ledger, reload: Callable[[], Loaded]) -> None:
        self._loaded = loaded
        self._ledger = ledger
        self._reload = reload
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._broken: LedgerBroken | None = None
        self.clock = clock = Clock()
        self.tasks = tasks = Tasks()
        self.disks = Disks()
        self.schedule = Schedule(clock)
        settings = loaded.settings
        self.client = Client(settings.platform.base_url, loaded.token)
        self.budget = Budget(settings.platform.requests_per_second, clock.monotonic())
        self.troubles = Troubles(ledger, clock)
        self.farm = Farm(self.client, ledger, clock, self.budget, tasks, settings.dispatch.status_every)
        self._wire(tasks, clock)
        self._apply(loaded)

    def _wire(self, tasks: Tasks, clock: Clock) -> None:
        ledger, troubles, disks = self._ledger, self.troubles, self.disks
        settings = self._loaded.settings.daemon
        self.uploading = Hands(settings.uploads, tasks, clock, "submit")
        self.downloading = Hands(settings.downloads, tasks, clock, "deliver")
        self.filing = Hands(_FILING, tasks, clock, "file")
        wake = _Wake()
        self.intake = Intake(ledger, clock, troubles, tasks, disks, wake.accepted)
        self.publisher = Publisher(ledger)
        graphs = Graphs(disks)
        kinds = Kinds(self.client, ledger, clock, graphs, self.publisher)
        self.submit = Submit(kinds, ledger, clock, troubles, self.farm, self.uploading, wake.take_up, wake.file)
        self.rescue = Rescue(self.client, ledger, clock, self.budget)
        self.dispatch = Dispatch(
            ledger, clock, troubles, self.farm, Same(ledger, graphs, disks), self.rescue, self.submit, self.uploading,
            disks, wake.take_up, wake.deliver, wake.file,
        )  # fmt: skip
        self.track = Track(
            self.client, ledger, clock, troubles, self.budget, tasks, wake.deliver, wake.dispatch, wake.file
        )  # fmt: skip
        self.fetch = Fetch(self.client, clock)
        self.deliver = Deliver(ledger, clock, troubles, self.fetch, self.downloading, disks, wake.file)
        self.file_away = FileAway(ledger, clock, troubles, self.filing, disks)
        wake.pulses = self._pulses = {
            "intake": Pulse(tasks, self.intake.round, "intake"),
            "dispatch": Pulse(tasks, self.dispatch.round, "dispatch"),
            "take_up": Pulse(tasks, self.track.take_up, "take_up"),
            "poll": Pulse(tasks, self.track.tick, "poll"),
            "deliver": Pulse(tasks, self.deliver.round, "deliver"),
            "file": Pulse(tasks, self.file_away.round, "file"),
            "unpublish": Pulse(tasks, self.publisher.round, "unpublish"),
            "probe": Pulse(tasks, self._probe, "probe"),
        }
        self._reading_again = Pulse(tasks, self._read_again, "reload")
        self.uploading.pulse = self._pulses["dispatch"]
        self.downloading.pulse = self._pulses["deliver"]
        self.filing.pulse = self._pulses["file"]
        troubles.changed = wake.all

    def _apply(self, loaded: Loaded) -> None:
        """Put settings into effect, at the start and after a reload."""
        settings, routes = loaded.settings, loaded.routes
        pace = Pace(
            settings.intake.settle,
            settings.intake.settle_network,
            settings.intake.sweep,
            settings.intake.sweep_network,
            settings.intake.ticket_wait,
        )
        self.intake.set_routes(routes, Ignore(settings.intake.ignore), pace)
        for stage in (self.dispatch, self.track, self.deliver, self.file_away, self.publisher):
            stage.set_routes(routes)
        self.client.use_token(loaded.token)
        logs.hide(loaded.token.get_secret_value())
        self.budget.rate = settings.platform.requests_per_second
        self.farm.every = settings.dispatch.status_every
        self.dispatch.places.learns = settings.dispatch.policy == "expected-completion"
        self.track.late.after = settings.dispatch.lag_after
        self.dispatch.set_limits(Limits.of(settings.dispatch))
        self.uploading.limit = settings.daemon.uploads
        self.downloading.limit = settings.daemon.downloads
        self._loaded = loaded

    async def run(self, *, once: bool = False, ready: Callable[[], None] = lambda: None) -> int:
        """Work until told to stop; with `once`, until every inbox is dealt with. Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop)
        self._loop.add_signal_handler(signal.SIGHUP, self._reading_again.nudge)
        began, offline = await self._ledger.read(queries.mark), False
        log.info(
            "service_starting", version=__version__, settings=str(self._loaded.path), routes=len(self._loaded.routes)
        )
        self._start_watchdog()
        try:
            if await self._recovered():
                self._start_ticks()
                await self.intake.first_look(_FIRST_LOOK)
                systemd.ready()
                log.info("service_ready")
                ready()
                if once:
                    await self._until_dealt_with()
                await self._stop.wait()
                offline = any(self.troubles.of("share", route.name) for route in self._loaded.routes)
        finally:
            await self._end()
        if self._broken is not None:
            raise self._broken
        return await self._verdict(began, offline) if once else 0

    def stop(self) -> None:
        """End, as SIGTERM does."""
        self._stop.set()

    def ledger_broke(self, broken: LedgerBroken) -> None:
        """From the ledger's thread: nothing can be promised any more, so nothing is done any more."""
        self._broken = broken
        self._loop.call_soon_threadsafe(self._stop.set)

    def ledger_full(self, full: bool) -> None:
        """From the ledger's thread: its disk is full, or has room again."""
        self._loop.call_soon_threadsafe(self._tell_full, full)

    def _tell_full(self, full: bool) -> None:
        systemd.status(_FULL if full else "working")
        if full:
            systemd.ready()  # at the start too: it waits, and needs no other start
        told = self.troubles.tell("daemon", LEDGER, _FULL) if full else self.troubles.end("daemon", LEDGER)
        self.tasks.start(told, "ledger full")

    def _start_watchdog(self) -> None:
        if (interval := systemd.watchdog_interval()) is not None:
            self.schedule.every(interval, systemd.alive, "watchdog")
        self.schedule.start()

    def _start_ticks(self) -> None:
        pulses = self._pulses
        for name, seconds in (
            ("intake", 0.25), ("poll", 0.25), ("probe", 0.5), ("dispatch", 1.0), ("take_up", 1.0), ("deliver", 1.0),
            ("file", 2.0), ("unpublish", 5.0),
        ):  # fmt: skip
            self.schedule.every(seconds, pulses[name].nudge, name)
        for pulse in pulses.values():
            pulse.nudge()

    async def _recovered(self) -> bool:
        """Recover; False if told to stop before that was done, which on a full disk may take until there is room."""
        recovering, stopping = asyncio.ensure_future(self._recover()), asyncio.ensure_future(self._stop.wait())
        _, left = await asyncio.wait({recovering, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()
        if not recovering.done():
            return False
        await recovering
        return True

    async def _recover(self) -> None:
        """Sort what the last end left half done; the stages find everything else in the ledger by themselves."""
        routes = {route.name: route for route in self._loaded.routes}
        await self._ledger.write(partial(moves.begin_anew, at=self.clock.text()), point="start")
        for job in await self._ledger.read(queries.submitting):
            route = routes.get(job.route)
            verdict = recovery.after_crash(job, route.on_unknown_submit if route is not None else "hold")
            settle = partial(_settle, job=job, verdict=verdict, at=self.clock.text())
            state = await self._ledger.write(settle, point="recovered")
            log.warning("job_recovered", job=job.id, route=job.route, state=state, reason=verdict.sentence)
        await self.rescue.begin_anew()

    async def _probe(self) -> None:
        """Whether a platform that could not be reached, or that failed one kind of call, is well again."""
        due = [calls for calls in CALLS if self.troubles.probe_due("platform", calls)]
        if not due:
            return
        answered, still = await self.farm.probe(due)
        if answered:
            self.track.status_answered()
        for calls in due:
            if calls in still:
                await self.troubles.tell("platform", calls, still[calls])
            else:
                await self.troubles.end("platform", calls)

    async def _read_again(self) -> None:
        systemd.reloading()
        try:
            loaded = await asyncio.to_thread(self._reload)  # it asks the disk, which may hang
        except BrokenSettings as broken:
            for problem in broken.problems:
                log.error("settings_broken", key=problem.key, reason=problem.message)
            log.error("settings_kept", reason="the settings that were in force stay in force")
        except Fault as fault:
            log.error("settings_broken", reason=fault.sentence)
        else:
            for key in _fixed_at_start(self._loaded, loaded):
                log.warning("setting_needs_restart", key=key)
            self._apply(loaded)
            self.troubles.probe_now()
            for hands in (self.uploading, self.downloading, self.filing):
                hands.wake_all()
            log.info("settings_reloaded", routes=len(loaded.routes))
        systemd.ready()
        for pulse in self._pulses.values():
            pulse.nudge()

    async def _until_dealt_with(self) -> None:
        """Until nothing is left that this process could carry on by itself."""
        while not self._stop.is_set():
            if self.intake.idle and not await self._work_left():
                self.stop()
            try:
                await asyncio.wait_for(self._stop.wait(), 0.3)
            except TimeoutError:
                pass

    async def _work_left(self) -> bool:
        left = await self._ledger.read(queries.unfinished)
        paused = await self._ledger.read(quota.paused)
        routes = {route.name for route in self._loaded.routes}
        return await self.publisher.work_left() or any(
            job.route in routes
            and not job.waits
            and job.id not in self.file_away.stuck
            and not self.dispatch.is_stuck(job)
            and self.troubles.of("share", job.route) is None
            and (job.state is not State.QUEUED or self.troubles.of("route", job.route) is None)
            and not (job.unsent and job.route in paused)
            for job in left
        )

    async def _verdict(self, began: int, offline: bool) -> int:
        """0 when all went well, 3 when something failed, is held, had to be left or could not be looked into."""
        ended = await self._ledger.read(lambda c: queries.ended_since(c, began))
        left = await self._ledger.read(queries.unfinished)
        return 3 if offline or ended.get(State.FAILED) or ended.get(State.HELD) or left else 0

    async def _end(self) -> None:
        log.info("service_stopping")
        systemd.stopping()
        self.schedule.stop()
        self.intake.stop()
        for stage in (
            self.dispatch, self.submit, self.track, self.fetch, self.deliver, self.file_away, self.publisher,
        ):  # fmt: skip
            stage.stopped = True
        for pulse in (*self._pulses.values(), self._reading_again):
            pulse.stopped = True
        self.tasks.abandon(POLL)
        self.tasks.abandon(SEEN)
        self.disks.hurry()
        late = await self.tasks.stop(_END_WITHIN)
        await self.client.close()
        self.disks.end()
        log.info("service_stopped", abandoned=late)


def _settle(c: Connection, job: Job, verdict: recovery.Verdict, at: str) -> State:
    last = job.submissions[-1].id if job.submissions else None
    return spares.close(c, job.id, last, at, verdict.outcome, verdict.to, verdict.sentence, fact=verdict.fact)


def _fixed_at_start(old: Loaded, new: Loaded) -> list[str]:
    """Keys that were changed but only count from the next start on."""
    pairs = {
        "platform.base_url": (old.settings.platform.base_url, new.settings.platform.base_url),
        "daemon.state_dir": (old.state_dir, new.state_dir),
        "daemon.log_format": (old.settings.daemon.log_format, new.settings.daemon.log_format),
    }
    return [key for key, (before, now) in pairs.items() if before != now]


class _Wake:
    """How stages wake each other without knowing each other."""

    pulses: dict[str, Pulse]

    def accepted(self) -> None:
        self.pulses["dispatch"].nudge()
        self.pulses["file"].nudge()  # what was refused is told at once

    def dispatch(self) -> None:
        self.pulses["dispatch"].nudge()

    def take_up(self) -> None:
        self.pulses["take_up"].nudge()

    def deliver(self) -> None:
        self.pulses["deliver"].nudge()
        self.pulses["dispatch"].nudge()  # a task that is over leaves its place to another

    def file(self) -> None:
        self.pulses["file"].nudge()

    def all(self) -> None:
        for pulse in self.pulses.values():
            pulse.nudge()


async def serve(
    loaded: Loaded, reload: Callable[[], Loaded], *, once: bool = False, ready: Callable[[], None] = lambda: None
) -> int:
    """Open the ledger and run the daemon on it; returns the exit code. Raises LedgerBroken, BrokenSettings."""
    path = ledger_path(loaded.state_dir)
    app: App | None = None

    def broke(broken: LedgerBroken) -> None:
        if app is not None:
            app.ledger_broke(broken)

    def full(is_full: bool) -> None:
        if app is not None:
            app.ledger_full(is_full)

    asyncio.get_running_loop().set_default_executor(Threads(_THREADS, thread_name_prefix="work"))
    failpoint = failpoints.armed(os.environ)
    if failpoint is not None:
        log.warning("failpoint_armed", point=failpoint.point, after=failpoint.after)
    ledger = Ledger(path, broke, failpoint, full)
    try:
        app = App(loaded, ledger, reload)
        code = await app.run(once=once, ready=ready)
    finally:
        ledger.close()
    if ledger.unwritten:
        raise LedgerBroken(
            f"the disk of the state folder is full, and {ledger.unwritten} last steps of jobs could not be written "
            "down. Free some space before the next start: it finds out what became of them, or asks"
        )
    return code
