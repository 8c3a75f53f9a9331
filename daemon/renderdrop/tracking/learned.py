"""What earlier tasks taught: how long a workflow runs on a cluster, and what its progress means. Pure.

Owns the memory and the two estimators. It must never ask the ledger (what is read there is told to it) and never
decide when a task is looked at.

**Run times.** The odds of a workflow on a cluster are its last run times themselves, each smoothed into a bell (a
kernel density of the logarithm), and a broad bell for what was not seen yet, in the proportion n : 1. That is the
Pólya urn (Blackwell and MacQueen 1973): after n runs the next one is like one of them with n/(n + 1), and something
new with 1/(n + 1). The something new is the workflow's on all clusters, itself drawn to `ANY` as if by one run more:
so a pair that was never seen is shrunk wholly to its workflow, and one that was seen forty times hardly. Kernels
rather than one bell, because the first run on an instance loads the model, and a parameter may double the length of a
film: such run times have two summits. The odd run that hung costs a fortieth, not a bent average. Starts and ends are
seen by looks, and so not exactly: a run known within u of its t seconds counts 1/(1 + (u/0.3t)²) runs, else a scarce
budget would learn its own slowness.

**Progress.** What a percentage means is learned from when it was first seen, as a share of the run time that it
turned out to be: 94 % may come at 0.99 of the time, or at 0.6 and stay. Per workflow and bracket of 5 % the mean and
variance of ln(share / percentage) are kept; a task then seen to reach that percentage at the age t will run t /
share, give or take that variance. Only the *first* sight of a percentage counts: that a task stays there is no news,
and what never moves gives no hint at all. This is of this process alone: the ledger keeps no progress, and two tasks
teach it again.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from renderdrop.tracking.cadence import Bell, Hint, Odds

ANY: Final = Bell(1.0, math.log(45.0), 1.3**2)
"""The run time of a workflow that never ran: 45 s, or a fifth or five times that."""
_MEMORY: Final = 40
"""Run times remembered of each workflow on each cluster: enough for its shape, few enough to follow a new version."""
_BELLS: Final = 8
"""Bells that all run times of a pair are boiled down to."""
_KERNEL_SD: Final = 0.2
_KERNEL_TRUST: Final = 2.0
"""The spread of ln(run time) before anything was seen, and for how many runs that guess stands."""
_FINEST: Final = 0.02
"""No spread of a logarithm is believed below that: 2 % of the time."""
_NEW_SD: Final = 0.6
"""Spread of what is new on a workflow that is known: half, or nearly twice its time (another cluster, other sizes)."""
_SURE: Final = 0.3
"""A run time that is known no better than to this share of it counts half."""
_BRACKET: Final = 5.0
_HINT_SD: Final = 0.2
_HINT_TRUST: Final = 2.0
"""The same for what progress tells."""
_HINT_FROM: Final = 2
"""Tasks that must have shown what a percentage means before it is believed."""
_HINT_MEMORY: Final = 40
_LEAST_PERCENT: Final = 0.1
"""Progress below that tells nothing yet."""
_SHORTEST: Final = 0.05
"""Seconds that a run takes at the least."""
_MOST_KEYS: Final = 2_000
"""Pairs, and workflows, that are remembered: those that come later are not."""


@dataclass(slots=True)
class _Share:
    """Mean and variance of ln(share / percentage), the last `_HINT_MEMORY` counting most."""

    number: float = 0.0
    mean: float = 0.0
    spread: float = 0.0

    def add(self, value: float) -> None:
        kept = min(self.number, _HINT_MEMORY - 1.0)
        self.spread *= kept / self.number if self.number else 0.0
        self.number = kept + 1.0
        off = value - self.mean
        self.mean += off / self.number
        self.spread += off * (value - self.mean)


class _Run(NamedTuple):
    """ln(run time), and what it counts: 1 when it is known exactly."""

    log: float
    weight: float


def bracket(percent: float) -> int:
    """The bracket of a percentage: what it means is learned for all of one together."""
    return int(percent / _BRACKET)


class Learned:
    """All of it. Seconds are of run time: from a task's start to its end."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], deque[_Run]] = {}
        self._of_workflow: dict[str, dict[str, deque[_Run]]] = {}
        self._shares: dict[str, dict[int, _Share]] = {}
        self._odds: dict[str, dict[str, Odds]] = {}

    def ran(self, workflow: str, cluster: str, seconds: float, unsure: float = 0.0) -> None:
        """A task succeeded after that run time, which is known within `unsure` seconds."""
        if len(self._runs) >= _MOST_KEYS and (workflow, cluster) not in self._runs:
            return
        runs = self._runs.setdefault((workflow, cluster), deque(maxlen=_MEMORY))
        self._of_workflow.setdefault(workflow, {})[cluster] = runs
        seconds = max(_SHORTEST, seconds)
        runs.append(_Run(math.log(seconds), 1.0 / (1.0 + (unsure / seconds / _SURE) ** 2)))
        self._odds.pop(workflow, None)

    def progressed(self, workflow: str, seen: Iterable[tuple[float, float]], seconds: float) -> None:
        """That task had first shown each of these percentages at these seconds of its run."""
        if seconds < _SHORTEST or (len(self._shares) >= _MOST_KEYS and workflow not in self._shares):
            return
        shares = self._shares.setdefault(workflow, {})
        for percent, age in seen:
            if percent >= _LEAST_PERCENT and age >= _SHORTEST:
                share = min(1.0, age / seconds)
                shares.setdefault(bracket(percent), _Share()).add(math.log(share * 100.0 / percent))

    def odds(self, workflow: str, cluster: str) -> Odds:
        """How long a run of that workflow takes there."""
        known = self._odds.get(workflow, {}).get(cluster)
        if known is not None:
            return known
        runs = sorted(self._runs.get((workflow, cluster), ()))
        number = math.fsum(run.weight for run in runs)
        odds = [*_kernels(runs, number), self._new(workflow, 1.0 / (number + 1.0))]
        if workflow in self._of_workflow:
            self._odds.setdefault(workflow, {})[cluster] = odds
        return odds

    def hint(self, workflow: str, percent: float, age: float, unsure: float) -> Hint | None:
        """What reaching `percent` at `age` seconds, give or take `unsure`, says of the whole run time; None while that
        was not learned."""
        share = self._shares.get(workflow, {}).get(bracket(percent))
        if share is None or share.number < _HINT_FROM or percent < _LEAST_PERCENT or age < _SHORTEST:
            return None
        whole = math.log(age) - min(0.0, share.mean + math.log(percent / 100.0))
        variance = (share.spread + _HINT_TRUST * _HINT_SD**2) / (share.number + _HINT_TRUST)
        variance = variance * (1.0 + 1.0 / share.number) + unsure * unsure / (12.0 * age * age)
        return Hint(whole, max(_FINEST**2, variance))

    def _new(self, workflow: str, weight: float) -> Bell:
        elsewhere = [run for runs in self._of_workflow.get(workflow, {}).values() for run in runs]
        if not elsewhere:
            return ANY._replace(weight=weight)
        known, mean, variance = _moments(elsewhere)
        mean = (known * mean + ANY.mean) / (known + 1.0)
        variance = (known * (variance + _NEW_SD**2) + ANY.variance) / (known + 1.0)
        return Bell(weight, mean, variance)


