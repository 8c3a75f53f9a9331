"""Whose turn it is to be looked at: one heap of due times, and the price that keeps all looks within the budget. Pure.

Owns the plan of this process: when each task is due, what its looks have told of its start and its progress, and what
is learned from it when it succeeds. It must never ask the platform or the ledger, and it knows no clock: times are
monotonic seconds and passed in. It holds no truth: it is made anew after a restart.

**The price.** An interval that is planned at the price p goes with √p (`cadence`): I = c √p. So the plan keeps the
sum of all 1/c, the *demand*, and p = (demand / looks a second)² is the price at which all of them fit; where that is
below `FREE`, the budget is no limit. It is a running sum, not a round over all tasks: each look costs the same
however many tasks there are, and each task pays the price of the moment at which it is planned. √(p / FREE) is the
*stretch*: how many times longer every interval is than it would be with budget enough.

Of those who were planned while there were more, or the budget gave less, each look would come as late as it was put
off then. So whenever there are half as many for the same pace as there were (or twice the pace for as many), all are
planned anew, a few in each tick, and those who would be due sooner now are.

**The queue.** A task that has not begun cannot be over. Tasks of one cluster are taken to begin in the order in which
they were submitted, so only the first few are looked at, and one that was found begun tells that those in front of it
have, and that the next may have. Where a platform does otherwise that is found out at the next look, which says
"pending", and nothing is concluded from that task's place any more.
"""

import heapq
import math
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from renderdrop.tracking.cadence import (
    FIRST,
    FREE,
    MOST,
    Hint,
    Odds,
    blurred,
    informed,
    next_look,
    next_look_pending,
    usual,
)
from renderdrop.tracking.learned import Learned, bracket

_USED: Final = 1.3
"""What is planned, as a share of the budget. Above 1, because plans are not all kept: what was planned for soon is soon
over, and what comes a little too much waits its turn in the heap. Below, a part of the budget would lie idle."""
_SURE: Final = 0.3
"""Times known no better than to this share of the run teach nothing of progress."""
_ROUNDS: Final = 4.0
_ROUNDS_PENDING: Final = 1.2
"""Nobody is looked at more rarely than once in so many rounds in which all would have their turn (or once in `MOST`):
else what was guessed wrongly, of a run or of a queue's pace, would feed on itself."""
_SCARCE: Final = 2.0
"""From such a stretch on, whoever has others of ours in front of it is taken to wait, without a look."""
_MOST_PULLED: Final = 8
"""Tasks at the head of a queue that are looked at because of one that began."""
_AT_ONCE: Final = 64
"""Tasks that are planned anew in one go."""
_STARTS: Final = 6
"""Starts on a cluster that tell the gap between two."""


@dataclass(slots=True)
class _Task:
    key: str
    workflow: str
    cluster: str
    place: tuple[float, int]
    """Its place in the cluster's queue: when it was submitted."""
    looked: float
    """When it was last known to be with the platform and not over."""
    rests: float = -math.inf
    """A look failed: not before then."""
    due: float | None = None
    """None while it is being looked at; a place in the heap that says otherwise is old."""
    started: float | None = None
    unsure: float = 0.0
    """Seconds within which `started` lies."""
    percent: float | None = None
    """The highest that was seen."""
    marks: dict[int, tuple[float, float]] = field(default_factory=dict)
    """The first percentage seen of each bracket, and the seconds of the run at which it was."""
    hint: Hint | None = None
    demand: float = 0.0
    run: float = 0.0
    """Its usual run time, while it runs."""
    waits: bool = False
    """A look found it pending."""
    overtaken: bool = False
    """It did not begin in its turn, so nothing is concluded from its place any more."""


@dataclass(slots=True)
class _Queue:
    """A cluster as far as we see it."""

    pending: list[tuple[tuple[float, int], str]] = field(default_factory=list)
    running: int = 0
    seconds: float = 0.0
    """The usual run times of those that run, added up."""
    starts: deque[float] = field(default_factory=lambda: deque(maxlen=_STARTS))
    streak: int = 0
    """Looks in a row that found one begun or done: then more of them may have."""
    last: tuple[tuple[float, int], float] | None = None
    """The place of the last one that was found begun, and when that can have been at the earliest."""


