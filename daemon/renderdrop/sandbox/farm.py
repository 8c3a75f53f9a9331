"""The platform's machines, as a simulation: clusters that grow and shrink with their queue.

Owns: instances, queues and the autoscaler. Pure: `now` (seconds of any monotonic clock) is passed in,
chance comes from a seeded generator, so that an hour of platform passes in a millisecond of test.
Must never know what a task renders, or who asked.
"""

import random
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

UNTOLD_CEILING: Final = 2
"""How far a cluster that shows `max_nodes = -1` can grow all the same: untold is not zero."""

STUCK: Final = float("inf")


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """A cluster's figures. `curr_nodes` stay warm when there is no work; it grows up to `max_nodes` (-1: untold).

    `fixed`: the status list shows exactly these figures whatever happens inside. `speed`: 2.0 halves run times.
    """

    name: str
    display_name: str
    curr_nodes: int
    max_nodes: int
    speed: float = 1.0
    fixed: bool = False


CLUSTERS: Final = (
    ClusterSpec("GPU-4090", "GPU-4090-24GB-单卡(推荐)", 2, 22),
    ClusterSpec("GPU-A800", "GPU-A800-80GB-单卡(推荐)", 8, 21),
    ClusterSpec("GPU-A800x2", "GPU-A800-80GB-2卡", 0, 6),
    ClusterSpec("GPU-A800x4", "GPU-A800-80GB-4卡", 0, 2),
    ClusterSpec("GPU-A800x8", "GPU-A800-80GB-8卡", 0, -1),
)


@dataclass(slots=True)
class Work:
    """One task's stay on a cluster; times are of the farm's clock, None until they happen."""

    number: int
    cluster: str
    seconds: float
    queued_at: float
    started_at: float | None = None
    ended_at: float | None = None

    def done(self, now: float) -> float:
        """The share of its run that has passed, 0 to 1; a stuck one stays at 0."""
        if self.started_at is None:
            return 0.0
        if self.ended_at is not None or self.seconds <= 0:
            return 1.0
        return min(1.0, max(0.0, now - self.started_at) / self.seconds)


@dataclass(slots=True)
class _Cluster:
    spec: ClusterSpec
    foreign: int = 0
    active: bool = True
    queue: deque[Work] = field(default_factory=deque)
    running: list[Work] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)  # since when
    booting: list[float] = field(default_factory=list)  # ready when

    @property
    def instances(self) -> int:
        return len(self.running) + len(self.idle)

    @property
    def ceiling(self) -> int:
        spec = self.spec
        most = max(spec.curr_nodes, UNTOLD_CEILING) if spec.max_nodes < 0 else spec.max_nodes
        if spec.fixed:
            most = max(most, spec.curr_nodes, 1)  # shown figures say nothing there, and its tasks must run
        return max(0, most - self.foreign)

    @property
    def floor(self) -> int:
        return min(self.ceiling, max(0, self.spec.curr_nodes - self.foreign))

    def shown(self) -> dict[str, str | int]:
        curr = self.spec.curr_nodes if self.spec.fixed else self.instances + self.foreign
        return {
            "name": self.spec.name,
            "display_name": self.spec.display_name,
            "curr_nodes": curr,
            "max_nodes": self.spec.max_nodes,
        }

    def next_event(self) -> float:
        ends = (w.started_at + w.seconds for w in self.running if w.started_at is not None)
        return min((*self.booting, *ends), default=STUCK)

    def step(self, now: float) -> list[Work]:
        """Boots and runs that end by `now`; the freed instances take the next in the queue."""
        ready = [at for at in self.booting if at <= now]
        self.booting = [at for at in self.booting if at > now]
        self.idle += ready
        ended = [w for w in self.running if w.started_at is not None and w.started_at + w.seconds <= now]
        for work in ended:
            work.ended_at = now
            self.running.remove(work)
            self.idle.append(now)
        self.assign(now)
        return ended

    def assign(self, now: float) -> None:
        while self.queue and self.idle:
            self.idle.pop()
            work = self.queue.popleft()
            work.started_at = now
            self.running.append(work)

    def scale(self, now: float, boot_seconds: float, idle_seconds: float) -> None:
        """One turn of the autoscaler: boot what the queue wants at once, let go of one idle instance at a time."""
        have = self.instances + len(self.booting)
        wanted = min(self.ceiling, max(self.floor, len(self.running) + len(self.queue)))
        self.booting += [now + boot_seconds] * (wanted - have)
        if have > self.ceiling:
            del self.idle[: have - self.ceiling]  # others took the GPUs: running tasks keep theirs to the end
        elif have > wanted and self.idle and now - min(self.idle) >= idle_seconds:
            self.idle.remove(min(self.idle))


