"""What earlier tasks teach: run times with two summits, few and badly known ones, progress that misleads."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.tracking.cadence import Odds, usual
from renderdrop.tracking.learned import ANY, Learned, bracket


def longer(odds: Odds, age: float) -> float:
    return sum(b.weight * 0.5 * math.erfc((math.log(age) - b.mean) / math.sqrt(2 * b.variance)) for b in odds)


def taught(*seconds: float, cluster: str = "A", unsure: float = 0.0) -> Learned:
    learned = Learned()
    for run in seconds:
        learned.ran("w", cluster, run, unsure)
    return learned


@given(st.lists(st.tuples(st.floats(0, 10**6), st.floats(0, 10**6)), max_size=60))
def test_odds_are_odds_whatever_was_seen(runs: list[tuple[float, float]]) -> None:
    learned = Learned()
    for seconds, unsure in runs:
        learned.ran("w", "A", seconds, unsure)
    for cluster in ("A", "B"):
        odds = learned.odds("w", cluster)
        assert math.fsum(b.weight for b in odds) == pytest.approx(1.0)
        assert all(b.variance > 0.0 for b in odds)


def test_a_workflow_that_never_ran_may_take_any_time() -> None:
    assert Learned().odds("w", "A") == [ANY]


def test_the_more_it_ran_the_surer_it_is() -> None:
    few, many = taught(30.0).odds("w", "A"), taught(*[30.0] * 40).odds("w", "A")
    for odds, sure in ((few, 0.3), (many, 0.9)):
        assert longer(odds, 20.0) - longer(odds, 45.0) > sure
    assert usual(many) == pytest.approx(30.0, rel=0.1)


def test_a_cluster_that_it_never_ran_on_is_guessed_from_the_others() -> None:
    odds = taught(*[300.0] * 20).odds("w", "B")
    assert usual(odds) == pytest.approx(300.0, rel=0.2)
    assert longer(odds, 150.0) - longer(odds, 600.0) < 0.8


def test_what_is_learned_on_one_cluster_reaches_the_odds_of_another() -> None:
    learned = taught(10.0)
    before = learned.odds("w", "B")
    for _ in range(30):
        learned.ran("w", "A", 500.0)
    assert usual(learned.odds("w", "B")) > 3 * usual(before)


def test_two_summits_stay_two() -> None:
    odds = taught(*([20.0] * 20 + [60.0] * 20)).odds("w", "A")
    assert longer(odds, 30.0) - longer(odds, 42.0) < 0.25
    assert longer(odds, 42.0) == pytest.approx(0.5, abs=0.1)


def test_one_run_that_hung_does_not_blur_the_others() -> None:
    odds = taught(*([20.0] * 39 + [4000.0])).odds("w", "A")
    assert longer(odds, 16.0) - longer(odds, 25.0) > 0.85


def test_run_times_that_nobody_saw_count_for_little() -> None:
    learned = taught(*[100.0] * 30, unsure=300.0)
    for _ in range(5):
        learned.ran("w", "A", 10.0, 0.5)
    odds = learned.odds("w", "A")
    assert longer(odds, 6.0) - longer(odds, 16.0) > 0.6


def test_old_run_times_are_forgotten() -> None:
    odds = taught(*([500.0] * 40 + [10.0] * 40)).odds("w", "A")
    assert longer(odds, 100.0) < 0.05


@pytest.mark.parametrize("runs", [(100.0, 110.0, 90.0, 105.0), (20.0, 25.0)])
def test_progress_that_grows_evenly_tells_the_whole_run(runs: tuple[float, ...]) -> None:
    learned = Learned()
    for run in runs:
        learned.progressed("w", [(47.0, run * 0.5), (92.0, run * 0.98)], run)
    hint = learned.hint("w", 47.0, 30.0, 0.0)
    assert hint is not None
    assert math.exp(hint.mean) == pytest.approx(60.0, rel=0.02)


def test_progress_that_comes_to_an_end_early_and_stays_is_taken_for_what_it_is() -> None:
    learned = Learned()
    for run in (100.0, 200.0, 150.0):
        learned.progressed("w", [(94.0, run * 0.6)], run)
    hint = learned.hint("w", 94.0, 60.0, 0.0)
    assert hint is not None
    assert math.exp(hint.mean) == pytest.approx(100.0, rel=0.02)


def test_progress_that_means_something_else_each_time_says_so() -> None:
    learned = Learned()
    for run in (100.0, 200.0, 150.0, 120.0) * 3:
        learned.progressed("steady", [(50.0, run * 0.5)], run)
        learned.progressed("wild", [(50.0, 20.0 + 0.1 * run * (run % 7))], run)
    steady, wild = learned.hint("steady", 50.0, 60.0, 0.0), learned.hint("wild", 50.0, 60.0, 0.0)
    assert steady is not None
    assert wild is not None
    assert wild.variance > 4 * steady.variance


def test_a_sight_that_may_be_late_tells_less() -> None:
    learned = Learned()
    for run in (100.0, 110.0, 90.0):
        learned.progressed("w", [(50.0, run / 2)], run)
    sure, late = learned.hint("w", 50.0, 50.0, 0.0), learned.hint("w", 50.0, 50.0, 40.0)
    assert sure is not None
    assert late is not None
    assert late.variance > sure.variance


def test_what_was_seen_once_is_no_hint_yet() -> None:
    learned = Learned()
    assert learned.hint("w", 50.0, 10.0, 0.0) is None
    learned.progressed("w", [(50.0, 10.0)], 20.0)
    assert learned.hint("w", 50.0, 10.0, 0.0) is None
    assert learned.hint("w", 0.0, 10.0, 0.0) is None


@given(st.floats(0, 100), st.floats(0, 10**6), st.floats(0, 10**6), st.floats(0, 10**6))
def test_no_figure_of_the_platforms_breaks_the_learning(percent: float, age: float, run: float, unsure: float) -> None:
    learned = Learned()
    for _ in range(3):
        learned.progressed("w", [(percent, age)], run)
    hint = learned.hint("w", percent, age, unsure)
    assert hint is None or (math.isfinite(hint.mean) and hint.variance > 0.0)
    assert 0 <= bracket(percent) <= 20
