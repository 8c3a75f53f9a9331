"""When a task is looked at next. Pure.

Owns the simple rule of this version: soon at first, then in proportion to the task's age, so that a short task
is noticed quickly and a long one costs few calls. The budget, not this rule, bounds the calls of many tasks.
"""

from typing import Final

FIRST: Final = 0.7
"""Seconds after the submission: a task can hardly be done before, and a first look tells of early failures."""
SHARE: Final = 0.12
"""A look every eighth of the age: a result is noticed at most about 12 % of the run time after it is there."""
LEAST: Final = 0.7
MOST: Final = 15.0
MOST_PENDING: Final = 20.0
"""Bounds in seconds. A pending task has not even begun, so it may wait a little longer."""


def next_look(age: float, status: str | None) -> float:
    """Seconds until the next look at a task that was submitted `age` seconds ago and now has this status."""
    return min(MOST_PENDING if status == "pending" else MOST, max(LEAST, age * SHARE))
