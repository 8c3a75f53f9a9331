"""How soon a batch could be finished by one who knows the whole evening beforehand.

A lower bound: no rule, clairvoyant ones included, can be sooner. It is the best of three, each of which drops
some of what holds a real dispatcher back:

**Fluid.** Jobs of a workflow are a fluid that may be divided among clusters at will. By time T cluster k can have given
A_k(T) = ∫ min(n_k(t), r(t)) dt instance-seconds. n_k(t) is the most instances that can be at our work then:
- those that exist at the drop and are not at a guest's work (that work ends when it ends, whoever sends what);
- those that the autoscaler can have booted by then: at most `step` in each turn, the first turn at or after the drop,
  each taking at least the shortest boot of its cluster;
- never more than the room (ceiling less leases) of any moment within the longest run before t: a run that has begun may
  outlast a fall of the ceiling, but none begins above it;
- none while the cluster loses what is on it, for what runs then is lost. Guests who come later are left out: whoever
  had sent everything at once would be served before them. r(t) is how many jobs can have been uploaded by then: the
  shortest uploads first, on so many hands. T is too short if for some prices p_k ≥ 0 of an instance-second, Σ_k
  p_k·A_k(T) < Σ_w min_k p_k·S_wk, with S_wk the seconds of all of w's jobs on k: all the capacity there is is worth
  less than what the work costs where it is cheapest (weak duality of the linear program of R|pmtn, split|Cmax; Lawler
  & Labetoulle 1978). Any prices prove that, so the search for good ones need not be perfect for the bound to hold.

**One job.** No job is finished before its own upload, the first instance of some cluster, and its run there.

**Uploads.** No batch is finished before its last upload and the shortest run.
"""

import math
from collections.abc import Mapping
from typing import Final

from bench.dispatch.evening import Evening, Machine
from bench.dispatch.worlds import LOOP, Fate
from renderdrop.dispatch.choose import choose

_STEP: Final = 5.0
"""Seconds between two looks at the capacity; what lies between counts fully."""


class _Drop(Exception):
    """No error: the moment of the drop."""


def _at_the_drop(fate: Fate) -> Mapping[str, Machine]:
    """The clusters as the drop finds them: nothing that a rule does can have changed them."""

    class Before(Evening):
        def _drop(self) -> None:
            raise _Drop

    evening = Before(fate, choose)
    try:
        evening.play()
    except _Drop:
        pass
    guests = {}
    for at, _, action, given in evening.events:
        if action == evening._ended:
            guests[given[1]] = at
    for machine in evening.machines.values():
        for task in machine.running:
            task.sent = guests[task]
    return evening.machines


def bound(fate: Fate) -> float:
    """Seconds from the drop before which no batch can be finished."""
    machines = _at_the_drop(fate)
    clusters = fate.world.clusters
    sizes: dict[str, float] = {}
    for job in fate.jobs:
        sizes[job.workflow] = sizes.get(job.workflow, 0.0) + job.size
    work = {w: [size * fate.seconds(w, c.name) for c in clusters] for w, size in sizes.items()}
    curves = [_capacity(fate, machines[c.name], c.name) for c in clusters]
    uploads = sorted(job.upload for job in fate.jobs)
    uploaded, total = [], 0.0
    for upload in uploads:
        total += upload
        uploaded.append(max(upload, total / fate.world.uploads))
    low = _alone(fate, machines)
    low = max(low, uploaded[-1] + min(fate.seconds(w, c.name) * 0.3 for w in sizes for c in clusters))
    high = 5 * 3600.0
    given = _integrals(curves, uploaded)
    while high - low > 1.0:
        middle = (low + high) / 2
        if _too_short([_upto(g, middle) for g in given], list(work.values())):
            low = middle
        else:
            high = middle
    return low


def _capacity(fate: Fate, machine: Machine, name: str) -> list[int]:
    """n_k by steps of time, as above."""
    spec = machine.spec
    rooms = [max(0, c - x) for c, x in zip(fate.ceilings[name], fate.leases[name], strict=True)]
    longest = max(job.size * fate.seconds(job.workflow, name) for job in fate.jobs)
    back = math.ceil(longest / LOOP) + 1
    ends = [task.sent for task in machine.running]
    here = len(machine.running) + len(machine.idle)
    found = []
    for n in range(int(3 * 3600 / _STEP)):
        at = (n + 1) * _STEP  # the end of the step: it counts fully
        turn = int(n * _STEP / LOOP)
        turns = max(0, math.floor((at - spec.boot[0]) / LOOP) + 1)
        most = here - sum(end > at for end in ends) + machine.booting + turns * fate.world.step
        most = min(most, max(rooms[max(0, turn - back) : turn + 2]))
        outage = spec.outage
        lost = outage is not None and outage.how == "loses" and outage.begins <= n * _STEP and at <= outage.ends
        found.append(0 if lost else max(0, most))
    return found


def _integrals(curves: list[list[int]], uploaded: list[float]) -> list[list[float]]:
    """A_k at the end of each step."""
    found = []
    for curve in curves:
        total, integral, ready = 0.0, [0.0], 0
        for n, most in enumerate(curve):
            while ready < len(uploaded) and uploaded[ready] <= (n + 1) * _STEP:
                ready += 1
            total += _STEP * min(most, ready)
            integral.append(total)
        found.append(integral)
    return found


def _upto(integral: list[float], at: float) -> float:
    n = min(len(integral) - 2, int(at / _STEP))
    return integral[n] + (integral[n + 1] - integral[n]) * (at / _STEP - n)


def _too_short(capacity: list[float], work: list[list[float]]) -> bool:
    """Whether some prices prove that the work cannot fit."""
    prices = [1.0 / min(row[k] / min(row) for row in work) for k in range(len(capacity))]
    best = _excess(prices, capacity, work)
    factor = 2.0
    while best <= 0 and factor > 1.005:
        better = False
        for k in range(len(prices)):
            for by in (factor, 1 / factor):
                tried = [p * by if i == k else p for i, p in enumerate(prices)]
                found = _excess(tried, capacity, work)
                if found > best:
                    prices, best, better = tried, found, True
        if not better:
            factor = math.sqrt(factor)
    return best > 0


def _excess(prices: list[float], capacity: list[float], work: list[list[float]]) -> float:
    """What the work costs beyond what all capacity is worth, as a share of the latter."""
    worth = sum(p * a for p, a in zip(prices, capacity, strict=True))
    cost = sum(min(p * s for p, s in zip(prices, row, strict=True)) for row in work)
    return cost / worth - 1 if worth > 0 else 1.0


def _alone(fate: Fate, machines: Mapping[str, Machine]) -> float:
    """The job that takes longest even alone."""

    def first(name: str) -> float:
        machine = machines[name]
        if machine.idle or machine.booting:
            return 0.0
        return min([machine.spec.boot[0], *(task.sent for task in machine.running)])

    free = {c.name: first(c.name) for c in fate.world.clusters}
    return max(
        min(max(job.upload, free[name]) + job.size * fate.seconds(job.workflow, name) for name in free)
        for job in fate.jobs
    )
