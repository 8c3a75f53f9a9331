"""When a batch will be done: as tables, as rules that hold in every situation, and in words."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.dispatch.choose import ClusterView, OurTask, Situation
from renderdrop.dispatch.estimate import Finish, Hands, Line, Unknown, estimate, told
from renderdrop.dispatch.expected import RETURN
from renderdrop.dispatch.learned import Estimate, Learned, Run, learn

NAMES = ("fast", "slow", "C")
LEARNED = learn([Run("w", "fast", 20.0)] * 40 + [Run("w", "slow", 100.0)] * 40)
QUICK = Hands(4, 0.01)

RUNS = st.builds(Run, st.sampled_from(["w", "v"]), st.sampled_from(NAMES), st.floats(0, 1e5), st.booleans())
LESSONS = st.lists(RUNS, max_size=20).map(
    lambda runs: learn([Run("w", "fast", 20.0), Run("v", "slow", 300.0), *runs])
)  # fmt: skip
TASKS = st.builds(OurTask, st.sampled_from(["w", "v"]), st.floats(0, 4000), st.booleans())
VIEWS = st.builds(
    lambda nodes, ceiling, tasks: ClusterView(nodes, ceiling, len(tasks), tuple(tasks)),
    st.integers(0, 30), st.none() | st.integers(0, 40), st.lists(TASKS, max_size=20),
)  # fmt: skip
FARMS = st.fixed_dictionaries({"fast": VIEWS, "slow": VIEWS})
RESTING = st.frozensets(st.sampled_from(NAMES))
HANDS = st.builds(Hands, st.integers(1, 8), st.floats(0, 60))
QUEUES = st.tuples(st.integers(1, 10_000), st.integers(0, 10_000))


def busy(number: int, seconds: float = 1.0, *, running: bool = True) -> tuple[OurTask, ...]:
    return (OurTask("w", seconds, running),) * number


def situation(**views: tuple[int, int | None, Sequence[OurTask]]) -> Situation:
    active = {name: ClusterView(n, most, len(tasks), tuple(tasks)) for name, (n, most, tasks) in views.items()}
    return Situation(tuple(views), active, workflow="w", learned=LEARNED)


def lines(
    farm: dict[str, ClusterView], learned: Learned, resting: frozenset[str], queue: tuple[int, int],
    allowed: tuple[str, ...] = ("fast", "slow"),
) -> list[Line]:  # fmt: skip
    """Two routes that may go to the same clusters, one with "w" and one with "v"."""
    return [
        Line(Situation(allowed, farm, resting, workflow, learned=learned), jobs)
        for workflow, jobs in zip("wv", queue, strict=True)
    ]


def finish(found: Sequence[Line | tuple[Situation, int]], hands: Hands = QUICK) -> Finish:
    said = estimate([Line(*one) for one in found], hands)
    assert isinstance(said, Finish), said
    return said


def no_later(one: Finish, other: Finish) -> bool:
    """But for what floating point does."""
    return one.likely <= other.likely * (1 + 1e-9) and one.late <= other.late * (1 + 1e-9)


TABLE: list[tuple[str, Situation, int, float, float]] = [
    ("nothing to do", situation(fast=(4, 4, ())), 0, 0, 0),
    ("one job and a free house", situation(fast=(8, 8, ())), 1, 18, 22),
    ("one job that needs a boot", situation(fast=(0, 8, ())), 1, 100, 120),
    ("one that has just begun", situation(fast=(8, 8, busy(1))), 0, 16, 21),
    ("one that is about to end", situation(fast=(8, 8, busy(1, 20.0))), 0, 1, 5),
    ("one that hangs, it seems", situation(fast=(8, 8, busy(1, 2000.0))), 0, 500, 1000),
    ("one that boots and has waited for most of it", situation(fast=(0, 8, busy(1, 80.0, running=False))), 0, 25, 45),
    ("ten at a time", situation(fast=(10, 10, busy(10))), 100, 200, 250),
    ("ten at a time, the last ten with the platform", situation(fast=(10, 10, busy(10) + busy(10, 9.0, running=False))),
     90, 200, 250),
    ("a slow cluster has no part in a short queue", situation(fast=(10, 10, busy(10)), slow=(50, 50, ())), 20, 50, 85),
    ("unless it has tasks already", situation(fast=(10, 10, busy(10)), slow=(5, 5, busy(1))), 20, 80, 120),
    ("nothing there, and nothing may be booted", situation(fast=(0, 0, ())), 1, 300, 500),
]  # fmt: skip


@pytest.mark.parametrize(("given_", "jobs", "least", "most"), [t[1:] for t in TABLE], ids=[t[0] for t in TABLE])
def test_how_long_it_takes(given_: Situation, jobs: int, least: float, most: float) -> None:
    assert least <= finish([(given_, jobs)]).likely <= most


def test_the_second_guess_is_later_than_the_first() -> None:
    found = finish([(situation(fast=(10, 10, busy(10))), 100)])
    assert found.likely * 1.1 < found.late < found.likely * 2


def test_the_less_is_known_of_run_times_the_later_the_second_guess() -> None:
    now = situation(fast=(10, 10, busy(10)))
    few = replace(now, learned=learn([Run("w", "fast", 20.0)] * 2))
    elsewhere = replace(now, learned=learn([Run("w", "slow", 20.0)] * 40))
    late = [found.late / found.likely for found in (finish([(s, 100)]) for s in (now, few, elsewhere))]
    assert late == sorted(late)
    assert late[2] > 1.5 * late[0]


def test_where_uploads_are_slow_they_say_when_it_ends() -> None:
    now = situation(fast=(10, 10, busy(10)))
    assert 25 * 60 < finish([(now, 100)], Hands(4, 60.0)).likely < 25 * 60 + 40


def test_where_a_task_waits_others_hold_the_instances_that_exist() -> None:
    free, taken = (situation(fast=(20, 20, busy(1, waits, running=False))) for waits in (2.0, 60.0))
    assert finish([(free, 50)]).likely + 5 < finish([(taken, 50)]).likely


def test_a_cluster_that_rests_is_hoped_to_be_back_soon_and_expected_to_be_back_late() -> None:
    now = situation(fast=(10, 10, busy(10)), slow=(10, 10, busy(10)))
    well, ill = (finish([(replace(now, resting=frozenset(rest)), 200)]) for rest in ([], ["fast"]))
    assert well.likely < ill.likely < well.likely + RETURN + 10
    assert ill.late > 2 * well.late


def test_jobs_that_may_go_to_one_cluster_only_are_not_helped_by_another() -> None:
    both = situation(fast=(10, 10, busy(10)), slow=(10, 10, busy(10)))
    bound = replace(both, allowed=("slow",))
    assert finish([(bound, 100), (both, 10)]).likely == pytest.approx(finish([(bound, 100)]).likely, rel=0.1)
    assert finish([(bound, 100), (both, 10)]).likely > 3 * finish([(both, 110)]).likely


def test_what_was_never_finished_is_not_guessed_at() -> None:
    now = situation(fast=(10, 10, busy(3)))
    new = replace(now, workflow="new")
    assert estimate([Line(replace(now, learned=Learned()), 5)], QUICK) == Unknown("no task of this workflow has ended")
    assert estimate([Line(now, 5), Line(new, 5)], QUICK) == Unknown("no task of new has ended")
    assert isinstance(estimate([Line(now, 5), Line(new, 0)], QUICK), Finish)
    censored = replace(now, learned=learn([Run("w", "fast", 500.0, over=False)]))
    assert isinstance(estimate([Line(censored, 5)], QUICK), Unknown)


def test_nothing_is_said_where_no_cluster_is_active() -> None:
    gone = Situation(("fast",), {}, workflow="w", learned=LEARNED)
    assert estimate([Line(gone, 1)], QUICK) == Unknown("none of the clusters is active now")
    assert estimate([Line(gone, 0)], QUICK) == Finish(0.0, 0.0)
    assert estimate([], QUICK) == Finish(0.0, 0.0)


@given(FARMS, LESSONS, RESTING, QUEUES, HANDS)
def test_there_is_always_an_answer_and_the_second_guess_is_never_sooner(
    farm: dict[str, ClusterView], learned: Learned, resting: frozenset[str], queue: tuple[int, int], hands: Hands
) -> None:
    found = finish(lines(farm, learned, resting, queue), hands)
    assert 0 < found.likely <= found.late < float("inf")


@given(FARMS, LESSONS, RESTING, QUEUES, HANDS, st.integers(1, 100))
def test_more_jobs_are_never_done_sooner(
    farm: dict[str, ClusterView], learned: Learned, resting: frozenset[str], queue: tuple[int, int], hands: Hands,
    more: int,
) -> None:  # fmt: skip
    few = finish(lines(farm, learned, resting, queue), hands)
    assert no_later(few, finish(lines(farm, learned, resting, (queue[0] + more, queue[1])), hands))
    assert no_later(few, finish(lines(farm, learned, resting, (queue[0], queue[1] + more)), hands))


@given(FARMS, LESSONS, RESTING, QUEUES, HANDS, st.integers(1, 20))
def test_more_instances_are_never_later(
    farm: dict[str, ClusterView], learned: Learned, resting: frozenset[str], queue: tuple[int, int], hands: Hands,
    more: int,
) -> None:  # fmt: skip
    before = finish(lines(farm, learned, resting, queue), hands)
    view = farm["slow"]
    if view.ceiling is not None:
        room = {**farm, "slow": replace(view, ceiling=view.ceiling + more)}
        assert no_later(finish(lines(room, learned, resting, queue), hands), before)
        exist = {**farm, "slow": replace(view, nodes=view.nodes + more, ceiling=view.ceiling + more)}
        assert no_later(finish(lines(exist, learned, resting, queue), hands), before)
    third = {**farm, "C": ClusterView(more, more, 0)}
    assert no_later(finish(lines(third, learned, resting, queue, ("fast", "slow", "C")), hands), before)


def test_the_work_does_not_grow_with_the_jobs_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    run = Learned.run

    def counted(self: Learned, *pair: Any) -> Estimate:
        nonlocal asked
        asked += 1
        return run(self, *pair)

    monkeypatch.setattr(Learned, "run", counted)
    farm = {f"K{n}": ClusterView(9, 60, 30, busy(20) + busy(10, running=False)) for n in range(8)}
    counts = []
    for jobs in (10, 10_000):
        asked = 0
        finish([(Situation(tuple(farm), farm, workflow="w", learned=LEARNED), jobs)])
        counts.append(asked)
    assert counts[0] == counts[1] < 1000


NOW = datetime(2026, 11, 23, 22, 5, 20, tzinfo=UTC)


def wall(at: datetime) -> datetime:
    return at.astimezone(timezone(timedelta(hours=1)))


WORDS: list[tuple[float, float, str]] = [
    (20, 50, "done in less than a minute (23:06), very likely by 23:07"),
    (70, 100, "done in about 1 min (23:07), very likely by 23:07"),
    (260, 580, "done in about 4 min (23:10), very likely by 23:15"),
    (599, 600, "done in about 10 min (23:15), very likely by 23:20"),
    (2113, 3301, "done in about 35 min (23:40), very likely by 00:05"),
    (3590, 7300, "done in about 1 h (00:05), very likely by 01:15"),
    (8000, 20_000, "done in about 2 h 15 min (01:15), very likely by 05:00"),
    (70_000, 90_000, "done in about 19 h (19:00), very likely by 2026-11-25 01:00"),
    (200_000, 400_000, "done in about 2 days (2026-11-26 07:00), very likely by 2026-11-28 15:00"),
]


@pytest.mark.parametrize(("likely", "late", "expected"), WORDS)
def test_what_people_are_told(likely: float, late: float, expected: str) -> None:
    said = told(Finish(likely, late), 128, 12, NOW, wall)
    assert said == f"128 waiting, 12 rendering: {expected}, as things look"


@given(st.floats(0, 1e6), st.floats(1, 5))
def test_the_moment_that_is_told_is_never_before_the_second_guess(likely: float, more: float) -> None:
    late = likely * more
    by = told(Finish(likely, late), 1, 0, NOW, wall).partition("very likely by ")[2].partition(",")[0]
    moment = time.fromisoformat(by[-5:])
    day = wall(NOW).date() if len(by) == 5 else date.fromisoformat(by[:10])
    at = datetime.combine(day, moment, wall(NOW).tzinfo)
    if len(by) == 5 and at < wall(NOW):
        at += timedelta(days=1)
    assert timedelta(0) <= at - (NOW + timedelta(seconds=late)) < timedelta(hours=1)


def test_what_is_nothing_is_not_told() -> None:
    assert told(Finish(60.0, 90.0), 0, 12, NOW, wall).startswith("12 rendering: done in about 1 min")
    assert told(Finish(60.0, 90.0), 3, 0, NOW, wall).startswith("3 waiting: done")
    assert told(Finish(0.0, 0.0), 0, 0, NOW, wall) == ""


def test_where_nothing_is_known_no_time_is_told() -> None:
    said = told(Unknown("no task of this workflow has ended"), 7, 0, NOW, wall)
    assert said == "7 waiting: no estimate yet, no task of this workflow has ended"


def test_a_route_that_may_have_few_tasks_at_once_takes_its_turns() -> None:
    now = situation(fast=(10, 10, busy(10)))
    assert finish([Line(now, 100, 2)]).likely == pytest.approx(50 * 20, rel=0.1)
    assert finish([Line(now, 100, 50)]) == finish([Line(now, 100)])