def _kernels(runs: Sequence[_Run], number: float) -> list[Bell]:
    """Sorted run times, which count as `number`, as at most `_BELLS` bells, as broad as Silverman's rule has it
    (1.06 σ n^-1/5; σ drawn to `_KERNEL_SD` while they are few)."""
    if not runs:
        return []
    cut = len(runs) // 10
    middle = runs[cut : len(runs) - cut]  # a hung run must not blur all the others
    known, _, variance = _moments(middle)
    sd = math.sqrt((variance * known + _KERNEL_TRUST * _KERNEL_SD**2) / (known + _KERNEL_TRUST))
    width = max(_FINEST, 1.06 * sd * max(1.0, number) ** -0.2) ** 2
    count = min(_BELLS, len(runs))
    bells: list[Bell] = []
    for i in range(count):
        weight, mean, within = _moments(runs[len(runs) * i // count : len(runs) * (i + 1) // count])
        bells.append(Bell(weight / (number + 1.0), mean, within + width))
    return bells


def _moments(runs: Sequence[_Run]) -> tuple[float, float, float]:
    """What they count together, and mean and variance of their logarithms."""
    weight = math.fsum(run.weight for run in runs)
    mean = math.fsum(run.weight * run.log for run in runs) / weight
    return weight, mean, math.fsum(run.weight * (run.log - mean) ** 2 for run in runs) / weight
