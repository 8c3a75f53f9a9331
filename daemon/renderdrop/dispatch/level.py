"""When everything that waits can be finished at the earliest, and what an instance-second of each cluster is then
worth.

Pure. Jobs are taken for a fluid that can be divided among clusters, instances for taps that open one after the other;
with hundreds of jobs on dozens of instances the error is a part of one run.

**Level.** With one kind of job, instance i of a cluster where a run takes m_i gives (T - start_i)⁺ / m_i jobs by time
T. The level is the T at which that adds up to what waits: water filling, solved exactly by walking up the starts.

**Prices.** With several workflows it matters who runs where: that is the linear program of scheduling on unrelated
machines (Lawler & Labetoulle 1978). Its dual asks for prices p_k of an instance-second. Since all capacity by T is
worth Σ p_k·(n_k·T - B_k), with n_k instances that open at times whose sum is B_k, and the work W_wk costs at least
Σ_w min_k p_k·W_wk, no schedule is done before

    T(p) = (Σ_w min_k p_k·W_wk + Σ_k p_k·B_k) / Σ_k p_k·n_k,

and the largest T(p) is the optimum (duality). It is climbed coordinate by coordinate with shrinking steps, which is
exact enough after a few dozen looks; the same function proves the bound of `bench/dispatch`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_COARSE: Final = 2.0
_FINE: Final = 1.1
"""First and last factor by which a price is tried to be raised or lowered."""
_BETTER: Final = 1.0001


@dataclass(frozen=True, slots=True)
class Fluid:
    """By cluster: `instances`, the sum of the moments at which they open (`starts`); `work`: by workflow, the seconds
    that all of it would take on each cluster."""

    instances: Sequence[int]
    starts: Sequence[float]
    work: Sequence[Sequence[float]]

    def level(self, prices: Sequence[float]) -> float:
        """T(p)."""
        cost = sum([min([p * s for p, s in zip(prices, row, strict=True)]) for row in self.work])
        late = sum([p * b for p, b in zip(prices, self.starts, strict=True)])
        return (cost + late) / sum([p * n for p, n in zip(prices, self.instances, strict=True)])


def level(starts: Mapping[str, Sequence[float]], runs: Mapping[str, float], jobs: int) -> float:
    """When so many jobs can be finished. `starts`: by cluster, when its instances open; `runs`: seconds of one job."""
    rate = debt = 0.0
    found = math.inf
    for start, per_second in sorted((start, 1 / runs[k]) for k, opens in starts.items() for start in opens):
        if start > found:
            break
        rate += per_second
        debt += start * per_second
        found = (jobs + debt) / rate
    return found


def prices(fluid: Fluid) -> list[float]:
    """The prices at which T(p) is as large as it gets, but for a few per cent."""
    found = [1.0 / sum(row[k] for row in fluid.work) for k in range(len(fluid.instances))]
    best, factor = fluid.level(found), _COARSE
    while factor > _FINE:
        better = False
        for k in range(len(found)):
            for by in (factor, 1 / factor):
                tried = [price * by if i == k else price for i, price in enumerate(found)]
                reached = fluid.level(tried)
                if reached > best * _BETTER:
                    found, best, better = tried, reached, True
        if not better:
            factor = math.sqrt(factor)
    return found
