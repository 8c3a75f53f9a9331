"""The states and their moves are the table of DESIGN 4, word for word."""

from itertools import pairwise

import pytest

from renderdrop.model.lifecycle import ENDS, IN_MOTION, MOVES, OPEN, State, may, way

DESIGN = """
queued     → submitting failed cancelled held
submitting → submitted queued failed held
submitted  → rendered queued failed held
rendered   → delivered failed held
delivered  → queued
failed     → queued
cancelled  → queued
held       → queued submitted cancelled
"""
TABLE = {line.split()[0]: set(line.split()[2:]) for line in DESIGN.strip().splitlines()}


@pytest.mark.parametrize("frm", State)
@pytest.mark.parametrize("to", State)
def test_a_move_is_allowed_where_the_design_says_so_and_nowhere_else(frm: State, to: State) -> None:
    # And one move more, for `duplicates = "skip"`: what an earlier job has rendered is given again.
    assert may(frm, to) == (to.value in TABLE[frm.value] or (frm, to) == (State.QUEUED, State.RENDERED))


def test_every_state_has_its_row_and_the_table_cannot_be_changed() -> None:
    assert set(MOVES) == set(State) == {State(word) for word in TABLE}
    with pytest.raises(TypeError):
        MOVES[State.QUEUED] = frozenset()  # type: ignore[index]


def test_the_groups_of_states_are_what_their_names_say() -> None:
    assert {State.DELIVERED, State.FAILED, State.CANCELLED} == ENDS
    assert not OPEN & ENDS
    assert set(State) == OPEN | ENDS
    assert {State.HELD} == OPEN - IN_MOTION
    # An end leads back to the queue alone, by a person's retry.
    assert all(MOVES[end] == {State.QUEUED} for end in ENDS)


@pytest.mark.parametrize(
    ("frm", "expected"),
    [
        (State.QUEUED, (State.CANCELLED,)),
        (State.HELD, (State.CANCELLED,)),
        (State.SUBMITTING, (State.HELD, State.CANCELLED)),
        (State.SUBMITTED, (State.HELD, State.CANCELLED)),
        (State.RENDERED, (State.HELD, State.CANCELLED)),
    ],
)
def test_cancelling_what_is_under_way_goes_by_held(frm: State, expected: tuple[State, ...]) -> None:
    assert way(frm, State.CANCELLED) == expected


@pytest.mark.parametrize("end", sorted(ENDS))
def test_what_has_ended_cannot_be_cancelled(end: State) -> None:
    with pytest.raises(ValueError, match=end):
        way(end, State.CANCELLED)


@pytest.mark.parametrize("frm", State)
@pytest.mark.parametrize("to", State)
def test_every_step_of_a_way_is_an_allowed_move(frm: State, to: State) -> None:
    try:
        steps = (frm, *way(frm, to))
    except ValueError:
        return
    assert all(may(a, b) for a, b in pairwise(steps))
    assert steps[-1] is to
