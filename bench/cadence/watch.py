"""One rule on one evening: ticks, the budget, the way to the platform and back; and what came of it.

Owns the run. The budget is the product's own, the tick too (4 a second), and so is the number of calls at once.
"""

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.cadence.history import Task
from bench.cadence.rules import Rule
from renderdrop.platform.client import CALLS
from renderdrop.runtime.budget import TICK, Budget

WAY: Final = (0.08, 0.25)
"""Seconds to the platform and back."""
SHORT: Final = 60.0


@dataclass(slots=True)
class Outcome:
    """Delays in seconds from the platform's end to our knowing; `short`: of tasks that ran less than a minute."""

    delays: list[float] = field(default_factory=list)
    short: list[float] = field(default_factory=list)
    looks: int = 0
    tasks: int = 0

    def add(self, other: "Outcome") -> None:
        self.delays += other.delays
        self.short += other.short
        self.looks += other.looks
        self.tasks += other.tasks


def watched(tasks: Sequence[Task], rule: Rule, rate: float, since: float, until: float) -> Outcome:
    """What the rule made of the tasks that ended from `since` on and before `until`."""
    outcome, budget, dice = Outcome(), Budget(rate, 0.0), random.Random(1)
    coming = sorted(tasks, key=lambda t: t.submitted)
    by_key = {str(task.number): task for task in tasks}
    answers: list[tuple[float, str, str, float | None]] = []
    looks: dict[str, int] = dict.fromkeys(by_key, 0)
    at, now, known = 0, 0.0, 0
    while known < len(tasks):
        now += TICK
        while answers and answers[0][0] <= now:
            when, key, status, percent = heapq.heappop(answers)
            if status != "success":
                rule.saw(key, when, status, percent)
                continue
            rule.succeeded(key, when)
            known += 1
            task = by_key[key]
            if since <= task.ended < until:
                delay = when - task.ended
                outcome.delays.append(delay)
                if task.seconds < SHORT:
                    outcome.short.append(delay)
                outcome.looks += looks[key]
                outcome.tasks += 1
        while at < len(coming) and coming[at].submitted <= now:
            task = coming[at]
            rule.follow(str(task.number), task.workflow.name, task.cluster, task.submitted)
            at += 1
        rule.adapt(budget.pace_at(now), now)
        while len(answers) < CALLS and (due := rule.next_due()) is not None and due <= now + rule.early:
            if not budget.take(now):
                break
            nxt = rule.take(now + rule.early)
            assert nxt is not None
            way = dice.uniform(*WAY)
            looks[nxt] += 1
            status, percent = by_key[nxt].status(now + way / 2)
            heapq.heappush(answers, (now + way, nxt, status, percent))
    return outcome


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, math.ceil(0.95 * len(values)) - 1)] if values else math.nan
