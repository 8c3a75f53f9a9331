"""Which cluster a job goes to. Pure: everything it may know stands in one dataclass.

Owns the policy `least-loaded`. A later policy replaces `choose` behind the same inputs and can be simulated
with them; nothing here may ask the clock, the ledger or the platform.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One active cluster as known at the moment of choice.

    `nodes`: instances that existed when the status was taken. `ceiling`: how far it could scale then, None where
    the platform could not tell. `ours`: our own tasks there now, those sent since the status among them.
    """

    nodes: int
    ceiling: int | None
    ours: int


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a choice depends on. `allowed` is the route's list in its order of preference; `active` holds only
    clusters that exist now; `resting` those that refused or failed a moment ago."""

    allowed: tuple[str, ...]
    active: Mapping[str, ClusterView]
    resting: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Choice:
    """The cluster, and the reason for the job's history."""

    cluster: str
    reason: str


def choose(situation: Situation) -> Choice | None:
    """The least loaded of the allowed clusters; the order of preference breaks ties. None: none of them is active.

    Load is (nodes + ours) / ceiling. `nodes` are instances that exist and not a queue, so our own tasks are added
    to them: that is what spreads a burst before any status can show it, and what keeps spreading it where the
    status lags. Tasks of ours that already have an instance count twice, which makes our own share of a
    cluster weigh more than other people's, of whom we know less. A ceiling of 0 can take nothing now and comes last.
    An unknown ceiling is neither full nor free: it is taken to be the mean of the known ones.
    """
    candidates = [name for name in situation.allowed if name in situation.active]
    rested = [name for name in candidates if name not in situation.resting] or candidates
    if not rested:
        return None
    known = [c for c in (situation.active[name].ceiling for name in candidates) if c]
    otherwise = sum(known) / len(known) if known else 1.0

    def load(name: str) -> float:
        view = situation.active[name]
        ceiling = otherwise if view.ceiling is None else float(view.ceiling)
        return (view.nodes + view.ours) / ceiling if ceiling > 0 else float("inf")

    best = min(rested, key=lambda name: (load(name), situation.allowed.index(name)))
    return Choice(best, _reason(best, rested, situation, load(best)))


def _reason(best: str, rested: list[str], situation: Situation, load: float) -> str:
    view = situation.active[best]
    ceiling = "unknown" if view.ceiling is None else view.ceiling
    figures = f"instances {view.nodes}, our tasks {view.ours}, can scale to {ceiling}"
    if len(rested) == 1:
        return f"{best}: the only one of the route's clusters that can be used now ({figures})"
    return f"{best}: the least loaded of {len(rested)} at {load:.2f} ({figures})"