class Plan:
    """Due looks at all open tasks. `pace`: looks a second that the budget gives now."""

    def __init__(self, pace: float, learned: Learned | None = None) -> None:
        self.pace = pace
        self.learned = learned or Learned()
        self._tasks: dict[str, _Task] = {}
        self._queues: dict[str, _Queue] = {}
        self._due: list[tuple[float, str]] = []
        self._demand = 0.0
        self._count = 0

        self._crowd = 0.0
        """Seconds in which all would have their turn: the most since they were last planned anew."""
        self._anew: list[str] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def adapt(self, pace: float, now: float) -> None:
        """The budget gives so many looks a second now. To be told in each tick."""
        self.pace = pace
        crowd = len(self._tasks) / pace
        self._crowd = max(self._crowd, crowd)
        if crowd <= self._crowd / 2:
            self._crowd, self._anew = crowd, list(self._tasks)
        for key in self._anew[-_AT_ONCE:]:
            task = self._tasks.get(key)
            if task is not None and task.due is not None:
                self._hasten(task, now)
        del self._anew[-_AT_ONCE:]

    def follow(
        self, key: str, workflow: str, cluster: str, now: float, *, waited: float = 0.0, runs: float | None = None
    ) -> None:
        """A task, submitted `waited` seconds ago and seen running since `runs` seconds (None: not yet)."""
        self.forget(key)
        self._count += 1
        task = _Task(key, workflow, cluster, (now - waited, self._count), now)
        self._tasks[key] = task
        queue = self._queues.setdefault(cluster, _Queue())
        if runs is None:
            task.looked = now - waited
            insort(queue.pending, (task.place, key))
        else:
            task.started, task.unsure = now - runs, 0.0
            queue.running += 1
            task.run = usual(self._odds(task))
            queue.seconds += task.run
        before = self._ahead(task)
        behind = task.started is None and before > 0
        if behind and self._stretch() < _SCARCE:
            behind = self._tasks[queue.pending[before - 1][1]].waits
        self._set(task, now, self._pending(task, now) if behind else FIRST * self._stretch())

    def forget(self, key: str) -> None:
        """It is followed no more, however it ended."""
        task = self._tasks.pop(key, None)
        if task is None:
            return
        self._demand -= task.demand
        queue = self._queues[task.cluster]
        if task.started is not None:
            queue.running -= 1
            queue.seconds -= task.run
        else:
            _drop(queue.pending, (task.place, key))
        if not self._tasks:
            self._demand = 0.0  # sums of floats drift
            self._due.clear()
        if not queue.running and not queue.pending:
            del self._queues[task.cluster]

    def next_due(self) -> float | None:
        """When somebody is due next; None while nobody is."""
        while self._due:
            due, key = self._due[0]
            task = self._tasks.get(key)
            if task is not None and task.due == due:
                return due
            heapq.heappop(self._due)
        return None

    def take(self, now: float) -> str | None:
        """One that is due by `now` and is being looked at from here on, until `saw`, `missed` or `forget`."""
        due = self.next_due()
        if due is None or due > now:
            return None
        key = heapq.heappop(self._due)[1]
        self._tasks[key].due = None
        return key

    def saw(self, key: str, now: float, status: str, percent: float | None) -> None:
        """A look found it not over."""
        task = self._tasks.get(key)
        if task is None:
            return
        queue = self._queues[task.cluster]
        if status == "pending":
            if task.started is not None:  # its turn was not its turn, or its instance went away
                queue.running -= 1
                queue.seconds -= task.run
                insort(queue.pending, (task.place, key))
                task.started, task.percent, task.hint, task.overtaken = None, None, None, True
                task.marks.clear()
            task.looked, task.waits, queue.streak = now, True, 0
            self._set(task, now, self._pending(task, now))
            return
        if task.started is None:
            self._begin(task, now)
        gap = now - max(task.looked, task.started or 0.0)
        task.looked = now
        self._note(task, now, percent, gap)
        self._set(task, now, self._running(task, now))

    def missed(self, key: str, now: float, least: float) -> None:
        """A look that told nothing: the next as if it had not been, yet not before `least` seconds."""
        task = self._tasks.get(key)
        if task is not None:
            wait = self._pending(task, now) if task.started is None else self._running(task, now)
            task.rests = now + least
            self._set(task, now, max(least, wait))

    def succeeded(self, key: str, now: float) -> None:
        """A look found it done: what it teaches is learned, and it is followed no more."""
        task = self._tasks.get(key)
        if task is None:
            return
        if task.started is None:
            # Begun and ended since the last look: a third of that time, if nothing else is known.
            self._begin(task, now)
            task.started, task.unsure = now - task.unsure * 2 / 3, task.unsure / 3
            task.looked = now - task.unsure
        assert task.started is not None
        # It ended between the last two looks.
        seen = max(task.looked, task.started)
        seconds, unsure = (now + seen) / 2 - task.started, task.unsure + now - seen
        self.learned.ran(task.workflow, task.cluster, seconds, unsure)
        if unsure <= _SURE * seconds:
            self.learned.progressed(task.workflow, task.marks.values(), seconds)
        cluster = task.cluster
        self.forget(key)
        self._pull(cluster, now)

    def _begin(self, task: _Task, now: float) -> None:
        """A look found that it began: some time since the look before, and so did those that were in front of it."""
        queue = self._queues[task.cluster]
        # What was heard earlier may be told later, after a write that had to wait.
        queue.starts.append(max(now, queue.starts[-1]) if queue.starts else now)
        before = queue.pending[: bisect_left(queue.pending, (task.place, task.key))][:_AT_ONCE]
        self._run(task, now)
        for _, key in before:
            other = self._tasks[key]
            if other.due is not None and not other.overtaken:
                self._run(other, now)
                self._set(other, now, max(FIRST, self._running(other, now)))
        self._pull(task.cluster, now)

    def _run(self, task: _Task, now: float) -> None:
        queue = self._queues[task.cluster]
        _drop(queue.pending, (task.place, task.key))
        # First come, first served: not before one that was in front of it can have begun.
        earliest = task.looked
        if queue.last is not None and queue.last[0] < task.place:
            earliest = min(now, max(earliest, queue.last[1]))
        queue.last = task.place, earliest
        task.started, task.unsure = (earliest + now) / 2, now - earliest
        task.run = usual(self._odds(task))
        queue.running += 1
        queue.seconds += task.run

    def _pull(self, cluster: str, now: float) -> None:
        """Something began or ended there: the next in the queue may have begun too, and the more of them the more
        of the last looks found so."""
        queue = self._queues.get(cluster)
        if queue is None:
            return
        queue.streak += 1
        soon = FIRST * self._stretch()
        for _, key in queue.pending[: min(queue.streak, _MOST_PULLED)]:
            task = self._tasks[key]
            if task.due is not None and task.due > now + soon and now - task.looked > soon:
                self._set(task, now, soon)

    def _note(self, task: _Task, now: float, percent: float | None, gap: float) -> None:
        """Progress that was not there at the look before, `gap` seconds ago. Where it stands still there is no news."""
        if percent is None or task.started is None or (task.percent is not None and percent <= task.percent):
            return
        known = task.percent is not None or task.unsure > 0.0
        task.percent = percent
        if not known:  # followed since a restart: who knows how long it has shown that
            return
        age, unsure = now - task.started, task.unsure + gap
        if unsure < _SURE * age:
            task.marks.setdefault(bracket(percent), (percent, age))
        hint = self.learned.hint(task.workflow, percent, age, unsure)
        if hint is not None and (task.hint is None or hint.variance < 2.0 * task.hint.variance):
            task.hint = hint

    def _ahead(self, task: _Task) -> int:
        pending = self._queues[task.cluster].pending
        return bisect_left(pending, (task.place, task.key))

    def _gap(self, queue: _Queue) -> float | None:
        """Seconds between two starts: one of n that run for r seconds ends every r/n."""
        if queue.running:
            return max(0.0, queue.seconds) / queue.running**2
        if len(queue.starts) > 1:
            return (queue.starts[-1] - queue.starts[0]) / (len(queue.starts) - 1)
        return None

    def _odds(self, task: _Task) -> Odds:
        return self.learned.odds(task.workflow, task.cluster)

    def _stretch(self) -> float:
        """How many times longer than wished for every interval must be."""
        return max(1.0, self._demand / (_USED * self.pace) / math.sqrt(FREE))

    def _most(self, rounds: float) -> float:
        """The longest interval, in seconds."""
        return max(MOST, rounds * len(self._tasks) / self.pace)

    def _pending(self, task: _Task, now: float) -> float:
        odds, queue, stretch = self._odds(task), self._queues[task.cluster], self._stretch()
        return next_look_pending(
            odds, now - task.place[0], self._ahead(task), self._gap(queue), FREE * stretch * stretch,
            self._most(_ROUNDS_PENDING),
        )  # fmt: skip

    def _running(self, task: _Task, now: float) -> float:
        assert task.started is not None
        stretch = self._stretch()
        odds = blurred(informed(self._odds(task), task.hint), task.unsure)
        return next_look(odds, now - task.started, FREE * stretch * stretch, self._most(_ROUNDS))

    def _hasten(self, task: _Task, now: float) -> None:
        """As if it had been looked at now, if that is sooner."""
        wait = self._pending(task, now) if task.started is None else self._running(task, now)
        wait = max(wait, task.rests - now)
        if task.due is not None and task.due > now + wait:
            self._set(task, now, wait)

    def _set(self, task: _Task, now: float, wait: float) -> None:
        # What it would ask for, looks a second, at a price of 1.
        demand = self._stretch() * math.sqrt(FREE) / wait
        self._demand += demand - task.demand
        task.demand = demand
        task.due = now + wait
        heapq.heappush(self._due, (task.due, task.key))


def _drop(pending: list[tuple[tuple[float, int], str]], one: tuple[tuple[float, int], str]) -> None:
    at = bisect_left(pending, one)
    if at < len(pending) and pending[at] == one:
        del pending[at]
