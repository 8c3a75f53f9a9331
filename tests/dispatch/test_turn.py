"""Whose turn it is: priorities, what waiting adds to them, and fair turns."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.dispatch.turn import Line, Turns, Waiting, in_turn
from renderdrop.model.wishes import NO_PIN, Pin

HOUR = 3600.0


def jobs(route: str, number: int, priority: int = 0, waited: float = 0.0) -> list[Waiting]:
    """So many jobs, the oldest first; they came a second apart, the last of them waits for `waited`."""
    return [Waiting(f"{route}{priority}-{n:03}", route, priority, waited + number - n) for n in range(number)]


def routes(found: Sequence[Waiting]) -> str:
    return "".join(job.route for job in found)


def test_of_one_route_the_oldest_goes_first_whatever_the_order_of_the_rows() -> None:
    waiting = jobs("a", 5)
    assert in_turn(list(reversed(waiting)), 3, aging=HOUR) == waiting[:3]
    assert in_turn(waiting, 9, aging=HOUR) == waiting
    assert in_turn([], 9, aging=HOUR) == []


def test_higher_priorities_go_first() -> None:
    waiting = [*jobs("a", 2), *jobs("b", 2, priority=5), *jobs("c", 2, priority=-3)]
    assert routes(in_turn(waiting, 9, aging=HOUR)) == "bbaacc"


def test_routes_take_turns_however_much_one_of_them_has() -> None:
    waiting = [*jobs("a", 60, waited=100), *jobs("b", 3)]
    assert routes(in_turn(waiting, 8, aging=HOUR)) == "abababaa"


def test_what_is_pinned_to_where_there_is_no_room_is_passed_over_and_the_line_goes_on() -> None:
    full, free = Pin(clusters=("full",)), Pin(clusters=("free",))
    pins = [full, full, free, NO_PIN, free, free, full]
    waiting = [replace(job, pin=pin) for job, pin in zip(jobs("a", 7), pins, strict=True)]
    found = in_turn(waiting, 9, aging=HOUR, pinned={("a", full): 0, ("a", free): 2, ("b", NO_PIN): 0})
    assert [waiting.index(job) for job in found] == [2, 3, 4]
    assert in_turn(waiting, 9, aging=HOUR) == waiting


def test_turns_go_on_over_several_looks() -> None:
    turns, sent = Turns(), ""
    waiting = [*jobs("a", 60, waited=100), *jobs("b", 3), *jobs("c", 3)]
    while len(sent) < 12:
        [job] = in_turn(waiting, 1, aging=HOUR, past=turns.past)
        turns.had((job.route, job.priority))
        waiting.remove(job)
        sent += job.route
    assert sent == "acbacbacbaaa" or sent == "abcabcabcaaa"


def test_a_route_that_comes_late_has_its_turn_at_once() -> None:
    turns = Turns()
    for _ in range(20):
        turns.had(("a", 0))
    assert routes(in_turn([*jobs("a", 5, waited=50), *jobs("late", 1)], 1, aging=HOUR, past=turns.past)) == "late"


def test_who_has_waited_long_enough_takes_turns_with_the_most_urgent_and_gets_no_further() -> None:
    urgent = jobs("u", 10, priority=3)
    assert routes(in_turn([*urgent, *jobs("a", 9, waited=3 * HOUR)], 6, aging=HOUR)) == "auauau"
    assert routes(in_turn([*urgent, *jobs("a", 9, waited=2 * HOUR)], 6, aging=HOUR)) == "uuuuuu"
    assert routes(in_turn([*urgent, *jobs("a", 9, waited=300 * HOUR)], 6, aging=HOUR)) == "auauau"
    assert routes(in_turn([*urgent, *jobs("a", 9, waited=300 * HOUR)], 6, aging=0)) == "uuuuuu"


def test_what_is_old_does_not_shut_out_what_was_dropped_this_minute() -> None:
    assert routes(in_turn([*jobs("a", 60, waited=90 * HOUR), *jobs("b", 2)], 5, aging=HOUR)) == "ababa"


def test_an_urgent_file_does_not_wait_for_an_old_batch_of_its_own_route() -> None:
    waiting = [*jobs("a", 60, waited=90 * HOUR), *jobs("a", 1, priority=5)]
    assert [job.priority for job in in_turn(waiting, 3, aging=HOUR)] == [0, 5, 0]


def test_no_route_has_more_than_its_room() -> None:
    waiting = [*jobs("a", 9), *jobs("b", 9), *jobs("c", 9)]
    found = in_turn(waiting, 9, aging=HOUR, room={"a": 2, "b": 0})
    assert Counter(job.route for job in found) == {"a": 2, "c": 7}


def test_urgent_jobs_of_a_route_without_room_hold_up_nobody() -> None:
    waiting = [*jobs("a", 9, priority=9), *jobs("b", 2)]
    assert routes(in_turn(waiting, 9, aging=HOUR, room={"a": 1})) == "abb"


def test_turns_are_remembered_of_so_many_lines_and_no_more() -> None:
    turns = Turns()
    for n in range(5000):
        turns.had(("a", n))
    assert turns.past[-1] == ("a", 4999)
    assert len(turns.past) == 1000


some = st.lists(
    st.builds(Waiting, st.uuids().map(str), st.sampled_from("abc"), st.integers(-2, 2), st.floats(0, 1e6)),
    max_size=30, unique_by=lambda job: job.id,
)  # fmt: skip
lines: st.SearchStrategy[list[Line]] = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(-2, 2)), max_size=9, unique=True
)


@given(some, st.integers(0, 40), st.sampled_from([0.0, 60.0, HOUR]), lines)
def test_everyone_has_a_turn_once_and_each_line_keeps_its_order(
    waiting: list[Waiting], number: int, aging: float, past: list[Line]
) -> None:
    found = in_turn(waiting, number, aging=aging, past=past)
    assert len(found) == min(number, len(waiting)) == len({job.id for job in found})
    for line in {(job.route, job.priority) for job in found}:
        waits = [job.waited for job in found if (job.route, job.priority) == line]
        assert waits == sorted(waits, reverse=True)


@given(some, lines)
def test_a_few_of_each_line_are_enough_to_know_the_next_few(waiting: list[Waiting], past: list[Line]) -> None:
    oldest: dict[Line, list[Waiting]] = {}
    for job in sorted(waiting, key=lambda job: (-job.waited, job.id)):
        oldest.setdefault((job.route, job.priority), []).append(job)
    few = [job for line in oldest.values() for job in line[:4]]
    assert in_turn(few, 4, aging=HOUR, past=past) == in_turn(waiting, 4, aging=HOUR, past=past)


@pytest.mark.parametrize("above", [1, 5])
def test_nothing_waits_for_ever_beside_a_stream_of_more_urgent_files(above: int) -> None:
    turns, now, old = Turns(), 0.0, Waiting("old", "a", 0, 0.0)
    while now < 100 * HOUR:
        waiting = [Waiting("old", "a", 0, now), *(Waiting(f"new{n}", "u", above, 1.0) for n in range(9))]
        [job] = in_turn(waiting, 1, aging=HOUR, past=turns.past)
        turns.had((job.route, job.priority))
        if job.id == old.id:
            break
        now += 60.0
    assert above * HOUR <= now <= above * HOUR + 120
