"""The budget of status calls: never more than the rate and a small burst, in any stretch of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.runtime.budget import LOWEST, RECOVERS, TICK, Budget

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
    assert budget.capacity == 1.0 + rate * TICK


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
    assert sum(budget.take(3600.0) for _ in range(1000)) == 11


@pytest.mark.parametrize(("before", "after"), [(100.0, 1.0), (1.0, 100.0)])
def test_a_new_rate_counts_at_once(before: float, after: float) -> None:
    budget = Budget(before, 0.0)
    budget.rate = after
    made = [t / 100 for t in range(1000) for _ in range(30) if budget.take(t / 100)]
    assert len(made) <= after * 10 + 1.0 + max(before, after) * TICK
    at_most(after, budget.capacity, [t for t in made if t > 0])


@pytest.mark.parametrize("rate", [1.0, 2.0, 5.0, 10.0, 33.0])
def test_who_asks_four_times_a_second_gets_the_whole_rate(rate: float) -> None:
    budget, made = Budget(rate, 0.0), 0
    for tick in range(1, 4 * 100 + 1):
        while budget.take(tick * TICK):
            made += 1
    assert made == pytest.approx(rate * 100, abs=budget.capacity + 1)


def calls(budget: Budget, begin: float, seconds: float) -> int:
    return sum(budget.take(begin + n / 100) for n in range(int(seconds * 100)) for _ in range(3))


def test_too_many_halves_the_pace_and_it_comes_back_slowly() -> None:
    budget = Budget(20.0, 0.0)
    budget.too_many(0.0, 0.0)
    assert budget.pace == 10.0
    assert calls(budget, 0.0, 6.0) == pytest.approx(63, abs=6)
    calls(budget, 6.0, RECOVERS / 4 - 6.0)
    assert budget.pace == pytest.approx(15.0, abs=0.1)
    calls(budget, RECOVERS / 4, RECOVERS / 4)
    assert budget.pace == pytest.approx(20.0, abs=0.1)
    budget.take(10_000.0)
    assert budget.pace == 20.0


def test_the_pace_comes_back_though_nobody_draws() -> None:
    budget = Budget(16.0, 0.0)
    for at in (0.0, 0.01, 0.02):
        budget.too_many(at, at)
    assert budget.pace_at(0.02) == pytest.approx(2.0, abs=0.01)
    assert budget.pace_at(RECOVERS / 2) == pytest.approx(10.0, abs=0.01)
    assert budget.pace_at(RECOVERS) == 16.0
    budget.too_many(RECOVERS, RECOVERS)
    budget.pause(RECOVERS, 60.0)
    assert budget.pace_at(RECOVERS + 59.0) == 8.0  # a pause is no time to recover in


@given(RATES, STEPS)
def test_asking_for_the_pace_gives_nobody_a_call_more(rate: float, steps: list[float]) -> None:
    now, made, budget = 100.0, [], Budget(rate, 100.0)
    for step in steps:
        now += step
        budget.pace_at(now)
        while budget.take(now):
            made.append(now)
    at_most(rate, budget.capacity, made)


def test_calls_that_were_on_their_way_halve_it_no_further() -> None:
    budget = Budget(16.0, 0.0)
    for asked in (9.8, 9.9, 9.85, 10.0):
        budget.too_many(asked, 10.0)
    assert budget.pace == 8.0
    budget.too_many(10.1, 10.3)
    assert budget.pace == pytest.approx(4.0, abs=0.1)


@given(RATES, st.lists(st.floats(0, 1), max_size=60))
def test_the_pace_never_falls_so_low_that_nobody_would_notice_better_times(rate: float, steps: list[float]) -> None:
    budget, now = Budget(rate, 0.0), 0.0
    for step in steps:
        now += 0.01 + step
        budget.too_many(now, now)
        assert rate * LOWEST <= budget.pace <= rate
    assert budget.reserve(now) <= 2.0 / budget.pace


def test_a_pause_is_no_time_to_recover_in() -> None:
    budget = Budget(10.0, 0.0)
    budget.too_many(0.0, 0.0)
    budget.pause(0.0, 60.0)
    assert not budget.take(60.0)
    assert budget.pace == 5.0


def test_a_new_rate_keeps_the_share_that_the_platform_bears() -> None:
    budget = Budget(10.0, 0.0)
    budget.too_many(0.0, 0.0)
    budget.rate = 40.0
    assert budget.pace == 20.0
