"""What earlier tasks teach: how long a workflow runs on a cluster, and how long a cluster takes to boot an instance.

Owns the estimators. Pure: the rows come from the ledger (`ledger/experience`) or from a simulation.

**Run times** are taken as log-normal, since a cluster is so many *times* faster than another and outliers are *times*
too long. The logarithm of the seconds of a run of workflow w on cluster k is

    y = level(w) + speed(k) + own(w, k) + noise,

all of them drawn at random: what a workflow takes, how much longer everything takes on a cluster, what is peculiar to
that pair, and what differs from run to run. Each is estimated by its best linear unbiased prediction in this mixed
model (Henderson 1975, "Best linear unbiased estimation and prediction under a selection model"; Robinson 1991, "That
BLUP is a good thing"). With m the mean of y over a pair's n runs, p = 1 / (ω² + σ²/n) its weight, and a variance each
for noise (σ²), own (ω²), levels (λ²) and speeds (τ²), the mixed model equations are

    level(w) = (Σ_k p·(m - speed(k)) + middle / λ²) / (Σ_k p + 1 / λ²),   middle: the mean of all levels,
    speed(k) = Σ_w p·(m - level(w)) / (Σ_w p + 1 / τ²),

solved by turns (Gauss & Seidel) until nothing moves. Which workflow ran where is then no matter: one that only ever
ran on a slow cluster is not taken for a slow workflow, nor the cluster for a fast one. What is left of a pair's mean
beyond level + speed is its own, as far as it is believed: ω² / (ω² + σ²/n) of it. So few runs lean on what is
known of the workflow and of the cluster, many speak for themselves. Seconds are exp(all of that + σ²/2), the mean of a
log-normal. σ² is pooled over all pairs and ω² is the spread of the pairs' means round level + speed; both are held
by a prior worth a few observations. Each y is first drawn to within 2.5 robust standard deviations (1.4826 · median
absolute deviation) of its pair's median, Winsor's way: one run that hung for an hour does not move the mean.

**Doubt** is the standard deviation of what is predicted for a pair's mean logarithm, given its workflow's level, which
all clusters share and which therefore is no matter in comparing them. With s² = 1 / (Σ_w p + 1 / τ²) that of the
cluster's speed, it is √(ω² + s²) for a pair never seen. Of a seen one the share r = (σ²/n) / (ω² + σ²/n) rests on
level + speed: √(r·ω² + r²·s²).

**Tasks that still run** are censored observations: one that has run for e seconds, longer than its estimate, takes
at least e. It counts as one of 1.25 · e, the mean of a log-normal of σ = 0.3 beyond e, as one step of
expectation-maximisation (Dempster, Laird & Rubin 1977) would have it: so a slow cluster is known before its first
task has ended.

**Boot times**: the wait of a task that found none of ours waiting before it, and that waited for more than a turn of
the autoscaler, was (mostly) the boot of an instance. The median of these, shrunk towards PRIOR_BOOT worth three of
them.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final, NamedTuple

PRIOR_SECONDS: Final = 60.0
"""The run time of a workflow of which nothing is known. Only its ratio to boot times matters."""
PRIOR_BOOT: Final = 90.0
"""Seconds that an instance takes to boot, where nothing is known."""
SPOT: Final = 20.0
"""Seconds: who waits for longer than a turn of the autoscaler and a poll did not find a free instance."""
_PRIOR_WITHIN: Final = (0.3**2, 5.0)
"""σ² before anything is seen, and how many observations that is worth."""
_PRIOR_OWN: Final = (0.3**2, 4.0)
"""ω² likewise: a workflow that gains or loses a third by a cluster, beyond what every other does."""
_SPEEDS: Final = 0.7**2
"""τ²: clusters differ by a factor of two either way."""
_LEVELS: Final = 1.0
"""λ²: workflows differ by a factor of three either way."""
_SWEEPS: Final = 50
"""Turns after which the equations count as solved in any case; a handful is usual."""
_STILL: Final = 1e-3
"""A turn that moves everything by less, as logarithms, is the last."""
_BEYOND: Final = 1.25
_SHORTEST, _LONGEST = 0.05, 1e6
"""Seconds beyond which no run is believed to be."""
_WIDEST: Final = 1.0
"""σ² at the most: what varies more is no one thing, and its mean would be made of the wildest."""
_MOST_WAITS: Final = 200.0
"""Seconds: the longest wait that is taken for a boot."""


class Run(NamedTuple):
    """One of our tasks that has ended in success, or (`over` False) still runs. `cold`: how long it waited, if
    none of ours was waiting on the cluster before it; else None."""

    workflow: str
    cluster: str
    seconds: float
    over: bool = True
    cold: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A run time in seconds, and from how many runs of this very workflow on this very cluster it is known. `doubt`:
    the standard deviation of its logarithm, beyond what all clusters share."""

    seconds: float
    runs: int
    doubt: float


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known. `level`: the mean logarithm of each workflow; `speeds`: by cluster, how much longer everything
    takes there than elsewhere, as logarithms too, and `unsure`, their variances; `within` and `own`: σ² and ω²."""

    pairs: Mapping[tuple[str, str], Estimate] = field(default_factory=dict)
    level: Mapping[str, float] = field(default_factory=dict)
    speeds: Mapping[str, float] = field(default_factory=dict)
    unsure: Mapping[str, float] = field(default_factory=dict)
    boots: Mapping[str, float] = field(default_factory=dict)
    within: float = _PRIOR_WITHIN[0]
    own: float = _PRIOR_OWN[0]

    def run(self, workflow: str, cluster: str) -> Estimate:
        """How long the workflow runs there; for what was never seen, as the nearest knowledge has it."""
        known = self.pairs.get((workflow, cluster))
        if known is not None:
            return known
        level = self.level.get(workflow)
        if level is None:
            level = sum(self.level.values()) / len(self.level) if self.level else math.log(PRIOR_SECONDS)
        doubt = math.sqrt(self.own + self.unsure.get(cluster, _SPEEDS))
        return Estimate(math.exp(level + self.speeds.get(cluster, 0.0) + self.within / 2), 0, doubt)

    def boot(self, cluster: str) -> float:
        """Seconds from a task's arrival to its start on an instance that has to be booted for it."""
        return self.boots.get(cluster, PRIOR_BOOT)


