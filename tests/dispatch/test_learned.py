"""What earlier tasks teach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.dispatch.learned import NOTHING, PRIOR_BOOT, Run, learn
from renderdrop.dispatch.survey import runs
from renderdrop.model.experience import Ended


def test_nothing_known_is_alike_everywhere() -> None:
    assert NOTHING.run("w", "A") == NOTHING.run("w", "B")
    assert NOTHING.boot("A") == PRIOR_BOOT
    assert NOTHING.run("w", "A").runs == 0


def test_many_runs_speak_for_themselves() -> None:
    found = learn([Run("w", "A", 20.0)] * 40 + [Run("w", "B", 80.0)] * 40)
    assert found.run("w", "A").seconds == pytest.approx(20, rel=0.05)
    assert found.run("w", "B").seconds == pytest.approx(80, rel=0.05)
    assert found.run("w", "A").runs == 40


def test_one_run_leans_on_what_is_known_of_the_workflow() -> None:
    many = [Run("w", "A", 20.0)] * 40
    lone = learn([*many, Run("w", "B", 80.0)]).run("w", "B").seconds
    assert 20 < lone < 80


def test_a_pair_never_seen_is_as_fast_as_its_cluster_was_for_others() -> None:
    others = [Run("v", "A", 10.0)] * 20 + [Run("v", "B", 40.0)] * 20
    found = learn([*others, *[Run("w", "A", 30.0)] * 20])
    assert found.run("w", "B").seconds > 1.5 * found.run("w", "A").seconds
    assert found.run("w", "B").runs == 0


def test_where_a_workflow_ran_is_no_matter() -> None:
    # A cluster is slow, though only one workflow ever ran there, and that workflow is quick all the same.
    speeds = {"A": 1, "B": 2, "C": 3, "D": 6}
    everywhere = [Run("v", k, 40.0 * times) for k, times in speeds.items() for _ in range(20)]
    found = learn([*everywhere, *[Run("u", "D", 120.0)] * 20])
    for cluster, times in speeds.items():
        assert found.run("u", cluster).seconds == pytest.approx(20 * times, rel=0.5)
        assert found.run("v", cluster).seconds == pytest.approx(40 * times, rel=0.05)


def test_what_is_peculiar_to_one_workflow_on_a_cluster_is_not_expected_of_the_next() -> None:
    alike = [Run(w, k, 30.0) for w in "rstuv" for k in "AB" for _ in range(10)]
    odd = [Run("w", k, seconds) for k, seconds in (("A", 30.0), ("B", 180.0)) for _ in range(10)]
    found = learn([*alike, *odd, *[Run("x", "A", 30.0)] * 10])
    assert found.run("w", "B").seconds > 160
    assert found.run("x", "B").seconds < 45


@given(st.integers(1, 30), st.integers(1, 30))
def test_the_more_runs_the_less_doubt(few: int, more: int) -> None:
    others = [Run("v", "A", 10.0), Run("v", "B", 20.0)]

    def doubt(runs: int) -> float:
        return learn([*others, *[Run("w", "A", 30.0)] * 30, *[Run("w", "B", 60.0)] * runs]).run("w", "B").doubt

    assert 0 < doubt(few + more) < doubt(few) < doubt(0)


def test_nothing_is_less_known_than_a_cluster_where_nothing_ever_ran() -> None:
    found = learn([Run("v", "A", 10.0), Run("v", "B", 20.0), Run("w", "A", 30.0)])
    assert found.run("v", "A").doubt < found.run("w", "B").doubt < found.run("w", "C").doubt


def test_one_run_that_hung_moves_little() -> None:
    calm = learn([Run("w", "A", 20.0 + n % 3) for n in range(20)]).run("w", "A").seconds
    hung = learn([*[Run("w", "A", 20.0 + n % 3) for n in range(20)], Run("w", "A", 3600.0)]).run("w", "A").seconds
    assert hung < 1.1 * calm


def test_a_slow_cluster_is_known_before_its_first_task_has_ended() -> None:
    fast = [Run("w", "A", 20.0)] * 10
    going = [Run("w", "B", 90.0, over=False)] * 4
    assert learn([*fast, *going]).run("w", "B").seconds > 80
    assert learn([*fast, *[Run("w", "B", 5.0, over=False)] * 4]).run("w", "B").seconds < 30


def test_cold_starts_are_learned_and_waits_in_a_queue_are_not() -> None:
    found = learn([Run("w", "A", 9.0, cold=140.0)] * 12 + [Run("w", "B", 9.0, cold=2.0)] * 12)
    assert found.boot("A") == pytest.approx(130)
    assert found.boot("B") == PRIOR_BOOT


@given(
    st.lists(
        st.builds(
            Run, st.sampled_from("vw"), st.sampled_from("AB"), st.floats(0, 1e6), st.booleans(),
            st.none() | st.floats(0, 1e6),
        )
    )
)  # fmt: skip
def test_whatever_was_seen_estimates_are_times(seen: list[Run]) -> None:
    found = learn(seen)
    for workflow in "vwx":
        for cluster in "ABC":
            assert 0 < found.run(workflow, cluster).seconds < 1e9
            assert 0 < found.run(workflow, cluster).doubt < 10
            assert 0 < found.boot(cluster) <= 200


@given(
    st.lists(
        st.builds(Run, st.sampled_from("vw"), st.sampled_from("AB"), st.floats(1, 1e3), st.just(True)), min_size=1
    ),
    st.floats(0.1, 10),
)
def test_if_everything_takes_so_many_times_as_long_so_do_estimates(seen: list[Run], times: float) -> None:
    found, slower = learn(seen), learn([run._replace(seconds=run.seconds * times) for run in seen])
    for workflow in "vwx":
        for cluster in "ABC":
            expected = found.run(workflow, cluster).seconds * times
            assert slower.run(workflow, cluster).seconds == pytest.approx(expected, rel=0.01)


def ended(job: str, submitted: float, started: float | None, finished: float, *, well: bool = True) -> Ended:
    return Ended(job, "w", "A", well, submitted, started, finished)


def test_only_who_found_nobody_waiting_tells_of_a_cold_start() -> None:
    found = runs([ended("a", 0, 90, 100), ended("b", 10, 95, 110), ended("c", 96, 97, 120), ended("d", 200, None, 230)])
    assert [run.cold for run in found] == [90, None, 1]


def test_a_task_that_was_never_seen_at_work_teaches_only_where_few_were() -> None:
    """It may have waited for most of that time."""
    two = [ended("a", 0, 90, 100), ended("b", 10, 95, 110), ended("d", 20, None, 130)]
    assert [run.seconds for run in runs(two)] == [10, 15, 35]  # it cannot have begun before the second did
    assert [run.seconds for run in runs([*two, ended("c", 96, 107, 120)])] == [10, 15, 13]


def test_a_failed_task_teaches_no_run_time() -> None:
    assert runs([ended("a", 0, 1, 2, well=False)]) == []
