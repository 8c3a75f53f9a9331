"""The worlds that rules are tried in: clusters, other tenants, workflows, faults.

Owns the scenarios and everything that fate decides in them. They were written down before the policy was, and are not
to be changed to suit it; the policy is tuned on other seeds than those that are reported. All that a dispatcher cannot
influence is drawn here from the seed, so that every rule meets the very same evening.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

LOOP: Final = 10.0
"""Seconds between two turns of the autoscaler."""
_LONGEST: Final = 6 * 3600
"""Seconds of fate that are drawn."""


@dataclass(frozen=True, slots=True)
class Outage:
    """For these seconds a cluster refuses what is sent, or loses (fails) all that is on it."""

    begins: float
    ends: float
    how: Literal["refuses", "loses"]


@dataclass(frozen=True, slots=True)
class Cluster:
    """`times`: how much longer a run takes than on the fastest. `ceiling` moves within its range, so do the `leases`,
    instances that other tenants hold whatever we do; `guests` of theirs a minute queue up beside us, in groups of up to
    `group`. `warm` instances stay without work; `boot`: seconds, shortest and longest."""

    name: str
    times: float
    ceiling: tuple[int, int]
    leases: tuple[int, int] = (0, 0)
    warm: int = 0
    boot: tuple[float, float] = (60.0, 100.0)
    guests: float = 0.5
    group: int = 1
    outage: Outage | None = None


@dataclass(frozen=True, slots=True)
class World:
    """A scenario. `workflows`: seconds on the fastest cluster, share of the batch, and cluster → its own multiple where
    it differs from the cluster's `times`. `known`: the chance that a pair of workflow and cluster was used before.
    `missing`: the chance that a status cannot be had; `untold`: that a ceiling reads -1. `spread`: standard deviation
    of the logarithm of a job's size. `step`: most instances that a cluster begins to boot in one turn."""

    name: str
    clusters: tuple[Cluster, ...]
    workflows: Mapping[str, tuple[float, float, Mapping[str, float]]] = field(
        default_factory=lambda: {"portrait": (40.0, 1.0, {})}
    )
    known: float = 1.0
    missing: float = 0.05
    untold: float = 0.1
    spread: float = 0.25
    step: int = 6
    uploads: int = 4
    upload: tuple[float, float] = (1.0, 4.0)


WORLDS: Final = (
    World(
        "near each other",
        (
            Cluster("C1", 1.0, (18, 22), (0, 4), 2),
            Cluster("C2", 1.5, (18, 21), (2, 8), 8),
            Cluster("C3", 2.0, (4, 6), (0, 1), 0, (80.0, 130.0)),
        ),
    ),
    World(
        "far apart",
        (
            Cluster("C1", 1.0, (5, 7), (0, 2), 1),
            Cluster("C2", 2.0, (8, 12), (0, 3), 2),
            Cluster("C3", 4.0, (12, 18), (0, 4), 4, (70.0, 120.0)),
            Cluster("C4", 7.0, (20, 26), (0, 4), 8, (80.0, 150.0)),
        ),
        spread=0.3,
    ),
    World(
        "full house",
        (
            Cluster("C1", 1.0, (8, 14), (2, 7), 2, guests=4.0, group=4),
            Cluster("C2", 2.0, (12, 20), (3, 10), 4, guests=2.0, group=8),
            Cluster("C3", 3.5, (10, 16), (0, 6), 2, (80.0, 130.0), guests=1.0, group=6),
        ),
        untold=0.2,
    ),
    World(
        "failing",
        (
            Cluster("C1", 1.0, (8, 12), (0, 3), 2, outage=Outage(150.0, 420.0, "refuses")),
            Cluster("C2", 1.3, (8, 10), (0, 3), 4, outage=Outage(240.0, 600.0, "loses")),
            Cluster("C3", 2.5, (10, 14), (0, 3), 2),
            Cluster("C4", 5.0, (16, 20), (0, 4), 6, (80.0, 150.0)),
        ),
    ),
    World(
        "three workflows",
        (
            Cluster("C1", 1.0, (10, 14), (0, 3), 2),
            Cluster("C2", 1.6, (12, 18), (0, 4), 6),
            Cluster("C3", 3.0, (12, 16), (0, 4), 2, (80.0, 140.0)),
            Cluster("C4", 6.0, (4, 8), (0, 2), 1, (60.0, 150.0)),
        ),
        workflows={
            "portrait": (20.0, 0.5, {}),
            "dance": (90.0, 0.2, {"C2": 0.9, "C3": 2.0}),
            "upscale": (45.0, 0.3, {"C2": 3.0, "C3": 1.2, "C4": 4.0}),
        },
        known=0.8,
    ),
    World(
        "nothing known",
        (
            Cluster("C1", 1.0, (10, 14), (0, 3), 0, (90.0, 150.0)),
            Cluster("C2", 3.0, (12, 18), (0, 4), 0, (70.0, 120.0)),
            Cluster("C3", 6.0, (14, 20), (0, 4), 0, (60.0, 100.0)),
        ),
        known=0.0,
        missing=0.3,
        untold=0.25,
        spread=0.35,
    ),
)