NOTHING: Final = Learned()


def learn(runs: Iterable[Run]) -> Learned:
    """Everything that these runs teach."""
    ended: dict[tuple[str, str], list[float]] = defaultdict(list)
    going: dict[tuple[str, str], list[float]] = defaultdict(list)
    colds: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        if run.cold is not None and SPOT < run.cold <= _MOST_WAITS:
            colds[run.cluster].append(run.cold)
        seconds = min(_LONGEST, max(_SHORTEST, run.seconds))
        (ended if run.over else going)[run.workflow, run.cluster].append(math.log(seconds))
    logs = {pair: _drawn_in(found) for pair, found in ended.items()}
    within = _within(logs.values())
    boots = {cluster: _boot(found) for cluster, found in colds.items()}
    first = _predicted(logs, within)
    for pair, found in going.items():
        expected = first.run(*pair).seconds
        late = [y + math.log(_BEYOND) for y in found if math.exp(y) > expected]
        if late:
            logs[pair] = [*logs.get(pair, ()), *late]
    done = _predicted(logs, within)
    pairs = {pair: replace(e, runs=len(ended.get(pair, ()))) for pair, e in done.pairs.items()}
    return replace(done, pairs=pairs, boots=boots)


def _predicted(logs: Mapping[tuple[str, str], Sequence[float]], within: float) -> Learned:
    """The solution of the mixed model equations."""
    if not logs:
        return NOTHING
    means = {pair: sum(found) / len(found) for pair, found in logs.items()}
    noise = {pair: within / len(found) for pair, found in logs.items()}
    of_workflow, of_cluster = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for w, k in means:
        of_workflow[w].append(k)
        of_cluster[k].append(w)
    level = {w: sum(means[w, k] for k in ks) / len(ks) for w, ks in of_workflow.items()}
    speeds, unsure, own = dict.fromkeys(of_cluster, 0.0), dict[str, float](), _PRIOR_OWN[0]
    freedom = max(0, len(means) - len(level) - len(speeds) + 1)
    moved, sweeps = math.inf, 0
    while moved > _STILL and sweeps < _SWEEPS:
        before, sweeps = [*level.values(), *speeds.values()], sweeps + 1
        weight = {pair: 1 / (own + noise[pair]) for pair in means}
        middle = sum(level.values()) / len(level)
        for w, ks in of_workflow.items():
            told = sum(weight[w, k] * (means[w, k] - speeds[k]) for k in ks) + middle / _LEVELS
            level[w] = told / (sum(weight[w, k] for k in ks) + 1 / _LEVELS)
        for k, ws in of_cluster.items():
            unsure[k] = 1 / (sum(weight[w, k] for w in ws) + 1 / _SPEEDS)
            speeds[k] = unsure[k] * sum(weight[w, k] * (means[w, k] - level[w]) for w in ws)
        spare = sum((mean - level[w] - speeds[k]) ** 2 for (w, k), mean in means.items())
        own = (spare + _PRIOR_OWN[0] * _PRIOR_OWN[1]) / (freedom + _PRIOR_OWN[1])
        moved = max(abs(a - b) for a, b in zip(before, [*level.values(), *speeds.values()], strict=True))
    pairs = {}
    for (w, k), mean in means.items():
        rests = noise[w, k] / (own + noise[w, k])
        found = mean + rests * (level[w] + speeds[k] - mean)
        doubt = math.sqrt(rests * own + rests**2 * unsure[k])
        pairs[w, k] = Estimate(math.exp(found + within / 2), len(logs[w, k]), doubt)
    return Learned(pairs, level, speeds, unsure, within=within, own=own)


def _drawn_in(found: Sequence[float]) -> list[float]:
    """Outliers drawn in to where they do no harm."""
    if len(found) < 3:
        return list(found)
    middle = median(found)
    wide = 2.5 * max(0.1, 1.4826 * median(abs(y - middle) for y in found))
    return [min(middle + wide, max(middle - wide, y)) for y in found]


def _within(logs: Iterable[Sequence[float]]) -> float:
    total, freedom = _PRIOR_WITHIN[0] * _PRIOR_WITHIN[1], _PRIOR_WITHIN[1]
    for found in logs:
        mean = sum(found) / len(found)
        total += sum((y - mean) ** 2 for y in found)
        freedom += len(found) - 1
    return min(_WIDEST, total / freedom)


def _boot(found: Sequence[float]) -> float:
    return (median(found) * len(found) + PRIOR_BOOT * 3) / (len(found) + 3)
