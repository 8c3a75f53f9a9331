"""What to expect of one cluster: when instances come free for us, and how many of our tasks should wait there.

Pure. The platform tells instances and a ceiling, no queue: the rest is inferred from our own tasks.

**When instances come free.** A cluster is a list of moments at which an instance takes a task of ours:
- *free now*: instances that are not at our work. Most of them may be at other people's, so they are believed only as
  far as is proven: FIRST of them, and one more for each task of ours that runs. That doubles with every turn in which
  all that was sent has started (slow start; Jacobson 1988, "Congestion avoidance and control"). Once a task of ours
  has waited for longer than SPOT seconds there is none, whatever the status says.
- *to be booted*: the room below the ceiling. The autoscaler boots for a task that waits, so the i-th waiting one that
  finds no free instance has its own at (boot time - what it has waited).
- *busy with ours*: a run of expected length m that has lasted e has max(m - e, m / 8) left: a run that is late
  already says little more than that it is late.
Our waiting tasks take these moments in their order (first come, first served), and each gives its instance back
after its run; the next task we send would take the next moment. That is the event calendar of a queue with c servers,
run forward on means.

**Other people's queues** show in how long our tasks wait. Whoever comes first is served first, so of the instances that
come free the share that comes to us is the share of ours among the tasks that run; and of what the oldest of ours has
waited, that share is explained by ours before it. A cluster is *crowded* where one of ours has waited for longer than
SPOT while less than OURS of the instances are at our work. There, what is sent now queues behind the same people and
will hardly wait less than the oldest has, unless a boot explains that (it is within BOOT_LATE boot times, and there is
room to boot). Elsewhere our own queue explains it, and the calendar has that already; but a queue of ours that has not
moved for longer than a run takes will not move sooner than after as long again.

**The window** is how many of ours may wait there. By Little's law (1961), L = λ·W: to keep λ starts a second going
while a task takes W seconds from our choice to its start (upload, our poll; on a crowded cluster the wait for other
people), λ·W tasks must be on their way. Fewer, and instances idle or, where others queue, their tasks take the places
that ours give back; more, and jobs are bound early for nothing. To this come the instances that could be had now (free,
or below the ceiling): the autoscaler boots only for what waits. And one, so that a place is always tried.

**An old status** counts less: beyond FRESH seconds what it says of free and bootable instances is weighted FRESH / age.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from renderdrop.dispatch.choose import ClusterView, Situation
from renderdrop.dispatch.learned import SPOT

FRESH: Final = 60.0
"""Seconds for which a status counts fully."""
BOOT_LATE: Final = 1.5
"""Boot times after which a wait is no longer explained by a boot."""
FIRST: Final = 2
"""Free instances that are believed before any task of ours has started: one may be gone before we are there."""
OURS: Final = 2 / 3
"""The share of the instances from which on a queue is taken for ours. Some are always at other people's work who do not
queue."""
ON_THE_WAY: Final = 15.0
"""Seconds from a choice to the moment at which we know that the task runs: an upload, a turn of polls."""
BLOCKED: Final = 300.0
"""Seconds until a start where there is nothing, and nothing may be booted now."""
UNTOLD_ROOM: Final = 4
"""Instances that a cluster might boot whose ceiling was never told."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """One cluster as it will be. `waiting`: our tasks there that do not run yet; `window`: how many of them there
    should be at most; `run`: seconds that the job in question would run; `starts`: when instances come free for
    more; `crowded`: other people queue there."""

    waiting: int
    window: int
    run: float
    starts: Sequence[float]
    crowded: bool

    @property
    def has_place(self) -> bool:
        """Whether one more may wait there."""
        return self.waiting < self.window

    @property
    def end(self) -> float:
        """Seconds until a task that is sent now would be finished."""
        return min(self.starts) + self.run

    def by(self, moment: float, run: float) -> float:
        """How many tasks of so many seconds could be finished there by then."""
        return sum([(moment - start) / run for start in self.starts if start < moment])


def forecast(situation: Situation, name: str) -> Forecast:
    """What to expect of this cluster, for one more job of the situation's workflow."""
    view, learned = situation.active[name], situation.learned
    run, boot = learned.run(situation.workflow, name).seconds, learned.boot(name)
    runs = {w: learned.run(w, name).seconds for w in {t.workflow for t in view.tasks}}
    running = [(runs[t.workflow], t.seconds) for t in view.tasks if t.running]
    waiting = sorted(((t.seconds, runs[t.workflow]) for t in view.tasks if not t.running), reverse=True)
    oldest = waiting[0][0] if waiting else 0.0
    idle, room = _instances(view, situation.age, len(running), oldest)
    starts = [0.0] * idle
    starts += [max(mean - passed, mean / 8) for mean, passed in running]
    starts += [max(2.0, boot - passed) for passed, _ in waiting[idle : idle + room]]
    starts += [boot] * (idle + room + len(running) - len(starts))
    if not starts:
        starts = [max(BLOCKED, oldest)]
    heapq.heapify(starts)
    for _, mean in waiting:
        heapq.heapreplace(starts, starts[0] + mean)
    crowded = oldest > SPOT and len(running) < OURS * max(view.nodes, 1)
    floor, explained = oldest, boot * BOOT_LATE if room else SPOT
    if not crowded and running:
        floor = min(oldest, *(passed for _, passed in running))
        explained = max(explained, *(mean for mean, _ in running))
    floor = floor if floor > explained else 0.0
    throughput = sum(1 / mean for mean, _ in running)
    window = idle + room + math.ceil(throughput * max(ON_THE_WAY, floor if crowded else 0.0)) + 1
    return Forecast(len(waiting), window, run, [max(floor, start) for start in starts], crowded)


def _instances(view: ClusterView, age: float, running: int, oldest: float) -> tuple[int, int]:
    """(free now, below the ceiling), as far as can be known."""
    trust = min(1.0, FRESH / age) if age > 0 else 1.0
    exist = max(view.nodes, running)
    idle = 0 if oldest > SPOT else min(exist - running, FIRST + running)
    room = UNTOLD_ROOM if view.ceiling is None else max(0, view.ceiling - exist)
    return round(idle * trust), math.ceil(room * trust)
