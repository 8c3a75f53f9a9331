"""Whose turn it is: within the budget, nobody forgotten, and what began in front of others is concluded, not asked."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.tracking.cadence import FIRST, MOST
from renderdrop.tracking.plan import Plan


def experienced(pace: float, *, runs: float = 60.0, workflow: str = "w", cluster: str = "A") -> Plan:
    plan = Plan(pace)
    dice = random.Random(3)
    for _ in range(40):
        plan.learned.ran(workflow, cluster, runs * dice.lognormvariate(0.0, 0.1))
    return plan


def taken(plan: Plan, now: float) -> list[str]:
    found = []
    while (key := plan.take(now)) is not None:
        found.append(key)
    return found


def follow(plan: Plan, *keys: str, now: float = 0.0) -> None:
    for key in keys:
        plan.follow(key, "w", "A", now)


def test_a_new_task_is_looked_at_first_after_a_moment() -> None:
    plan = Plan(5.0)
    follow(plan, "a")
    assert plan.take(FIRST - 0.1) is None
    assert plan.take(FIRST) == "a"
    assert plan.take(10**6) is None  # it is being looked at
    assert plan.next_due() is None


def test_what_is_forgotten_is_not_looked_at_and_costs_nothing() -> None:
    plan = Plan(5.0)
    follow(plan, "a", "b")
    plan.forget("a")
    plan.forget("unknown")
    assert taken(plan, 100.0) == ["b"]
    plan.forget("b")
    plan.saw("b", 101.0, "running", 3.0)
    plan.missed("b", 101.0, 1.0)
    plan.succeeded("b", 101.0)
    assert len(plan) == 0
    assert plan.next_due() is None


def test_a_task_that_takes_the_place_of_another_is_due_once() -> None:
    plan = Plan(100.0)
    follow(plan, "a")
    follow(plan, "a", now=0.1)
    assert taken(plan, 100.0) == ["a"]


def test_a_failed_look_is_followed_by_another_but_not_before_the_time_that_it_was_told() -> None:
    plan = Plan(5.0)
    follow(plan, "a")
    assert plan.take(1.0) == "a"
    plan.missed("a", 1.0, 20.0)
    assert plan.take(20.9) is None
    assert plan.take(100.0) == "a"


STATUS = st.sampled_from(["pending", "running", "success", "lost", "gone"])


@given(st.lists(st.tuples(st.floats(0, 60), STATUS, st.none() | st.floats(0, 100)), max_size=80), st.floats(0.5, 50))
def test_nobody_is_forgotten_whatever_the_platform_says(
    answers: list[tuple[float, str, float | None]], pace: float
) -> None:
    plan, now, open_tasks = Plan(pace), 0.0, set()
    for n, (passed, status, percent) in enumerate(answers):
        now += passed
        plan.follow(str(n), f"w{n % 2}", "AB"[n % 3 % 2], now, waited=passed)
        open_tasks.add(str(n))
        key = plan.take(now)
        if key is None:
            continue
        if status == "success":
            plan.succeeded(key, now)
        elif status == "gone":
            plan.forget(key)
        elif status == "lost":
            plan.missed(key, now, 1.0)
        else:
            plan.saw(key, now, status, percent)
        if status in ("success", "gone"):
            open_tasks.discard(key)
    assert len(plan) == len(open_tasks)
    due = plan.next_due()
    assert (due is None) == (not open_tasks)
    assert set(taken(plan, now + 10**7)) == open_tasks


@pytest.mark.parametrize("pace", [2.0, 20.0])
def test_all_looks_together_keep_to_the_budget(pace: float) -> None:
    """The plan by itself, with nobody to stop it: 200 tasks that run and run ask for about what there is."""
    plan = experienced(pace, runs=600.0)
    for n in range(200):
        plan.follow(str(n), "w", "A", 0.0, waited=n, runs=float(n))
    looks, now = 0, 0.0
    while now < 400.0:
        now += 0.25
        for key in taken(plan, now):
            plan.saw(key, now, "running", None)
            looks += now > 100.0
    assert looks <= 300.0 * pace * 1.5


def test_a_known_task_is_left_alone_until_its_end_is_near() -> None:
    plan = experienced(5.0)
    follow(plan, "a")
    now, looks = 0.0, []
    while now < 60.0:
        now += 0.25
        for key in taken(plan, now):
            looks.append(now)
            plan.saw(key, now, "running", None)
    early = [at for at in looks if at < 30.0]
    assert len(early) <= 3
    assert looks[-1] - looks[-2] <= 1.0


def test_only_the_first_of_a_queue_are_looked_at_often() -> None:
    plan = experienced(50.0)
    for n in range(12):
        plan.follow(str(n), "w", "A", 0.0, runs=n * 4.0)  # at work, one ends every five seconds
    for n in range(40):
        plan.follow(f"p{n:02}", "w", "A", n / 100)
    looks: dict[str, int] = {}
    now = 0.0
    while now < 20.0:
        now += 0.25
        for key in taken(plan, now):
            looks[key] = looks.get(key, 0) + 1
            plan.saw(key, now, "pending" if key.startswith("p") else "running", None)
    assert looks["p00"] >= 3
    assert all(looks.get(f"p{n:02}", 0) <= 1 for n in range(20, 40))


def test_one_that_began_tells_that_those_in_front_of_it_have() -> None:
    plan = experienced(50.0, runs=5.0)
    follow(plan, "a", "b", "c")
    for key in taken(plan, 1.0):
        plan.saw(key, 1.0, "pending", None)
    taken(plan, 1.5)
    while (found := plan.take(60.0)) not in (None, "c"):
        assert found is not None
        plan.missed(found, 1.5, 500.0)
    plan.saw("c", 30.0, "running", None)
    due = plan.next_due()
    assert due is not None
    assert due < 60.0  # not the 500 s that nobody knew anything


def test_one_that_did_not_begin_in_its_turn_is_believed() -> None:
    plan = experienced(50.0)
    follow(plan, "a", "b")
    assert sorted(taken(plan, 1.0)) == ["a", "b"]
    plan.saw("a", 1.0, "pending", None)
    plan.saw("b", 2.0, "running", None)
    for at in (60.0, 120.0, 180.0):
        assert "a" in taken(plan, at)
        plan.saw("a", at, "pending", None)
        due = plan.next_due()
        assert due is not None
        assert due <= at + MOST


def test_a_success_teaches_the_run_time_and_what_progress_meant() -> None:
    plan = Plan(50.0)
    for n in range(3):
        key, start = str(n), 1000.0 * n
        plan.follow(key, "w", "A", start)
        assert taken(plan, start + 1.0) == [key]
        for second in range(1, 40):
            plan.saw(key, start + second, "running", float(second * 2))
            taken(plan, start + second + 0.99)
        plan.succeeded(key, start + 40.0)
    odds = plan.learned.odds("w", "A")
    assert max(odds, key=lambda b: b.weight).mean == pytest.approx(3.67, abs=0.1)
    hint = plan.learned.hint("w", 50.0, 25.0, 0.0)
    assert hint is not None
    assert hint.mean == pytest.approx(3.67, abs=0.1)


def test_progress_found_after_a_restart_and_progress_that_falls_back_mislead_nobody() -> None:
    plan = experienced(5.0)
    for n in range(3):
        plan.learned.progressed("w", [(20.0, 6.0 + n)], 60.0)
    plan.follow("a", "w", "A", 0.0, waited=100.0, runs=55.0)
    assert taken(plan, 1.0) == ["a"]
    plan.saw("a", 1.0, "running", 20.0)
    plan.saw("a", 1.5, "running", 10.0)
    due = plan.next_due()
    assert due is not None
    assert due <= 3.0


def test_thousands_of_tasks_cost_each_look_the_same() -> None:
    """Each look plans one task; nothing goes over all of them."""
    plan = experienced(20.0)
    for n in range(5_000):
        plan.follow(str(n), "w", "A", 0.0)
    now = 0.0
    for _ in range(50):
        now += 0.25
        for _ in range(5):
            key = plan.take(now)
            if key is not None:
                plan.saw(key, now, "pending", None)
    assert len(plan) == 5_000


def dues(plan: Plan) -> dict[str, float]:
    return {key: task.due for key, task in plan._tasks.items() if task.due is not None}


def looked_at(plan: Plan, now: float, pace: float, seconds: float) -> dict[str, float]:
    """Who is looked at, and when last, within these seconds; each is found as it was."""
    looks: dict[str, float] = {}
    until = now + seconds
    while now < until:
        now += 0.25
        plan.adapt(pace, now)
        for key in taken(plan, now):
            looks[key] = now
            plan.saw(key, now, "pending" if key.startswith("p") else "running", None)
    return looks


def put_off(pace: float, number: int) -> Plan:
    """Half of so many tasks run and half wait, and all were looked at in vain for an hour at this pace."""
    plan = experienced(pace, runs=900.0)
    for n in range(0, number, 2):
        plan.follow(f"r{n}", "w", "A", 0.0, waited=1.0, runs=1.0)
        plan.follow(f"p{n}", "w", "A", 0.0)
    looked_at(plan, 0.0, pace, 600.0)
    return plan


def test_once_the_budget_gives_more_again_looks_that_were_put_off_are_not_waited_for() -> None:
    plan = put_off(0.3, 60)
    assert max(dues(plan).values()) > 600.0 + 4 * MOST
    looks = looked_at(plan, 600.0, 20.0, MOST + 10.0)
    assert set(looks) == set(plan._tasks)


def test_once_a_crowd_is_gone_the_few_that_are_left_are_looked_at_as_few_are() -> None:
    plan = put_off(2.0, 400)
    for n in range(8, 400, 2):
        plan.forget(f"r{n}")
        plan.forget(f"p{n}")
    assert max(dues(plan).values()) > 600.0 + 2 * MOST
    looks = looked_at(plan, 600.0, 2.0, MOST + 10.0)
    assert set(looks) == set(plan._tasks)


def test_thousands_are_planned_anew_a_few_at_a_time_and_only_once_there_is_half_the_crowd() -> None:
    plan = experienced(0.3)
    for n in range(3_000):
        plan.follow(str(n), "w", "AB"[n % 2], 0.0, waited=1.0, runs=1.0)
    plan.adapt(0.3, 0.0)
    before = dues(plan)
    plan.adapt(0.5, 1.0)
    assert dues(plan) == before
    changed = []
    for tick in range(100):
        plan.adapt(20.0, 1.0 + tick / 4)
        now = dues(plan)
        changed.append(sum(now[key] != before[key] for key in now))
        before = now
    assert max(changed) <= 64
    assert sum(changed) > 1_000
    assert not any(changed[50:])  # through with all, and no reason to begin anew


def test_a_failed_look_is_not_repeated_too_soon_for_being_planned_anew() -> None:
    plan = put_off(0.5, 40)
    assert plan.take(2_000.0) is not None
    [key] = plan._tasks.keys() - dues(plan).keys()
    plan.missed(key, 600.0, 500.0)
    plan.adapt(50.0, 600.5)
    assert dues(plan)[key] >= 1_100.0


def test_nobody_is_looked_at_later_for_being_planned_anew() -> None:
    plan = put_off(0.5, 40)
    before = dues(plan)
    plan.adapt(50.0, 600.5)
    after = dues(plan)
    assert all(after[key] <= before[key] for key in before)
    assert after != before


def test_what_was_heard_earlier_and_is_told_later_loses_nobody() -> None:
    """As when the commit of what was heard had to wait for room on the disk."""
    plan = experienced(5.0)
    follow(plan, "a", "b", "c")
    for key in taken(plan, 100.0):
        if key == "b":
            plan.saw("b", 700.0, "running", None)
    plan.succeeded("a", 100.0)
    plan.succeeded("b", 710.0)
    plan.saw("c", 710.0, "pending", None)
    assert plan.next_due() is not None
