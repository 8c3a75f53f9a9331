"""One evening: the clusters' physics, and a dispatcher that sends a batch by some rule.

Owns the order of events. What the rule is told is what the real daemon would know: a status that is old, missing or
-1, our tasks as polls show them, and run times learned from what has ended (by the product's own estimator). It must
never tell a rule anything else.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from bench.dispatch.worlds import LOOP, Cluster, Errand, Fate
from renderdrop.dispatch.choose import Choice, ClusterView, Hold, OurTask, Situation
from renderdrop.dispatch.ejection import Ejection
from renderdrop.dispatch.learned import NOTHING, Learned, Run, learn

Rule = Callable[[Situation], Choice | Hold | None]

_STATUS_EVERY: Final = 10.0
_LEARN_EVERY: Final = 10.0
_LOOK_AGAIN: Final = 2.0
"""Seconds after which a job that was told to wait asks again, if nothing happened before."""
_IDLE: Final = 60.0
"""Seconds after which the autoscaler lets go of an instance without work."""
_POLLS: Final = 5.0
"""Status calls a second."""
_LOST_AFTER: Final = 5.0
"""Seconds of run after which a cluster that loses tasks has lost one."""
_REST: Final = 2.0
"""Seconds for which a job rests whose submission was refused."""


@dataclass(slots=True, eq=False)
class Task:
    """A task on a cluster, ours (with its errand) or a guest's."""

    seconds: float
    errand: Errand | None
    sent: float
    cluster: str
    running: bool = False
    started: float = 0.0
    seen: float | None = None
    """When we saw it running."""
    cold: bool = False


@dataclass(slots=True)
class Machine:
    """A cluster at work."""

    spec: Cluster
    queue: deque[Task] = field(default_factory=deque)
    running: dict[Task, None] = field(default_factory=dict)
    """In the order in which they began, so that each evening can be played again."""
    idle: list[float] = field(default_factory=list)
    booting: int = 0
    ceiling: int = 0
    leased: int = 0

    @property
    def room(self) -> int:
        """How many instances may exist that are not leased."""
        return max(0, self.ceiling - self.leased)


@dataclass(frozen=True, slots=True)
class Sample:
    """For the plot: at this time, instances and our running tasks by cluster, our waiting tasks, jobs not sent."""

    at: float
    running: dict[str, int]
    instances: dict[str, int]
    waiting: int
    unsent: int


@dataclass(slots=True)
class Outcome:
    """How it went: the platform's finish of each job, in seconds from the drop of the batch."""

    ends: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    tries: int = 0

    @property
    def makespan(self) -> float:
        """When the last was finished."""
        return max(self.ends)


