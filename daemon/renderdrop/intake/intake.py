"""All inboxes: when each is swept, watched, offline and back.

Owns the order of a round: first whether the share is really there (its markers), then what retried jobs
need back, then hints, sweeps and looks. A share in trouble is only probed; the others go on.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from renderdrop.intake.bring_back import bring_back
from renderdrop.intake.inbox import Inbox
from renderdrop.intake.watch import Watcher
from renderdrop.ledger import moves, queries
from renderdrop.ledger.store import Ledger
from renderdrop.model.errors import ShareOffline
from renderdrop.model.route import Route
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.disk import Disk, Disks
from renderdrop.runtime.tasks import Tasks
from renderdrop.runtime.troubles import Troubles
from renderdrop.share.ignore import Ignore
from renderdrop.share.marker import Folders, prepare, writable
from renderdrop.share.mounts import Mount, mount_of

log = structlog.get_logger()

_MANY: Final = 500
"""More hints than this, and a sweep is cheaper than a look at each."""

_BACK_EVERY: Final = 1.0
"""Seconds between two looks for jobs that a person wants run again."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Settle times and sweep intervals, seconds, for local and for network file systems, and how long a file waits
    for a ticket."""

    settle: float
    settle_network: float
    sweep: float
    sweep_network: float
    ticket_wait: float = 10.0


@dataclass(slots=True)
class _Station:
    """What the intake keeps of one route."""

    inbox: Inbox
    folders: Folders
    disk: Disk
    pace: Pace
    network: bool | None = None
    """Whether it is swept only; None until the share was there to be asked."""
    root: str = ""
    """How the hints' paths begin: the inbox without links, and a slash."""
    sweep_at: float = 0.0
    back_at: float = 0.0
    ready: bool = False
    visited: bool = False
    """A visit is under way: on a hanging share it may take long."""
    visits: int = 0
    hints: set[str] = field(default_factory=set)
    sweep_now: bool = True
    watch_refused: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hint(self, path: str | None) -> None:
        """From watchdog's thread."""
        with self.lock:
            if path is None or len(self.hints) >= _MANY:
                self.sweep_now = True
                self.hints.clear()
            elif not self.sweep_now:
                self.hints.add(path)

    def taken_hints(self) -> tuple[bool, list[str]]:
        with self.lock:
            sweep, hints = self.sweep_now, list(self.hints)
            self.sweep_now = False
            self.hints.clear()
            return sweep, hints


