"""The policy that reckons with time: as tables, and as rules that hold in every situation."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from renderdrop.dispatch.choose import Choice, ClusterView, Hold, OurTask, Situation
from renderdrop.dispatch.expected import LONGEST_HOLD, PROBES, expect
from renderdrop.dispatch.learned import Estimate, Learned, Run, learn
from renderdrop.dispatch.level import Fluid, level, prices
from renderdrop.dispatch.window import FIRST, ON_THE_WAY, forecast

NAMES = ("fast", "slow", "C")
LEARNED = learn([Run("w", "fast", 20.0)] * 9 + [Run("w", "slow", 100.0)] * 9)
TASKS = st.builds(OurTask, st.sampled_from(["w", "v"]), st.floats(0, 4000), st.booleans())
VIEWS = st.builds(
    lambda nodes, ceiling, tasks: ClusterView(nodes, ceiling, len(tasks), tuple(tasks)),
    st.integers(0, 30), st.none() | st.integers(0, 40), st.lists(TASKS, max_size=20),
)  # fmt: skip
RUNS = st.builds(
    Run, st.sampled_from(["w", "v"]), st.sampled_from(NAMES), st.floats(0, 1e5), st.booleans(),
    st.none() | st.floats(0, 1e4),
)  # fmt: skip
SITUATIONS = st.builds(
    Situation,
    st.lists(st.sampled_from(NAMES), unique=True, max_size=3).map(tuple),
    st.dictionaries(st.sampled_from(NAMES), VIEWS),
    st.frozensets(st.sampled_from(NAMES)),
    st.sampled_from(["w", "v", "new"]),
    st.dictionaries(st.sampled_from(["w", "v", "new"]), st.integers(1, 10_000)),
    st.floats(0, 1e6),
    st.lists(RUNS, max_size=40).map(learn),
    st.none() | st.sampled_from(NAMES),
    st.floats(0, 2000),
)


def busy(number: int, seconds: float = 1.0, *, running: bool = True) -> tuple[OurTask, ...]:
    return (OurTask("w", seconds, running),) * number


def situation(
    queue: int = 1, learned: Learned = LEARNED, **views: tuple[int, int | None, tuple[OurTask, ...]]
) -> Situation:
    active = {name: ClusterView(nodes, ceiling, len(tasks), tasks) for name, (nodes, ceiling, tasks) in views.items()}
    return Situation(tuple(views), active, workflow="w", queue={"w": queue}, learned=learned)


TABLE: list[tuple[str, Situation, str | None]] = [
    ("the faster one", situation(slow=(4, 4, ()), fast=(4, 4, ())), "fast"),
    ("a free slow one rather than a boot that takes longer", situation(slow=(4, 4, ()), fast=(0, 4, ())), "slow"),
    ("one job waits for the fast one", situation(fast=(2, 2, busy(2) + busy(5, running=False)), slow=(9, 9, ())), None),
    ("many do not", situation(20, fast=(2, 2, busy(2) + busy(9, running=False)), slow=(9, 9, ())), "slow"),
    ("nothing known: the preferred one", situation(slow=(4, 4, ()), fast=(4, 4, ()), learned=Learned()), "slow"),
    ("one cluster", situation(slow=(0, 4, ())), "slow"),
    ("no figures at all", situation(slow=(0, None, ())), "slow"),
    ("a full house is queued at", situation(slow=(4, 4, ()), fast=(0, 0, ())), "slow"),
]  # fmt: skip


@pytest.mark.parametrize(("given_", "expected"), [t[1:] for t in TABLE], ids=[t[0] for t in TABLE])
def test_where_it_goes(given_: Situation, expected: str | None) -> None:
    choice = expect(given_)
    assert (choice.cluster if isinstance(choice, Choice) else None) == expected
    assert choice is not None
    assert "\n" not in choice.reason


def test_the_reason_tells_the_figures_behind_it() -> None:
    choice = expect(situation(slow=(4, 4, ()), fast=(4, 4, ())))
    assert isinstance(choice, Choice)
    assert choice.reason == (
        "fast: expected to be finished in 20 s (a run takes 20 s, known from 9 runs); the next best, slow, in 96 s"
    ) or choice.reason.startswith("fast: expected to be finished in 2")


def test_a_wait_says_what_for() -> None:
    hold = expect(situation(fast=(2, 2, busy(2) + busy(5, running=False)), slow=(9, 9, ())))
    assert hold == Hold("waits for a free place on fast; slow would take longer")


@given(SITUATIONS)
def test_a_choice_is_always_allowed_and_active_and_ejected_only_where_all_are(found: Situation) -> None:
    choice = expect(found)
    possible = set(found.allowed) & set(found.active)
    assert (choice is None) == (not possible)
    if isinstance(choice, Choice):
        assert choice.cluster in possible
        assert choice.cluster not in found.resting or possible <= found.resting
        assert choice.room is not None
        assert choice.room >= 1


@given(SITUATIONS)
def test_whoever_is_told_to_wait_waits_behind_tasks_of_ours(found: Situation) -> None:
    if isinstance(expect(found), Hold):
        able = set(found.allowed) & set(found.active)
        assert any(not task.running for name in able for task in found.active[name].tasks)


@given(SITUATIONS)
def test_no_wait_lasts_for_ever(found: Situation) -> None:
    assume(set(found.allowed) & set(found.active))
    assert isinstance(expect(replace(found, held=LONGEST_HOLD + 1)), Choice)


def test_a_cluster_whose_queue_does_not_move_loses_its_waiting_jobs() -> None:
    def stuck(seconds: float) -> Choice | Hold | None:
        return expect(situation(fast=(2, 2, busy(2, seconds) + busy(5, seconds, running=False)), slow=(9, 9, ())))

    assert isinstance(stuck(10.0), Hold)
    choice = stuck(200.0)
    assert isinstance(choice, Choice)
    assert choice.cluster == "slow"


@given(st.integers(0, 20), st.integers(0, 20))
def test_the_window_lets_the_autoscaler_see_work_for_all_that_it_can_boot(nodes: int, more: int) -> None:
    line = forecast(situation(fast=(nodes, nodes + more, ())), "fast")
    assert line.window == min(nodes, FIRST) + more + 1


@given(st.integers(0, 20), st.integers(0, 20))
def test_free_instances_are_believed_as_far_as_tasks_of_ours_have_started(running: int, free: int) -> None:
    line = forecast(situation(fast=(running + free, running + free, busy(running))), "fast")
    assert line.starts.count(0.0) == min(free, FIRST + running)


def test_the_window_of_a_busy_cluster_covers_what_starts_before_we_know() -> None:
    line = forecast(situation(fast=(40, 40, busy(40))), "fast")
    assert line.window == pytest.approx(40 / line.run * ON_THE_WAY + 1, abs=1)


def test_an_old_status_counts_less() -> None:
    fresh = situation(fast=(0, 30, ()))
    assert forecast(replace(fresh, age=30.0), "fast").window == 31
    assert forecast(replace(fresh, age=300.0), "fast").window == 7


def test_who_was_chosen_last_stays_unless_another_is_clearly_better() -> None:
    near = learn([Run("w", "fast", 20.0)] * 9 + [Run("w", "slow", 20.5)] * 9)
    found = situation(learned=near, fast=(4, 4, ()), slow=(4, 4, ()))
    kept = expect(replace(found, last="slow"))
    assert isinstance(kept, Choice)
    assert kept.cluster == "slow"
    changed = expect(replace(found, last="slow", learned=LEARNED))
    assert isinstance(changed, Choice)
    assert changed.cluster == "fast"


def test_each_workflow_gets_the_cluster_that_it_is_comparatively_good_on() -> None:
    # Both are faster on "fast", but "w" gains ten times by it and "v" hardly anything.
    learned = learn(
        [Run("w", "fast", 10.0)] * 9 + [Run("w", "slow", 100.0)] * 9
        + [Run("v", "fast", 45.0)] * 9 + [Run("v", "slow", 50.0)] * 9
    )  # fmt: skip
    found = replace(situation(learned=learned, fast=(4, 4, ()), slow=(4, 4, ())), queue={"w": 200, "v": 30})
    chosen = {w: expect(replace(found, workflow=w)) for w in "wv"}
    assert {w: c.cluster for w, c in chosen.items() if isinstance(c, Choice)} == {"w": "fast", "v": "slow"}


def choices(found: Situation, most: int = 40) -> list[str]:
    """Where jobs go one after the other, as long as they go and nothing else happens."""
    chosen: list[str] = []
    while len(chosen) < most:
        choice = expect(found)
        if not isinstance(choice, Choice):
            break
        chosen.append(choice.cluster)
        view = found.active[choice.cluster]
        tasks = (*view.tasks, OurTask(found.workflow, 1.0, False))
        views = {**found.active, choice.cluster: replace(view, ours=len(tasks), tasks=tasks)}
        found = replace(found, active=views)
    return chosen


def test_an_unknown_cluster_gets_a_probe_or_two_and_not_a_batch() -> None:
    views = {"fast": (4, 4, busy(4)), "new": (9, 20, ())}
    known = [Run("w", "fast", 20.0)] * 9
    first = choices(situation(500, learned=learn(known), **views))
    assert first.count("new") == PROBES
    assert first.count("fast") >= 1
    after = choices(situation(500, learned=learn([*known, Run("w", "new", 25.0)]), **views))
    assert after.count("new") >= 5 * PROBES


def test_where_other_people_queue_jobs_are_sent_ahead_of_their_turn() -> None:
    def sent(running: int, seconds: float = 60.0, queue: int = 500, **more: Any) -> int:
        """Jobs that go to a full cluster of 10, so many of its instances at our work, while one of ours waits there."""
        tasks = busy(running) + busy(3, seconds, running=False)
        return len(choices(replace(situation(queue, fast=(10, 10, tasks)), **more)))

    assert sent(4) > 20
    assert sent(9) < 10, "our own queue"
    assert sent(4, seconds=5.0) < 10, "nobody has waited for long"
    assert sent(4, resting=frozenset(["slow"])) == sent(4), "what rests is none of its clusters"
    assert sent(4, queue=4) < 20, "the tail stays free"


def test_nothing_is_sent_ahead_while_a_cluster_rests() -> None:
    crowded = busy(4) + busy(3, 60.0, running=False)
    found = situation(500, fast=(10, 10, crowded), slow=(0, 0, ()))
    assert choices(replace(found, resting=frozenset(["slow"]))).count("fast") < choices(found).count("fast")


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_cluster_is_crowded_where_ours_wait_and_few_instances_are_ours(running: int, others: int) -> None:
    waits = busy(running) + busy(1, 30.0, running=False)
    line = forecast(situation(fast=(running + others, running + others, waits)), "fast")
    assert line.crowded == (running < 2 * others or not running)
    assert not forecast(situation(fast=(running + others, running + others, busy(running))), "fast").crowded


def test_whoever_is_worth_it_by_no_reckoning_is_at_least_well_known() -> None:
    pairs = {("w", "fast"): Estimate(60.0, 9, 0.05), ("w", "new"): Estimate(50.0, 0, 0.8)}
    found = expect(situation(1, learned=Learned(pairs), fast=(4, 4, ()), new=(4, 4, ())))
    assert isinstance(found, Choice)
    assert found.cluster == "fast"


def test_where_nothing_is_known_of_any_cluster_all_are_used() -> None:
    assert set(choices(situation(500, learned=Learned(), fast=(4, 4, ()), slow=(9, 9, ())))) == {"fast", "slow"}


def test_what_is_little_known_must_be_clearly_better() -> None:
    def goes(doubt: float) -> bool:
        """Whether the slow cluster is used for some of a few jobs, known as well as that."""
        pairs = {("w", "fast"): Estimate(20.0, 9, 0.05), ("w", "slow"): Estimate(60.0, 9, doubt)}
        found = situation(12, learned=Learned(pairs), fast=(2, 2, busy(2)), slow=(9, 9, ()))
        return "slow" in choices(found)

    known = [goes(n / 10) for n in range(20)]
    assert known[0]
    assert not known[-1]
    assert known == sorted(known, reverse=True)


@given(
    st.lists(st.lists(st.floats(0, 100), min_size=1, max_size=5), min_size=1, max_size=3), st.integers(1, 500),
    st.lists(st.floats(1, 100), min_size=3, max_size=3),
)  # fmt: skip
def test_by_the_level_just_all_jobs_are_done(opens: list[list[float]], jobs: int, runs: list[float]) -> None:
    starts = {str(n): found for n, found in enumerate(opens)}
    mean = {name: runs[n] for n, name in enumerate(starts)}
    found = level(starts, mean, jobs)
    done = sum(max(0.0, found - start) / mean[name] for name, ones in starts.items() for start in ones)
    assert done == pytest.approx(jobs, rel=1e-6)


@given(st.lists(st.lists(st.floats(1, 100), min_size=2, max_size=2), min_size=1, max_size=4))
def test_no_prices_prove_more_than_a_schedule_that_exists(work: list[list[float]]) -> None:
    fluid = Fluid([1, 1], [0.0, 0.0], work)
    # Everything on one of the clusters is a schedule; so is half of each everywhere.
    exists = min(sum(row[0] for row in work), sum(row[1] for row in work))
    split = max(sum(row[0] for row in work), sum(row[1] for row in work)) / 2
    assert fluid.level(prices(fluid)) <= min(exists, split) * (1 + 1e-9)