class Evening:
    """Plays one fate with one rule."""

    def __init__(self, fate: Fate, rule: Rule, *, sampled: bool = False) -> None:
        self.fate, self.rule, self.sampled = fate, rule, sampled
        self.world = fate.world
        self.now = -600.0
        self.events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.numbers = count()
        self.machines = {c.name: Machine(c) for c in self.world.clusters}
        # What a rule's own doings may shift is drawn from dice of its own: the boots, and what polls see.
        self.dice = {c.name: random.Random(f"{self.world.name}/{fate.seed}/{c.name}") for c in self.world.clusters}
        self.polls = random.Random(f"polls {fate.seed}")
        self.weather = random.Random(f"weather {fate.seed}")
        self.waiting: deque[Errand] = deque()
        self.hands = self.world.uploads
        self.open: dict[Task, None] = {}
        self.status: dict[str, tuple[int, int | None]] = {}
        self.ceilings: dict[str, int] = {}
        self.status_at = -math.inf
        self.history: deque[Run] = deque((Run(*row) for row in fate.past), maxlen=600)
        self.learned: Learned = NOTHING
        self.learned_at = -math.inf
        self.ejection = Ejection()
        self.last: dict[str, str] = {}
        self.held: dict[str, float] = {}
        self.looking = False
        self.uploads: list[float] = []
        self.outcome = Outcome()

    def play(self) -> Outcome:
        """From ten minutes before the drop until the last job is finished."""
        for machine in self.machines.values():
            self._turn_of(machine, 0)
            machine.idle = [self.now] * min(machine.spec.warm, machine.room)
            for at, seconds in self.fate.guests[machine.spec.name]:
                self._at(at, self._guest, machine, seconds)
            if (outage := machine.spec.outage) and outage.how == "loses":
                self._at(outage.begins, self._lose_all, machine)
        self._at(self.now, self._tick)
        self._at(-1.0, self._ask_status)
        self._at(0.0, self._drop)
        if self.sampled:
            self._at(0.0, self._sample)
        jobs = len(self.fate.jobs)
        while len(self.outcome.ends) < jobs:
            at, _, action, given = heapq.heappop(self.events)
            self.now = at
            action(*given)
            if at > 5 * 3600:
                raise RuntimeError(f"{self.world.name}: {jobs - len(self.outcome.ends)} jobs were never finished")
        return self.outcome

    def _at(self, when: float, action: Callable[..., None], *given: Any) -> None:
        heapq.heappush(self.events, (when, next(self.numbers), action, given))

    # the platform

    def _turn_of(self, machine: Machine, turn: int) -> None:
        name = machine.spec.name
        machine.ceiling, machine.leased = self.fate.ceilings[name][turn], self.fate.leases[name][turn]

    def _tick(self) -> None:
        """One turn of every autoscaler."""
        turn = max(0, round(self.now / LOOP))
        for machine in self.machines.values():
            self._turn_of(machine, turn)
            busy, idle = len(machine.running), machine.idle
            have = busy + len(idle) + machine.booting
            wanted = min(machine.room, max(machine.spec.warm, busy + len(machine.queue)))
            for _ in range(min(self.world.step, wanted - have)):
                machine.booting += 1
                boot = self.dice[machine.spec.name].uniform(*machine.spec.boot)
                self._at(self.now + boot, self._booted, machine)
            while idle and busy + len(idle) > machine.room:
                idle.pop()  # others took the GPU
            if have > wanted and idle and self.now - min(idle) >= _IDLE:
                idle.remove(min(idle))
        self._at(self.now + LOOP, self._tick)

    def _booted(self, machine: Machine) -> None:
        machine.booting -= 1
        if len(machine.running) + len(machine.idle) < machine.room:
            machine.idle.append(self.now)
            self._assign(machine)

    def _guest(self, machine: Machine, seconds: float) -> None:
        machine.queue.append(Task(seconds, None, self.now, machine.spec.name))
        self._assign(machine)

    def _assign(self, machine: Machine) -> None:
        while machine.queue and machine.idle:
            machine.idle.pop()
            task = machine.queue.popleft()
            task.running, task.started = True, self.now
            machine.running[task] = None
            lost = task.errand is not None and self._is_out(machine, "loses")
            self._at(self.now + (_LOST_AFTER if lost else task.seconds), self._ended, machine, task, lost)
            if task.errand is not None:
                self._at(self.now + self._poll_delay(), self._see_running, task)

    def _ended(self, machine: Machine, task: Task, lost: bool) -> None:
        if task not in machine.running:
            return  # it was lost before
        del machine.running[task]
        if len(machine.running) + len(machine.idle) < machine.room:
            machine.idle.append(self.now)
            self._assign(machine)
        if task.errand is not None:
            if not lost:
                self.outcome.ends.append(self.now)
            self._at(self.now + self._poll_delay(), self._see_ended, task, lost)

    def _lose_all(self, machine: Machine) -> None:
        for task in [t for t in machine.running if t.errand is not None]:
            self._ended(machine, task, True)

    def _is_out(self, machine: Machine, how: str) -> bool:
        outage = machine.spec.outage
        return outage is not None and outage.how == how and outage.begins <= self.now < outage.ends

    # what we see

    def _poll_delay(self) -> float:
        """Until our next look at a task: all share one budget of calls."""
        return self.polls.random() * min(30.0, max(1.0, len(self.open) / _POLLS))

    def _ask_status(self) -> None:
        if self.weather.random() >= self.world.missing:
            for name, m in self.machines.items():
                told = self.weather.random() >= self.world.untold
                nodes = len(m.running) + len(m.idle) + m.leased
                if told:
                    self.ceilings[name] = m.ceiling
                self.status[name] = (nodes, self.ceilings.get(name))
            self.status_at = self.now
        self._at(self.now + _STATUS_EVERY, self._ask_status)
        self._look()

    def _see_running(self, task: Task) -> None:
        if task in self.open:
            task.seen = self.now
            self._look()

    def _see_ended(self, task: Task, lost: bool) -> None:
        assert task.errand is not None
        del self.open[task]
        if lost:
            self.ejection = self.ejection.failed(task.cluster, task.errand.number, self.now)
            self.waiting.appendleft(task.errand)
        else:
            self.ejection = self.ejection.worked(task.cluster)
            began = task.seen if task.seen is not None else task.sent
            cold = began - task.sent if task.cold else None
            self.history.append(Run(task.errand.workflow, task.cluster, self.now - began, cold=cold))
        self._look()

    # the dispatcher

    def _drop(self) -> None:
        self.waiting.extend(self.fate.jobs)
        self._look()

    def _look(self) -> None:
        """Send what the rule sends now."""
        asked: set[str] = set()
        for errand in list(self.waiting) if self.hands else ():
            if not self.hands or len(asked) == len(self.world.workflows):
                break
            if errand.workflow in asked:
                continue
            choice = self.rule(self._situation(errand.workflow))
            if isinstance(choice, Choice):
                self.waiting.remove(errand)
                self.held.pop(errand.workflow, None)
                self._send(errand, choice.cluster)
            else:
                asked.add(errand.workflow)
                self.held.setdefault(errand.workflow, self.now)
        if self.waiting and self.hands and not self.looking:
            self.looking = True
            self._at(self.now + _LOOK_AGAIN, self._look_again)

    def _look_again(self) -> None:
        self.looking = False
        self._look()

    def _lesson(self) -> Learned:
        """What all that has been seen until now teaches."""
        going = [Run(t.workflow, k, t.seconds, over=False) for k, ts in self._ours().items() for t in ts if t.running]
        return learn([*self.history, *going])

    def _ours(self) -> dict[str, list[OurTask]]:
        """Our tasks by cluster, as polls have shown them."""
        ours: dict[str, list[OurTask]] = {name: [] for name in self.machines}
        for t in self.open:
            assert t.errand is not None
            since = t.sent if t.seen is None else t.seen
            ours[t.cluster].append(OurTask(t.errand.workflow, self.now - since, t.seen is not None))
        return ours

    def _situation(self, workflow: str, learned: Learned | None = None) -> Situation:
        """What the rule is told; with `learned`, what one is told who looks now and changes nothing."""
        ours = self._ours()
        if learned is None and self.now - self.learned_at >= _LEARN_EVERY:
            self.learned_at, self.learned = self.now, self._lesson()
        queue: dict[str, int] = {}
        for errand in self.waiting:
            queue[errand.workflow] = queue.get(errand.workflow, 0) + 1
        views = {
            name: ClusterView(*self.status.get(name, (0, None)), len(ours[name]), tuple(ours[name]))
            for name in self.machines
        }
        return Situation(
            tuple(self.machines), views, self.ejection.out(self.now), workflow, queue,
            min(3600.0, self.now - self.status_at), learned or self.learned, self.last.get(workflow),
            self.now - self.held.get(workflow, self.now),
        )  # fmt: skip

    def _send(self, errand: Errand, cluster: str) -> None:
        self.hands -= 1
        self.last[errand.workflow] = cluster
        self.outcome.tries += 1
        self.ejection = self.ejection.tried(cluster, self.now)
        cold = not any(t.cluster == cluster and t.seen is None for t in self.open)
        seconds = self.fate.seconds(errand.workflow, cluster) * errand.size
        task = Task(seconds, errand, self.now, cluster, cold=cold)
        self.open[task] = None
        self._at(self.now + errand.upload, self._sent, task)

    def _sent(self, task: Task) -> None:
        assert task.errand is not None
        self.hands += 1
        self.uploads.append(task.errand.upload)
        machine = self.machines[task.cluster]
        if self._is_out(machine, "refuses"):
            del self.open[task]
            self.ejection = self.ejection.refused(task.cluster, self.now)
            self._at(self.now + _REST, self._again, task.errand)
        else:
            task.sent = self.now
            self.ejection = self.ejection.accepted(task.cluster)
            machine.queue.append(task)
            self._assign(machine)
        self._look()

    def _again(self, errand: Errand) -> None:
        self.waiting.appendleft(errand)
        self._look()

    def _sample(self) -> None:
        ours = [t for m in self.machines.values() for t in m.running if t.errand is not None]
        self.outcome.samples.append(
            Sample(
                self.now,
                {name: sum(t.cluster == name for t in ours) for name in self.machines},
                {name: m.room for name, m in self.machines.items()},
                len(self.open) - len(ours),
                len(self.waiting),
            )
        )
        self._at(self.now + 5.0, self._sample)
