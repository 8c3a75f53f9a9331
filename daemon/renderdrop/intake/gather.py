"""Settled files by the group that they belong to, until a job is made of them.

Owns which groups are to be decided now: those that changed and stand still as a whole, and those whose time has come.
It must cost what has changed, not what lies there: a night's 100,000 files arrive one by one. No I/O, no clock: the
monotonic time is passed in.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from renderdrop.intake.bundle import Part, Piece, batch_folders, key_of, part_of
from renderdrop.intake.settle import Sighting
from renderdrop.model.names import natural
from renderdrop.model.route import Route


@dataclass(slots=True)
class Group:
    """Files of one key."""

    key: str
    order: str
    """Its place among others, by name."""
    settled: dict[str, Sighting] = field(default_factory=dict)
    moving: set[str] = field(default_factory=set)
    """Paths that are still being watched until they settle."""
    empty: set[str] = field(default_factory=set)
    """Paths that stand still without a single byte: they hold up nobody."""
    alarm: float | None = None
    """When it is to be decided although nothing has changed, monotonic."""
    rests: bool = False
    """It only waits for what people may still drop."""
    deadline: float | None = None
    """When its partners have been missing for too long, monotonic."""
    told: str = ""
    """What it was last said to wait for."""

    @property
    def pieces(self) -> list[Piece]:
        """What lies there and stands still."""
        return [Piece(s.path, s.kind) for s in self.settled.values()] + [Piece(path, empty=True) for path in self.empty]


class Gather:
    """The groups of one inbox."""

    def __init__(self, route: Route) -> None:
        self.batches: dict[str, Sighting] = {}
        """Batch tickets that have settled, by path."""
        self._route = route
        self._keys: dict[str, str | None] = {}
        self._groups: dict[str, Group] = {}
        self._moving_batches: set[str] = set()
        self._ready: dict[str, None] = {}
        """In the order in which they came, which is nearly that of their names: sorting them costs next to nothing."""
        self._alarms: list[tuple[float, str]] = []

    @property
    def idle(self) -> bool:
        """Whether nothing is to be decided before somebody drops something, or for a long time."""
        return not self._ready and all(group.rests for group in self._groups.values() if group.settled)

    @property
    def paths(self) -> list[str]:
        """Everything that has settled."""
        return [*self.batches, *(path for group in self._groups.values() for path in group.settled)]

    def key(self, path: str) -> str | None:
        """The key of a path's group; None for a batch ticket."""
        return self._keys[path] if path in self._keys else key_of(self._route, path)

    def settled(self, path: str) -> Sighting | None:
        """The sighting of a path that has settled and is no job's yet (or only one's that waits for partners)."""
        if path in self.batches:
            return self.batches[path]
        group = self._groups.get(self._keys.get(path) or "")
        return group.settled.get(path) if group is not None else None

    def watch(self, path: str, empty: bool = False) -> None:
        """A path is being looked at until it settles; `empty`: it stands still already, but without a byte."""
        if (group := self._group(path)) is None:
            self.batches.pop(path, None)
            (self._moving_batches.discard if empty else self._moving_batches.add)(path)
            return
        if path in (group.empty if empty else group.moving):
            return
        self._remove(group, path)
        (group.empty if empty else group.moving).add(path)
        self._changed(group)

    def settle(self, s: Sighting) -> None:
        """A path has settled: its group may be decided."""
        if (group := self._group(s.path)) is None:
            self._moving_batches.discard(s.path)
            self.batches[s.path] = s
            return
        self._remove(group, s.path)
        group.settled[s.path] = s
        self._changed(group)

    def forget(self, path: str) -> None:
        """A path is not there any more."""
        if (group := self._group(path)) is not None:
            self._remove(group, path)
            self._changed(group)
        self._drop(path, group)

    def done(self, group: Group, paths: Iterable[str]) -> None:
        """These are a job's from now on."""
        for path in paths:
            self._remove(group, path)
            self._drop(path, group)

    def again(self, group: Group, at: float | None = None, *, rests: bool = False) -> None:
        """Decide the group again: when it changes, and at `at`; without a time and not resting, as soon as may be."""
        group.rests, group.alarm = rests, at
        if at is not None:
            heappush(self._alarms, (at, group.key))
        elif not rests:
            self._ready[group.key] = None

    def take(self, now: float) -> list[Group]:
        """The groups that are to be decided now. A batch ticket that still changes holds up all that it is for."""
        while self._alarms and self._alarms[0][0] <= now:
            at, key = heappop(self._alarms)
            if key in self._groups and self._groups[key].alarm == at:
                self._groups[key].alarm = None
                self._ready[key] = None
        taken = []
        for key in list(self._ready):
            group = self._groups.get(key)
            if group is None or not group.settled or group.moving:
                del self._ready[key]  # it comes again when it has settled
            elif not self._held_up(group):
                del self._ready[key]
                taken.append(group)
        return sorted(taken, key=lambda group: (group.order, group.key))

    def _held_up(self, group: Group) -> bool:
        if not self._moving_batches:
            return False
        folders = batch_folders(self._route, next(iter(group.settled)))
        return any(path.rpartition("/")[0] in folders for path in self._moving_batches)

    def _group(self, path: str) -> Group | None:
        """The group of a path; None for a batch ticket."""
        key = self._keys.setdefault(path, self.key(path))
        if key is None:
            return None
        if (group := self._groups.get(key)) is None:
            group = self._groups[key] = Group(key, natural(key))
        return group

    def _changed(self, group: Group) -> None:
        group.rests = False
        if not any(part_of(self._route, path) is Part.MEDIA for path in group.settled):
            group.deadline, group.told = None, ""
        if group.settled and not group.moving:
            self._ready[group.key] = None

    @staticmethod
    def _remove(group: Group, path: str) -> None:
        group.settled.pop(path, None)
        group.moving.discard(path)
        group.empty.discard(path)

    def _drop(self, path: str, group: Group | None) -> None:
        self._keys.pop(path, None)
        self.batches.pop(path, None)
        self._moving_batches.discard(path)
        if group is not None and not (group.settled or group.moving or group.empty):
            self._groups.pop(group.key, None)
            self._ready.pop(group.key, None)
