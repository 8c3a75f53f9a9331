"""Which cluster a job goes to: what a choice may know, what it may say, and the simple policy `least-loaded`.

Pure: everything that a policy may know stands in one dataclass, so that it can be simulated (`bench/dispatch`);
nothing here may ask the clock, the ledger or the platform. The other policy, which learns, is in `expected`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from renderdrop.dispatch.learned import NOTHING, Learned


@dataclass(frozen=True, slots=True)
class OurTask:
    """One of our tasks on a cluster. `seconds` since it was sent, or since it was first seen running."""

    workflow: str
    seconds: float
    running: bool


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One active cluster as known at the moment of choice.

    `nodes`: instances that existed when the status was taken. `ceiling`: how far it could scale then, None where
    the platform could not tell. `ours`: our own tasks there now, those sent since the status among them; `tasks`: the
    same, one by one.
    """

    nodes: int
    ceiling: int | None
    ours: int
    tasks: tuple[OurTask, ...] = ()


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a choice depends on. `allowed` is the route's list in its order of preference; `active` holds only
    clusters that exist now; `resting` those that refused or failed a moment ago.

    For the policy that learns: the job's `workflow`; `queue`, how many jobs wait to be sent, by workflow, this one
    among them; `age`, seconds since the clusters' status was taken; `learned`; `last`, the cluster that was chosen
    last for the workflow; `held`, seconds for which none of its jobs that may go to the same clusters could be begun.
    """

    allowed: tuple[str, ...]
    active: Mapping[str, ClusterView]
    resting: frozenset[str] = frozenset()
    workflow: str = ""
    queue: Mapping[str, int] = field(default_factory=dict)
    age: float = 0.0
    learned: Learned = NOTHING
    last: str | None = None
    held: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The cluster, and the reason for the job's history. `room`: how many jobs like it could be begun now, None = any
    number."""

    cluster: str
    reason: str
    room: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """The job waits, because none of the clusters is worth it now; `reason` says for what."""

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
