"""Which tasks lag: pending far longer than others of ours that were sent no earlier to another cluster. Pure.

Owns the memory of what this process has seen begin, and the one judgement. It must never ask the ledger or the
platform, and it knows no clock: times are monotonic seconds and passed in. Only what was witnessed counts, so that
neither a clock that is set nor hours in which nobody looked make a task seem late: after a restart every wait that is
judged begins anew.

**The wait** of a task counts from the later of two moments: when it was sent, and when its cluster last began a task of
ours that was sent before it. Clusters serve first come, first served: behind a long line of our own that moves, a task
is not late, its turn has only not come.

**The measure** are the waits of its *peers* on another cluster: tasks that were sent there no earlier (give or take
MEANWHILE) and have begun. Those of the same workflow, where FEWEST of them are known, else any of ours. Peers that wait
there still, and for longer than nine in ten of those, count with the wait that they have so far: where three found a
free instance and forty stand in line, nothing begins quickly. With these waits in order, w₁ ≤ … ≤ wₙ, and r the least
number that is nine tenths of n, a task lags behind that cluster when its own wait is longer than

    FACTOR · w_r        FACTOR = 3

Each other cluster is looked at by itself, and one that begins tasks quickly is enough: that others stand still too is
no comfort.

Why these figures: let the waits here be like those elsewhere, whatever their rate, and exponential (a boot's are
steadier, which makes a false word rarer). The r-th of n is w_r = Σ E_k / k over k = n-r+1 … n, with independent
exponential E_k (Rényi 1953), and P(E > x) = exp(-x). So the chance to wait longer than c · w_r all the same is

    E[exp(-c · w_r)] = Π k / (k + c),   k = n-r+1 … n

For c = 3 and the longest of n (r = n) that is 1 / C(n+3, 3): 1 in 20 for three peers, the fewest from which anything
is concluded, 1 in 84 for six; with nine tenths 1 in 72 for ten, 1 in 177 for twenty. It never exceeds 1 in 20.

**Nor does a task lag** before it has waited for `least` seconds (longer than an instance takes to boot: a cold cluster
is not a stuck one), or for OWN times the median of what those that have begun on its own cluster waited for their turn:
one that always takes long is slow, which the choice of clusters knows.
"""

import math
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple

from renderdrop.model.units import spoken

FEWEST: Final = 3
"""Peers from which something is concluded."""
FACTOR: Final = 3.0
OWN: Final = 2.0
MEANWHILE: Final = 60.0
"""Seconds by which a peer may have been sent earlier: a batch is sent within about that time."""
_MEMORY: Final = 200
"""Beginnings remembered of each cluster, the latest."""
_CLUSTERS: Final = 64
"""Clusters that are remembered: the names come from the settings, which may be read again and again."""


class _Sent(NamedTuple):
    """A task that has not begun. `sent`: when it was; `since`: from when on this process has known it."""

    workflow: str
    cluster: str
    sent: float
    since: float


class _Begun(NamedTuple):
    """A task that has. `wait`: seconds, as long as it can have been; `turn`: those since one before it began there, or
    since it was sent; `at`: when that was seen."""

    workflow: str
    sent: float
    wait: float
    turn: float
    at: float


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a task lags: the seconds that it has been seen pending, and another cluster where so many `peers` began,
    nine in ten of them within `usual` seconds."""

    waited: float
    behind: str
    peers: int
    usual: float

    def sentence(self, task: str, cluster: str) -> str:
        """For people."""
        return (
            f"task {task} has been pending on {cluster} for {spoken(self.waited)}, while {self.peers} that were sent "
            f"no earlier to {self.behind} began within {spoken(max(1.0, math.ceil(self.usual)))}"
        )


class Beginnings:
    """What this process has seen of tasks that wait and begin. Tasks on no cluster (models) are none of it."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Sent] = {}
        self._begun: dict[str, deque[_Begun]] = {}

    def follow(self, key: str, workflow: str, cluster: str, now: float, waited: float = 0.0) -> None:
        """A task that has not begun as far as is known, sent `waited` seconds ago."""
        if cluster:
            self._waiting[key] = _Sent(workflow, cluster, now - waited, now)

    def begun(self, key: str, now: float) -> None:
        """A look found it at work, or done."""
        task = self._waiting.pop(key, None)
        if task is None:
            return
        seen = self._begun.pop(task.cluster, None)
        if seen is None:
            seen = deque(maxlen=_MEMORY)
            if len(self._begun) >= _CLUSTERS:
                del self._begun[next(iter(self._begun))]
        self._begun[task.cluster] = seen  # the one of which nothing began for longest is forgotten first
        turn = now - max(task.sent, seen[-1].at) if seen else now - task.sent
        seen.append(_Begun(task.workflow, task.sent, now - task.sent, turn, now))

    def forget(self, key: str) -> None:
        """It is followed no more."""
        self._waiting.pop(key, None)

    def judge(self, key: str, now: float, least: float) -> Lag | None:
        """Whether a task that a look has just found pending lags; None: it does not, or nothing can be said."""
        task = self._waiting.get(key)
        if task is None or now - task.since <= least:
            return None
        own = self._begun.get(task.cluster, ())
        its_own = median(one.turn for one in own) if len(own) >= FEWEST else 0.0
        turn = max((one.at for one in own if one.sent <= task.sent), default=task.since)
        waited, floor = now - max(task.since, turn), max(least, OWN * its_own)
        if waited <= floor:
            return None
        found = [self._usual(name, task, now) for name in self._begun if name != task.cluster]
        late = [(usual, name, peers) for usual, name, peers in found if waited > FACTOR * usual]
        if not late:
            return None
        usual, name, peers = min(late)
        return Lag(now - task.since, name, peers, usual)

    def _usual(self, cluster: str, task: _Sent, now: float) -> tuple[float, str, int]:
        """Within how many seconds nine in ten of the task's peers begin on that cluster (infinity: too few are known),
        and how many have begun."""
        peers = [one for one in self._begun[cluster] if one.sent >= task.sent - MEANWHILE]
        alike = [one for one in peers if one.workflow == task.workflow]
        begun = [one.wait for one in (alike if len(alike) >= FEWEST else peers)]
        if len(begun) < FEWEST:
            return math.inf, cluster, len(begun)
        usual = nine_tenths(begun)
        waits = (now - one.sent for one in self._waiting.values() if one.cluster == cluster)
        return nine_tenths([*begun, *(wait for wait in waits if wait > usual)]), cluster, len(begun)


def nine_tenths(waits: list[float]) -> float:
    """The least of them that nine tenths do not exceed."""
    return sorted(waits)[math.ceil(0.9 * len(waits)) - 1]
