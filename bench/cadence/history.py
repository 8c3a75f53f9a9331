"""A platform's evening, made before anybody looks at it: so every rule is measured on the very same tasks.

Owns what runs when. `made` keeps a number of tasks on two clusters, one 2.2 times as fast as the other: whenever one
ends the next is submitted. Three in four of them run, the others queue in the order of their submission; other tenants
take every seventh freed instance for a while. Times are seconds of simulated time.
"""

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

Behaviour = Literal["linear", "stuck", "missing", "jumps"]
AT_SUCCESS: Final = 94.0


@dataclass(frozen=True, slots=True)
class Workflow:
    """What a workflow's tasks are like. `spread`: standard deviation of ln(run time); `cold`: share of the tasks that
    find an instance which has to load the model first, and `load`: for about how many seconds; `long`: share of tasks
    with an input of twice the usual length."""

    name: str
    seconds: float
    spread: float
    behaviour: Behaviour
    share: float
    cold: float = 0.0
    load: float = 0.0
    long: float = 0.0


WORKFLOWS: Final = (
    Workflow("portrait", 24.0, 0.10, "linear", 0.35, cold=0.06, load=20.0),
    Workflow("upscale", 55.0, 0.15, "jumps", 0.25, cold=0.06, load=15.0),
    Workflow("dance", 240.0, 0.12, "stuck", 0.25, cold=0.05, load=60.0, long=0.2),
    Workflow("film", 420.0, 0.15, "missing", 0.15, cold=0.05, load=60.0),
)
"""Pictures of half a minute, and films of some: progress that grows evenly; that leaps from node to node; that comes to
94 % at seven tenths of the time and stays (frames are done, the film is being encoded); that is never told."""
JUMPS: Final = ((0.0, 5.0), (0.12, 20.0), (0.45, 60.0), (0.9, 90.0))
"""(share of the time, percentage from then on) of a workflow whose progress leaps."""
STUCK_AT: Final = 0.7
FAST: Final = 2.2
RUNNING: Final = 0.75
FOREIGN: Final = 0.15


@dataclass(slots=True)
class Task:
    """One task's life on the platform; `pace` bends its own progress a little, as real nodes do."""

    number: int
    workflow: Workflow
    cluster: str
    submitted: float
    seconds: float
    pace: float
    idle: float
    """Share of its run that passes before the first progress (a model that is loaded)."""
    started: float = math.inf

    @property
    def ended(self) -> float:
        return self.started + self.seconds

    def status(self, now: float) -> tuple[str, float | None]:
        """What a look at `now` is told: the status word and the percentage."""
        if now < self.started:
            return "pending", None
        if now >= self.ended:
            return "success", AT_SUCCESS
        done = (now - self.started) / self.seconds
        return "running", self._percent(max(0.0, (done - self.idle) / (1.0 - self.idle)))

    def _percent(self, done: float) -> float | None:
        behaviour = self.workflow.behaviour
        if behaviour == "missing":
            return None
        bent = done**self.pace
        if behaviour == "linear":
            return float(int(bent * AT_SUCCESS))
        if behaviour == "stuck":
            return float(int(min(1.0, bent / STUCK_AT) * AT_SUCCESS))
        return max(percent for at, percent in JUMPS if bent >= at)


def made(live: int, seconds: float, seed: int, workflows: tuple[Workflow, ...] = WORKFLOWS) -> list[Task]:
    """All tasks that end within `seconds`, with `live` of them on the platform at any time."""
    dice = random.Random(seed)
    running = max(1, round(live * RUNNING))
    nodes = {"GPU-A800": max(1, running // 2), "GPU-4090": max(1, running - running // 2)}
    speed = {"GPU-A800": FAST, "GPU-4090": 1.0}
    free = dict(nodes)
    load = dict.fromkeys(nodes, 0.0)
    queues: dict[str, deque[Task]] = {name: deque() for name in nodes}
    tasks: list[Task] = []
    events: list[tuple[float, int, str, Task | None]] = []
    count = 0

    def later(at: float, cluster: str, task: Task | None) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (at, count, cluster, task))

    def submit(now: float) -> None:
        cluster = min(nodes, key=lambda name: load[name] / (nodes[name] * speed[name]))
        load[cluster] += 1
        task = _task(dice, len(tasks), cluster, now, speed[cluster], workflows)
        tasks.append(task)
        queues[cluster].append(task)
        serve(cluster, now)

    def serve(cluster: str, now: float) -> None:
        while free[cluster] and queues[cluster]:
            free[cluster] -= 1
            if dice.random() < FOREIGN:
                later(now + dice.uniform(10.0, 60.0), cluster, None)
                continue
            task = queues[cluster].popleft()
            task.started = now
            later(task.ended, cluster, task)

    for n in range(live):
        submit(0.2 * n)  # uploads take their time
    while events and events[0][0] < seconds:
        now, _, cluster, task = heapq.heappop(events)
        free[cluster] += 1
        serve(cluster, now)
        if task is not None:
            load[cluster] -= 1
            submit(now)
    return [task for task in tasks if task.ended <= seconds]


def _task(
    dice: random.Random, number: int, cluster: str, now: float, speed: float, workflows: tuple[Workflow, ...]
) -> Task:
    kind = dice.choices(workflows, [w.share for w in workflows])[0]
    run = kind.seconds * math.exp(dice.gauss(0.0, kind.spread)) / speed
    run *= 2.0 if dice.random() < kind.long else 1.0
    load = kind.load * dice.uniform(0.5, 1.5) if dice.random() < kind.cold else 0.0
    pace = math.exp(dice.gauss(0.0, 0.08))
    return Task(number, kind, cluster, now, run + load, pace, load / (run + load))