class Farm:
    """All clusters. `advance` first, then ask: everything is told as of the last `now`."""

    def __init__(
        self,
        clusters: Iterable[ClusterSpec] = CLUSTERS,
        *,
        now: float,
        render_seconds: tuple[float, float] = (1.0, 3.0),
        boot_seconds: float = 1.0,
        scale_every: float = 0.5,
        idle_seconds: float = 5.0,
        seed: int = 7,
        foreign_load: Mapping[str, int] | None = None,
    ) -> None:
        self._render_seconds = render_seconds
        self._boot_seconds = boot_seconds
        self._scale_every = scale_every
        self._idle_seconds = idle_seconds
        self._random = random.Random(seed)
        self._next_tick = now + scale_every
        foreign = foreign_load or {}
        self._apart: list[Work] = []
        self._clusters = {spec.name: _Cluster(spec, foreign.get(spec.name, 0)) for spec in clusters}
        for cluster in self._clusters.values():
            cluster.idle = [now] * cluster.floor

    def status(self) -> list[dict[str, str | int]]:
        """The active clusters as the platform lists them."""
        return [cluster.shown() for cluster in self._clusters.values() if cluster.active]

    def knows(self, name: str) -> bool:
        return name in self._clusters

    def is_active(self, name: str) -> bool:
        return name in self._clusters and self._clusters[name].active

    def accept(self, number: int, cluster: str, now: float, *, stuck: bool = False) -> Work:
        """Queue a task; its run time is drawn now, so that the same seed gives the same evening."""
        home = self._clusters[cluster]
        seconds = self._random.uniform(*self._render_seconds) / home.spec.speed
        work = Work(number, cluster, STUCK if stuck else seconds, now)
        home.queue.append(work)
        home.assign(now)
        return work

    def accept_apart(self, number: int, now: float, *, stuck: bool = False) -> Work:
        """A task that needs none of the clusters (a third party's model): it runs at once, for as long as others."""
        seconds = self._random.uniform(*self._render_seconds)
        work = Work(number, "", STUCK if stuck else seconds, now, started_at=now)
        self._apart.append(work)
        return work

    def next_event(self) -> float:
        """When something happens next by itself."""
        apart = (work.queued_at + work.seconds for work in self._apart)
        return min(self._next_tick, *(c.next_event() for c in self._clusters.values()), *apart, STUCK)

    def advance(self, now: float) -> list[Work]:
        """Let time pass up to `now`, event by event; returns the tasks whose run has ended."""
        ended: list[Work] = []
        while (at := self.next_event()) <= now:
            for cluster in self._clusters.values():
                ended += cluster.step(at)
            ended += self._step_apart(at)
            if at >= self._next_tick:
                for cluster in self._clusters.values():
                    cluster.scale(at, self._boot_seconds, self._idle_seconds)
                self._next_tick = at + self._scale_every
        return ended

    def _step_apart(self, now: float) -> list[Work]:
        ended = [work for work in self._apart if work.queued_at + work.seconds <= now]
        for work in ended:
            work.ended_at = now
            self._apart.remove(work)
        return ended

    def change(
        self,
        name: str,
        now: float,
        *,
        curr_nodes: int | None = None,
        max_nodes: int | None = None,
        speed: float | None = None,
        fixed: bool | None = None,
        active: bool | None = None,
        foreign: int | None = None,
    ) -> None:
        """Change a cluster at run time; what is None stays. Its tasks go on even when it leaves the list.

        Raises KeyError for a name that is not a cluster.
        """
        cluster = self._clusters[name]
        old = cluster.spec
        cluster.spec = replace(
            old,
            curr_nodes=old.curr_nodes if curr_nodes is None else curr_nodes,
            max_nodes=old.max_nodes if max_nodes is None else max_nodes,
            speed=old.speed if speed is None else speed,
            fixed=old.fixed if fixed is None else fixed,
        )
        cluster.active = cluster.active if active is None else active
        cluster.foreign = cluster.foreign if foreign is None else foreign
        if curr_nodes is not None:  # said outright, so it is so: no boot, no wait for the idle
            spare = max(0, cluster.floor - len(cluster.running))
            cluster.idle = [now] * spare
            cluster.booting = []
            cluster.assign(now)
