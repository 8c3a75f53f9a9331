"""The budget of status calls: never more than the rate and a small burst, in any stretch of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.runtime.budget import Budget

RATES = st.floats(0.1, 100)
STEPS = st.lists(st.floats(0, 2), min_size=1, max_size=120)


def at_most(rate: float, capacity: float, calls: list[float]) -> None:
    for i, start in enumerate(calls):
        for j in range(i, len(calls)):
            assert j - i + 1 <= rate * (calls[j] - start) + capacity + 1e-6


@given(RATES, STEPS)
def test_no_stretch_of_time_sees_more_than_the_rate_and_the_burst(rate: float, steps: list[float]) -> None:
    now, made = 100.0, []
    budget = Budget(rate, now)
    for step in steps:
        now += step
        while budget.take(now):
            made.append(now)
    at_most(rate, budget.capacity, made)
    assert budget.capacity == max(1.0, rate / 4)


@given(RATES, st.lists(st.tuples(st.floats(0, 2), st.booleans()), min_size=1, max_size=60))
def test_calls_that_wait_for_their_turn_keep_the_same_bound(rate: float, steps: list[tuple[float, bool]]) -> None:
    now, made = 100.0, []
    budget = Budget(rate, now)
    for step, waits in steps:
        now += step
        if waits:
            made.append(now + budget.reserve(now))
        elif budget.take(now):
            made.append(now)
    at_most(rate, budget.capacity, sorted(made))


@given(RATES, st.floats(0.1, 120), st.floats(0, 1))
def test_a_pause_is_kept_by_everyone(rate: float, pause: float, share: float) -> None:
    budget = Budget(rate, 100.0)
    budget.pause(100.0, pause)
    assert not budget.take(100.0 + pause * share * 0.99)
    assert 100.0 + budget.reserve(100.0) >= 100.0 + pause


def test_a_pause_never_shortens_another() -> None:
    budget = Budget(10, 0.0)
    budget.pause(0.0, 60)
    budget.pause(1.0, 5)
    assert not budget.take(50.0)
    assert budget.take(60.2)


def test_time_that_went_back_gives_nothing_and_takes_nothing() -> None:
    budget = Budget(1, 100.0)
    assert budget.take(100.0)
    assert not budget.take(50.0)
    assert not budget.take(100.5)
    assert budget.take(101.0)


def test_a_long_rest_saves_up_no_more_than_the_burst() -> None:
    budget = Budget(40, 0.0)
    assert sum(budget.take(3600.0) for _ in range(1000)) == 10


@pytest.mark.parametrize(("before", "after"), [(100.0, 1.0), (1.0, 100.0)])
def test_a_new_rate_counts_at_once(before: float, after: float) -> None:
    budget = Budget(before, 0.0)
    budget.rate = after
    made = [t / 100 for t in range(1000) for _ in range(30) if budget.take(t / 100)]
    assert len(made) <= after * 10 + max(1.0, before / 4, after / 4)
    at_most(after, budget.capacity, [t for t in made if t > 0])
