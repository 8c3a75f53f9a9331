"""When a task is looked at again: the interval goes with 1/√hazard, and progress is believed as far as it deserves."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.tracking.cadence import (
    FINE,
    FIRST,
    FREE,
    LEAST,
    MOST,
    Bell,
    Hint,
    Odds,
    blurred,
    delayed,
    informed,
    next_look,
    next_look_pending,
    usual,
)

BELLS = st.lists(
    st.tuples(st.floats(0.01, 1), st.floats(-3, 12), st.floats(0.0004, 4)), min_size=1, max_size=9
).map(lambda rows: [Bell(w / sum(row[0] for row in rows), m, v) for w, m, v in rows])  # fmt: skip
AGES = st.floats(0, 10**6)
HINTS = st.builds(Hint, st.floats(-3, 12), st.floats(0.0004, 4))


def bell(seconds: float, spread: float) -> Odds:
    return [Bell(1.0, math.log(seconds), spread**2)]


def unnoticed(odds: Odds, age: float, wait: float) -> float:
    """A(u) by plain summing, for comparison."""

    def still(at: float) -> float:
        return sum(b.weight * 0.5 * math.erfc((math.log(at) - b.mean) / math.sqrt(2 * b.variance)) for b in odds)

    pieces, step = 4000, wait / 4000
    return sum(1 - still(age + (i + 0.5) * step) / still(age) for i in range(pieces)) * step


@given(BELLS, AGES, st.floats(FREE, 10**4), st.floats(1, 100))
def test_the_next_look_is_within_its_bounds(odds: Odds, age: float, price: float, stretch: float) -> None:
    least = min(MOST, max(LEAST, FINE * age))
    assert least <= next_look(odds, age, price, MOST * stretch) <= max(least, MOST * stretch)


@given(BELLS, st.floats(0.1, 10**4), st.floats(FREE, 100), st.floats(1, 10))
def test_a_dearer_look_is_never_sooner(odds: Odds, age: float, price: float, more: float) -> None:
    assert next_look(odds, age, price * more, 300.0) >= next_look(odds, age, price, 300.0) * 0.97


@pytest.mark.parametrize(("run", "spread", "age"), [(60, 0.1, 50), (60, 0.3, 5), (600, 0.1, 300), (240, 0.5, 400)])
@pytest.mark.parametrize("price", [0.1, 1.0, 5.0])
def test_it_comes_when_the_delay_to_be_expected_has_grown_to_the_price(
    run: float, spread: float, age: float, price: float
) -> None:
    odds = bell(run, spread)
    wait = next_look(odds, age, price, 3_000.0)
    assert unnoticed(odds, age, wait) == pytest.approx(price, rel=0.05)


@pytest.mark.parametrize("times", [4.0, 16.0])
def test_where_the_hazard_hardly_changes_the_interval_goes_with_one_over_its_root(times: float) -> None:
    """A broad bell far behind its middle has a hazard that falls like 1/age, slowly: hence one over the root of it."""
    odds = bell(10.0, 3.0)
    early, late = next_look(odds, 1_000.0, FREE), next_look(odds, 1_000.0 * times, FREE * 100, 10_000.0)

    def hazard(age: float) -> float:
        z = (math.log(age) - odds[0].mean) / 3.0
        return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / (3.0 * age) / (0.5 * math.erfc(z / math.sqrt(2)))

    for wait, age, price in ((early, 1_000.0, FREE), (late, 1_000.0 * times, FREE * 100)):
        assert wait == pytest.approx(max(FINE * age, math.sqrt(2 * price / hazard(age))), rel=0.05)


@pytest.mark.parametrize("run", [5.0, 20.0, 50.0])
def test_with_budget_enough_the_end_of_a_short_task_is_known_at_once_and_its_beginning_not_watched(run: float) -> None:
    odds = [*([Bell(0.9, math.log(run), 0.01)]), Bell(0.1, math.log(run), 0.4)]
    assert next_look(odds, run, FREE) <= 0.7
    age, looks = 0.0, 0
    while age < run:
        age += next_look(odds, age, FREE)
        looks += 1
    assert age - run <= 0.7
    assert looks <= 40


def test_a_task_that_has_almost_surely_ended_is_looked_at_however_dear_a_look_is() -> None:
    assert next_look(bell(60.0, 0.02), 59.0, 20.0, 300.0) == pytest.approx(21.0, abs=1.0)


def test_a_task_that_cannot_end_for_long_is_left_alone_but_not_for_ever() -> None:
    assert next_look(bell(3600.0, 0.1), 10.0, FREE) == MOST


@given(AGES)
def test_a_task_that_hangs_is_looked_at_on_and_on_but_seldom(age: float) -> None:
    assert next_look(bell(10.0, 0.05), age + 100.0, FREE) <= MOST


@given(BELLS, HINTS)
def test_what_progress_tells_are_odds_again(odds: Odds, hint: Hint) -> None:
    told = informed(odds, hint)
    assert math.fsum(b.weight for b in told) == pytest.approx(1.0, abs=0.01)
    assert all(b.variance > 0 and b.weight >= 0 for b in told)


def test_progress_that_says_nearly_makes_the_next_look_come_sooner() -> None:
    odds = bell(300.0, 0.5)
    nearly = informed(odds, Hint(math.log(155.0), 0.001))
    assert next_look(nearly, 150.0, 1.0) < next_look(odds, 150.0, 1.0) / 2


def test_progress_that_fits_nothing_known_is_not_believed() -> None:
    """A model that is loaded stands at 1 % for as long as a whole run: nobody waits an hour for that."""
    odds = [Bell(0.95, math.log(25.0), 0.02), Bell(0.05, math.log(25.0), 0.4)]
    assert usual(informed(odds, Hint(math.log(4_000.0), 0.05))) < 60.0


def test_no_progress_changes_nothing() -> None:
    odds = bell(10.0, 0.2)
    assert informed(odds, None) is odds


@given(BELLS, st.floats(0, 10**4))
def test_a_start_that_is_badly_known_only_makes_the_odds_broader(odds: Odds, unsure: float) -> None:
    for before, after in zip(odds, blurred(odds, unsure), strict=True):
        assert (after.weight, after.mean) == (before.weight, before.mean)
        assert before.variance <= after.variance <= before.variance + 1.0


@given(BELLS, st.floats(0, 10**4), st.floats(0, 10**8))
def test_a_wait_before_the_run_only_adds_to_it(odds: Odds, mean: float, variance: float) -> None:
    for before, after in zip(odds, delayed(odds, mean, variance), strict=True):
        run = math.exp(before.mean + before.variance / 2)
        assert math.exp(after.mean + after.variance / 2) == pytest.approx(run + mean, rel=1e-3)


@given(BELLS, st.floats(0, 10**5), st.integers(0, 10**4), st.none() | st.floats(0, 10**3), st.floats(1, 50))
def test_a_pending_task_is_looked_at_within_bounds(
    odds: Odds, waited: float, ahead: int, gap: float | None, stretch: float
) -> None:
    wait = next_look_pending(odds, waited, ahead, gap, FREE * stretch**2)
    assert LEAST <= wait <= MOST


def test_the_first_in_the_queue_is_looked_at_soon_and_those_behind_it_rarely() -> None:
    odds = bell(30.0, 0.1)
    waits = [next_look_pending(odds, 10.0, ahead, 5.0, FREE) for ahead in range(12)]
    assert FIRST <= waits[0] <= 5.0
    assert waits == sorted(waits)
    assert waits[-1] == MOST


def test_a_pending_task_that_may_well_be_over_is_not_left_for_long() -> None:
    """With a budget so scarce that its start is not worth a look, it is looked at when it may have ended."""
    odds = bell(10.0, 0.1)
    assert next_look_pending(odds, 0.0, 0, 1.0, FREE * 400, 600.0) < 30.0
