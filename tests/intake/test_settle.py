"""When a file has stopped changing: as tables, on a clock that a test holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.intake.settle import LOOKS, Sighting, Verdict, again, first, postpone

SETTLE = 2.0
Look = tuple[float, int, int]
"""(time, size, mtime)"""


def watch(looks: list[Look], settle: float = SETTLE, kind: str = "file") -> list[Verdict]:
    """What each look after the first says."""
    (at, size, mtime), *rest = looks
    s = first("a", kind, size, mtime, "2026", at, settle)
    return [again(s, kind, size, mtime, at, settle) for at, size, mtime in rest]


W, S, G = Verdict.WAIT, Verdict.SETTLED, Verdict.GONE

TABLE: list[tuple[str, list[Look], list[Verdict]]] = [
    ("three looks over the whole time", [(0, 9, 1), (1, 9, 1), (2, 9, 1)], [W, S]),
    ("two looks are not enough however long", [(0, 9, 1), (60, 9, 1), (61, 9, 1)], [W, S]),
    (
        "many looks are not enough however many",
        [(0, 9, 1), (0.1, 9, 1), (0.2, 9, 1), (0.3, 9, 1), (2, 9, 1)],
        [W, W, W, S],
    ),
    ("just too early", [(0, 9, 1), (1, 9, 1), (1.999, 9, 1)], [W, W]),
    ("growing", [(0, 1, 1), (1, 2, 2), (2, 3, 3), (3, 4, 4), (4, 4, 4), (5, 4, 4)], [W, W, W, W, S]),
    ("growing without its mtime", [(0, 1, 1), (1, 2, 1), (2, 3, 1), (3, 3, 1), (4, 3, 1)], [W, W, W, S]),
    ("pre-allocated and then filled", [(0, 9, 1), (1, 9, 2), (2, 9, 3), (3, 9, 3), (4, 9, 3)], [W, W, W, S]),
    (
        "a pause shorter than settle",
        [(0, 1, 1), (1, 1, 1), (1.9, 2, 2), (2.9, 2, 2), (3.8, 2, 2), (3.9, 2, 2)],
        [W, W, W, W, S],
    ),
    ("becoming shorter", [(0, 9, 1), (1, 9, 1), (2, 5, 2), (3, 5, 2), (4, 5, 2)], [W, W, W, S]),
    ("an mtime that goes back", [(0, 9, 5), (1, 9, 5), (2, 9, 1), (3, 9, 1), (4, 9, 1)], [W, W, W, S]),
    ("an mtime of next year or of 1970", [(0, 9, 10**18), (1, 9, 10**18), (2, 9, 10**18)], [W, S]),
    ("empty", [(0, 0, 1), (1, 0, 1), (2, 0, 1), (60, 0, 1)], [W, W, W]),
    ("empty and filled at last", [(0, 0, 1), (1, 0, 1), (2, 0, 1), (9, 5, 2), (10, 5, 2), (11, 5, 2)], [W, W, W, W, S]),
]


@pytest.mark.parametrize(("looks", "expected"), [t[1:] for t in TABLE], ids=[t[0] for t in TABLE])
def test_a_file_settles_when_and_only_when_it_has_stopped_changing(looks: list[Look], expected: list[Verdict]) -> None:
    assert watch(looks) == expected


def test_what_is_not_there_any_more_is_gone() -> None:
    s = first("a", "file", 9, 1, "2026", 0, SETTLE)
    assert again(s, None, 0, 0, 1, SETTLE) is G


def test_another_kind_of_thing_in_its_place_begins_anew() -> None:
    s = first("a", "file", 9, 1, "2026", 0, SETTLE)
    assert again(s, "file", 9, 1, 1, SETTLE) is W
    assert [again(s, "link", 9, 1, at, SETTLE) for at in (2, 3, 4)] == [W, W, S]
    assert s.kind == "link"


@pytest.mark.parametrize("kind", ["link", "fifo", "socket", "device"])
def test_what_is_no_file_settles_too_so_that_it_is_refused(kind: str) -> None:
    assert watch([(0, 0, 1), (1, 0, 1), (2, 0, 1)], kind=kind) == [W, S]


LOOKS_OF_A_WRITER = st.lists(st.tuples(st.floats(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(LOOKS_OF_A_WRITER, st.floats(0.1, 5))
def test_nothing_settles_before_it_stood_still_for_so_long_over_three_looks(
    steps: list[tuple[float, int, int]], settle: float
) -> None:
    at = 0.0
    looks: list[Look] = []
    for gap, size, mtime in steps:
        at += gap
        looks.append((at, size, mtime))
    for n, verdict in enumerate(watch(looks, settle), 1):
        if verdict is S:
            still = [look for i, look in enumerate(looks[: n + 1]) if all(x[1:] == look[1:] for x in looks[i : n + 1])]
            assert len(still) >= LOOKS
            assert still[-1][0] - still[0][0] >= settle
            assert still[0][1] > 0


@given(LOOKS_OF_A_WRITER, st.floats(0.1, 5))
def test_a_file_that_stands_still_settles_at_last_and_soon(steps: list[tuple[float, int, int]], settle: float) -> None:
    s = first("a", "file", 1, 1, "2026", 0.0, settle)
    at = 0.0
    for gap, size, mtime in steps:
        at += gap
        again(s, "file", size + 1, mtime, at, settle)
    for _ in range(LOOKS):
        assert s.due <= at + settle
        at = max(at, s.due)
        if again(s, "file", 7, 7, at, settle) is S:
            break
        assert at < s.due
    assert again(s, "file", 7, 7, max(at, s.due), settle) is S


def test_a_settled_file_needs_three_looks_at_the_times_that_it_asks_for() -> None:
    s, looks = first("a", "file", 9, 1, "2026", 100.0, SETTLE), 1
    while again(s, "file", 9, 1, s.due, SETTLE) is W:
        looks += 1
    assert looks + 1 == LOOKS
    assert s.due == 100.0 + SETTLE


def test_an_empty_file_is_looked_at_ever_more_rarely() -> None:
    s, gaps = first("a", "file", 0, 1, "2026", 0.0, SETTLE), []
    for _ in range(20):
        at = s.due
        assert again(s, "file", 0, 1, at, SETTLE) is W
        gaps.append(s.due - at)
    assert s.postponed
    assert gaps == sorted(gaps)
    assert gaps[-1] > 10 * SETTLE
    assert again(s, "file", 5, 2, s.due, SETTLE) is W
    assert not s.postponed


def test_a_file_that_somebody_writes_is_looked_at_again_later() -> None:
    s = Sighting("a", "file", 9, 1, "2026", 0.0, 2.0, looks=3)
    postpone(s, "a program has it open", 2.0, SETTLE)
    assert (s.postponed, s.due) == ("a program has it open", 4.0)
    assert again(s, "file", 9, 1, 4.0, SETTLE) is S
