"""The rules that are compared: the product's two policies as they are, and what else people do.

All are functions of the product's `Situation`; those that keep a turn or throw dice are made anew for each evening. All
of them leave ejected clusters alone, and those that reckon with run times get the same learned ones.
"""

import random
from collections.abc import Callable, Mapping
from itertools import count
from types import MappingProxyType
from typing import Final

from bench.dispatch.evening import Rule
from renderdrop.dispatch.choose import Choice, ClusterView, Hold, Situation, choose
from renderdrop.dispatch.expected import expect, usable


def _ceiling(view: ClusterView) -> float:
    return float(view.ceiling) if view.ceiling else 1.0


def _by(weight: Callable[[Situation, str], float]) -> Callable[[int], Rule]:
    """The rule that takes the smallest weight, the preferred cluster where they are equal."""

    def rule(situation: Situation) -> Choice | Hold | None:
        able = usable(situation)
        return Choice(min(able, key=lambda name: weight(situation, name)), "") if able else None

    return lambda seed: rule


def _fullness(situation: Situation, name: str) -> float:
    view = situation.active[name]
    return view.nodes / _ceiling(view)


def _headroom(situation: Situation, name: str) -> float:
    view = situation.active[name]
    return view.nodes - _ceiling(view)


def _delay(situation: Situation, name: str) -> float:
    """Shortest expected delay (Winston 1977; Houck 1987), run included: what waits beyond the instances that exist
    waits for a boot, what waits beyond the ceiling for its turn."""
    view, learned = situation.active[name], situation.learned
    run, most = learned.run(situation.workflow, name).seconds, max(1.0, _ceiling(view))
    if view.ours < view.nodes:
        return run
    boot = learned.boot(name) if view.nodes < most else 0.0
    return boot + max(0.0, view.ours + 1 - most) / most * run + run


def _round_robin(seed: int) -> Rule:
    turns = count()

    def rule(situation: Situation) -> Choice | Hold | None:
        able = usable(situation)
        return Choice(able[next(turns) % len(able)], "") if able else None

    return rule


def _two_choices(seed: int) -> Rule:
    """Of two at random the one with fewer of our tasks for its size (Mitzenmacher 2001)."""
    dice = random.Random(f"two choices {seed}")

    def rule(situation: Situation) -> Choice | Hold | None:
        able = usable(situation)
        if not able:
            return None
        two = dice.sample(able, min(2, len(able)))
        return Choice(min(two, key=lambda n: situation.active[n].ours / _ceiling(situation.active[n])), "")

    return rule


OURS: Final = "expected-completion"
SIMPLE: Final = "least-loaded"

RULES: Final[Mapping[str, Callable[[int], Rule]]] = MappingProxyType(
    {
        "smallest curr/max": _by(_fullness),
        "largest headroom": _by(_headroom),
        "round-robin": _round_robin,
        "two choices": _two_choices,
        SIMPLE: lambda seed: choose,
        "shortest expected delay": _by(_delay),
        OURS: lambda seed: expect,
    }
)
"""Each makes its rule for one evening from a seed."""