class Intake:
    """Every route's inbox. `accepted` is called when there are new jobs."""

    def __init__(
        self, ledger: Ledger, clock: Clock, troubles: Troubles, tasks: Tasks, disks: Disks, accepted: Callable[[], None]
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._clock = clock
        self._troubles = troubles
        self._tasks = tasks
        self._disks = disks
        self._accepted = accepted
        self._watcher = Watcher()
        self._looked = asyncio.Event()
        self._stations: dict[str, _Station] = {}
        self._waits: dict[str, tuple[str, float]] = {}
        """Since when (wall, monotonic) jobs wait for partners; it outlives the inboxes when settings are read again."""
        self.stopped = False

    def set_routes(self, routes: tuple[Route, ...], ignore: Ignore, pace: Pace) -> None:
        """Begin with these routes, or go on with them after the settings were read again."""
        for inbox in {s.folders.inbox for s in self._stations.values()} - {route.inbox for route in routes}:
            self._watcher.drop(inbox)
        by_name = {route.name: route for route in routes}
        self._stations = {name: self._station(route, by_name, ignore, pace) for name, route in by_name.items()}

    def _station(self, route: Route, routes: Mapping[str, Route], ignore: Ignore, pace: Pace) -> _Station:
        return _Station(
            inbox=Inbox(
                route, self._ledger, self._clock, self._disks, ignore, pace.settle_network, leases=False,
                ticket_wait=pace.ticket_wait, routes=routes, waits=self._waits,
            ),
            folders=Folders(route.inbox, route.outbox, route.done, route.failed),
            disk=self._disks.of(route),
            pace=pace,
        )  # fmt: skip

    @property
    def idle(self) -> bool:
        """Whether every inbox that can be reached was dealt with."""
        return all(
            station.inbox.idle or self._troubles.of("share", name) is not None
            for name, station in self._stations.items()
        )

    async def round(self) -> None:
        """Visit every inbox that is not being visited, each by itself: a share that hangs holds up no other."""
        for name, station in self._stations.items():
            if not station.visited and not self.stopped:
                station.visited = True
                self._tasks.start(self._visit(name, station), f"intake {name}", partial(self._left, station))

    async def first_look(self, seconds: float) -> None:
        """Wait until every inbox was visited once, but no longer than this."""
        try:
            await asyncio.wait_for(self._looked.wait(), seconds)
        except TimeoutError:
            log.warning("inbox_slow", routes=[n for n, s in self._stations.items() if not s.visits])

    def _left(self, station: _Station, _: BaseException | None) -> None:
        station.visited = False
        station.visits += 1
        if all(s.visits for s in self._stations.values()):
            self._looked.set()

    def stop(self) -> None:
        """Take nothing more."""
        self.stopped = True
        self._watcher.stop()

    async def _visit(self, name: str, station: _Station) -> None:
        trouble = self._troubles.of("share", name)
        if trouble is not None and not self._troubles.probe_due("share", name):
            return
        try:
            if trouble is not None or not station.ready:
                await self._arrive(name, station)
                await self._troubles.end("share", name)
            if (now := self._clock.monotonic()) >= station.back_at:
                station.back_at = now + _BACK_EVERY
                routes = {name: other.inbox.route for name, other in self._stations.items()}
                await bring_back(station.inbox.route, self._ledger, self._clock, self._disks, routes)
            if await self._look(station):
                self._accepted()
        except ShareOffline as fault:
            station.ready = False
            await self._troubles.tell("share", name, fault.sentence)

    async def _arrive(self, name: str, station: _Station) -> None:
        """The share's markers are where they belong, its folders are made; from now on it is watched."""
        inbox = str(station.folders.inbox)
        seen = await self._ledger.read(queries.seen_folders)
        self._heed(station, await station.disk(mount_of, station.folders.inbox))
        new = [place for place in station.folders.each if place not in seen]
        await station.disk(prepare, station.folders, station.folders.inbox in seen, new)
        await station.disk(writable, station.folders.outbox)
        at = self._clock.text()

        def see(c: Connection) -> None:
            for place in new:
                moves.see_folder(c, str(place), at)

        if new:
            await self._ledger.write(see, point="share_seen")
        if not station.ready:
            log.info("inbox_open", route=name, path=inbox)
        station.ready = True
        station.sweep_at = 0.0

    @staticmethod
    def _heed(station: _Station, mount: Mount) -> None:
        """What kind of file system the inbox lies on, now that it can be asked; after a while it may be another one."""
        inbox, pace = station.inbox, station.pace
        inbox.settle = pace.settle_network if mount.network else pace.settle
        inbox.use_leases(not mount.network)
        if mount.network and not station.network:
            log.info("inbox_swept_only", route=inbox.route.name, file_system=mount.fs_type)
        station.network = mount.network

    async def _look(self, station: _Station) -> int:
        inbox, now = station.inbox, self._clock.monotonic()
        sweep, hints = station.taken_hints()
        if now >= station.sweep_at:
            sweep = True
            # The marker first: in an empty mount point every file would seem to have been taken away.
            await station.disk(prepare, station.folders, True)
            await station.disk(self._keep_watch, station)
        if sweep:
            await inbox.sweep()
            every = station.pace.sweep_network if station.network else station.pace.sweep
            station.sweep_at = self._clock.monotonic() + every
        elif hints:
            await inbox.glance([hint.removeprefix(station.root) for hint in hints if hint.startswith(station.root)])
        return await inbox.look()

    def _keep_watch(self, station: _Station) -> None:
        if station.network:
            return
        station.root = f"{station.folders.inbox.resolve()}/"
        try:
            self._watcher.keep(station.folders.inbox, station.hint)
            station.watch_refused = False
        except OSError as error:
            if not station.watch_refused:
                log.warning("watch_refused", route=station.inbox.route.name, reason=str(error.strerror or error))
            station.watch_refused = True
