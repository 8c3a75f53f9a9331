"""How soon a task is looked at again: quickly while it is young, never too seldom, never in a storm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.tracking.cadence import LEAST, MOST, MOST_PENDING, next_look

STATUS = st.sampled_from([None, "pending", "running"])


@given(st.floats(0, 10**7), STATUS)
def test_the_next_look_is_within_its_bounds(age: float, status: str | None) -> None:
    assert LEAST <= next_look(age, status) <= (MOST_PENDING if status == "pending" else MOST)


@given(st.floats(0, 10**6), st.floats(0, 10**6), STATUS)
def test_an_older_task_is_never_looked_at_more_often(one: float, other: float, status: str | None) -> None:
    young, old = sorted([one, other])
    assert next_look(young, status) <= next_look(old, status)


@pytest.mark.parametrize(("runs", "calls"), [(2, 4), (30, 25), (600, 80)])
def test_a_task_costs_few_calls_and_its_end_is_noticed_soon(runs: float, calls: int) -> None:
    age, made = 0.0, 0
    while age < runs:
        age += next_look(age, "running")
        made += 1
    assert made <= calls
    assert age - runs <= max(LEAST, min(MOST, 0.12 * runs) + 0.1)
