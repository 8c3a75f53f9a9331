"""The rules that are measured: the product's own plan, unchanged, and those that it is compared with.

Owns the others: each asks after whoever is due first, within the same budget.
"""

import heapq
from collections.abc import Callable
from typing import Protocol

from renderdrop.runtime.budget import TICK
from renderdrop.tracking.plan import Plan


class Rule(Protocol):
    """Who is looked at when. Times are seconds."""

    early: float
    """Seconds by which a look may be taken before it is due, so that ticks delay none of them on average."""

    def adapt(self, pace: float, now: float) -> None: ...
    def follow(self, key: str, workflow: str, cluster: str, now: float) -> None: ...
    def next_due(self) -> float | None: ...
    def take(self, now: float) -> str | None: ...
    def saw(self, key: str, now: float, status: str, percent: float | None) -> None: ...
    def succeeded(self, key: str, now: float) -> None: ...


class Intervals:
    """A rule that knows nothing but a task's age, its last status and how often it was looked at.

    `after(age, status, looks)` gives the seconds until the next look.
    """

    def __init__(self, after: Callable[[float, str | None, int], float]) -> None:
        self.early = 0.0
        self._after = after
        self._since: dict[str, float] = {}
        self._looks: dict[str, int] = {}
        self._due: list[tuple[float, str]] = []

    def adapt(self, pace: float, now: float) -> None:
        pass

    def follow(self, key: str, workflow: str, cluster: str, now: float) -> None:
        self._since[key], self._looks[key] = now, 0
        heapq.heappush(self._due, (now + self._after(0.0, None, 0), key))

    def next_due(self) -> float | None:
        return self._due[0][0] if self._due else None

    def take(self, now: float) -> str | None:
        return heapq.heappop(self._due)[1] if self._due and self._due[0][0] <= now else None

    def saw(self, key: str, now: float, status: str, percent: float | None) -> None:
        self._looks[key] += 1
        heapq.heappush(self._due, (now + self._after(now - self._since[key], status, self._looks[key]), key))

    def succeeded(self, key: str, now: float) -> None:
        del self._since[key], self._looks[key]


class Planned(Plan):
    """The product's plan."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.early = TICK / 2  # as in `tracking.track`


def fixed(age: float, status: str | None, looks: int) -> float:
    """The platform's own sample code: every five seconds."""
    return 5.0


def exponential(age: float, status: str | None, looks: int) -> float:
    """1 s, and half as long again each time, up to 30 s."""
    return float(min(30.0, 1.5**looks))


def by_age(age: float, status: str | None, looks: int) -> float:
    """The rule of renderdrop 0.3: an eighth of the age, between 0.7 and 15 s (20 s while pending)."""
    return min(20.0 if status == "pending" else 15.0, max(0.7, age * 0.12))


RULES: dict[str, Callable[[], Rule]] = {
    "every 5 s": lambda: Intervals(fixed),
    "exponential": lambda: Intervals(exponential),
    "share of age (0.3)": lambda: Intervals(by_age),
    "hazard (now)": Planned,
}