@dataclass(frozen=True, slots=True)
class Errand:
    """One of our jobs: its size (1 = its workflow's mean run) and how long its upload takes."""

    number: int
    workflow: str
    size: float
    upload: float


@dataclass(frozen=True, slots=True)
class Fate:
    """What one evening brings. `ceilings` and `leases`: by cluster, one figure a turn of the autoscaler, beginning at
    time 0. `guests`: by cluster (when, seconds). `past`: what was rendered before: (workflow, cluster, seconds)."""

    world: World
    seed: int
    jobs: tuple[Errand, ...]
    ceilings: Mapping[str, tuple[int, ...]]
    leases: Mapping[str, tuple[int, ...]]
    guests: Mapping[str, tuple[tuple[float, float], ...]]
    past: tuple[tuple[str, str, float], ...]

    def seconds(self, workflow: str, cluster: str) -> float:
        """The mean run time of a workflow on a cluster."""
        base, _, own = self.world.workflows[workflow]
        times = next(c.times for c in self.world.clusters if c.name == cluster)
        return base * own.get(cluster, times)


def draw(world: World, seed: int, jobs: int) -> Fate:
    """The evening that belongs to this seed."""
    dice = random.Random(f"{world.name}/{seed}")
    turns = int(_LONGEST / LOOP)
    ceilings = {c.name: _wander(dice, c.ceiling, turns, 0.12) for c in world.clusters}
    leases = {c.name: _wander(dice, c.leases, turns, 0.15) for c in world.clusters}
    base = sum(seconds * share for seconds, share, _ in world.workflows.values())
    guests = {c.name: _guests(dice, c, base * c.times) for c in world.clusters}
    past = []
    for name, (seconds, _, own) in world.workflows.items():
        for c in world.clusters:
            if dice.random() < world.known:
                mean = seconds * own.get(c.name, c.times)
                past += [(name, c.name, mean * _size(dice, world)) for _ in range(dice.randint(3, 25))]
    names, shares = list(world.workflows), [share for _, share, _ in world.workflows.values()]
    ours = tuple(
        Errand(n, dice.choices(names, shares)[0], _size(dice, world), dice.uniform(*world.upload)) for n in range(jobs)
    )
    return Fate(world, seed, ours, ceilings, leases, guests, tuple(past))


def _size(dice: random.Random, world: World) -> float:
    return dice.lognormvariate(-(world.spread**2) / 2, world.spread)


def _wander(dice: random.Random, within: tuple[int, int], turns: int, chance: float) -> tuple[int, ...]:
    """A figure that takes a step up or down now and then."""
    low, high = within
    now, path = dice.randint(low, high), []
    for _ in range(turns):
        path.append(now)
        if dice.random() < chance:
            now = min(high, max(low, now + dice.choice((-2, -1, 1, 2))))
    return tuple(path)


def _guests(dice: random.Random, cluster: Cluster, seconds: float) -> tuple[tuple[float, float], ...]:
    """Other tenants' tasks, from ten minutes before our batch on; in groups, so many a minute on the whole."""
    found, at, mean_group = [], -600.0, (1 + cluster.group) / 2
    while at < _LONGEST:
        at += dice.expovariate(cluster.guests / 60.0 / mean_group)
        found += [(at, seconds * dice.lognormvariate(-0.125, 0.5)) for _ in range(dice.randint(1, cluster.group))]
    return tuple(found)
