"""Which cluster: as tables, and as rules that hold in every situation."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from renderdrop.dispatch.choose import ClusterView, Situation, choose
from renderdrop.model.in_a_row import IN_A_ROW, Row

NAMES = ("A", "B", "C", "D")
VIEWS = st.builds(
    ClusterView, st.integers(0, 30), st.none() | st.integers(0, 40), st.integers(0, 50)
)  # fmt: skip
SITUATIONS = st.builds(
    Situation,
    st.lists(st.sampled_from(NAMES), unique=True, max_size=4).map(tuple),
    st.dictionaries(st.sampled_from(NAMES), VIEWS),
    st.frozensets(st.sampled_from(NAMES)),
)


def situation(allowed: str, resting: str = "", **active: tuple[int, int | None, int]) -> Situation:
    return Situation(tuple(allowed), {n: ClusterView(*v) for n, v in active.items()}, frozenset(resting))


TABLE: list[tuple[str, Situation, str | None]] = [
    ("nothing is active", situation("AB"), None),
    ("nothing is allowed", situation("", A=(0, 5, 0)), None),
    ("what is active is not allowed", situation("A", B=(0, 5, 0)), None),
    ("one can be used", situation("AB", B=(20, 20, 50)), "B"),
    ("the emptier one", situation("AB", A=(8, 20, 0), B=(2, 20, 0)), "B"),
    ("the larger one", situation("AB", A=(2, 4, 0), B=(2, 20, 0)), "B"),
    ("our own tasks count", situation("AB", A=(0, 20, 3), B=(2, 20, 0)), "B"),
    ("a tie goes to the preferred one", situation("BA", A=(1, 10, 0), B=(1, 10, 0)), "B"),
    ("preference breaks ties alone", situation("AB", A=(2, 10, 0), B=(1, 10, 0)), "B"),
    ("a ceiling of 0 comes last", situation("AB", A=(0, 0, 0), B=(20, 20, 99)), "B"),
    ("but is taken where there is nothing else", situation("A", A=(0, 0, 0)), "A"),
    ("the same for two of them", situation("BA", A=(0, 0, 0), B=(3, 0, 3)), "B"),
    ("an unknown ceiling is not full", situation("AB", A=(9, 10, 0), B=(0, None, 0)), "B"),
    ("an unknown ceiling is not free", situation("AB", A=(0, 10, 0), B=(5, None, 0)), "A"),
    ("unknown alone is compared by what runs there", situation("AB", A=(3, None, 0), B=(1, None, 1)), "B"),
    ("a resting one is left alone", situation("AB", "A", A=(0, 20, 0), B=(19, 20, 9)), "B"),
    ("unless there is no other", situation("AB", "A", A=(0, 20, 0)), "A"),
    ("all resting is as if none were", situation("AB", "AB", A=(9, 20, 0), B=(1, 20, 0)), "B"),
]


@pytest.mark.parametrize(("given_", "expected"), [t[1:] for t in TABLE], ids=[t[0] for t in TABLE])
def test_the_choice(given_: Situation, expected: str | None) -> None:
    choice = choose(given_)
    assert (choice.cluster if choice else None) == expected
    if choice:
        assert choice.reason.startswith(f"{expected}: ")
        assert "\n" not in choice.reason


@given(SITUATIONS)
def test_the_choice_is_always_allowed_and_active_and_made_where_one_can_be(found: Situation) -> None:
    choice = choose(found)
    possible = set(found.allowed) & set(found.active)
    assert (choice is None) == (not possible)
    if choice:
        assert choice.cluster in possible
        assert choice.cluster not in found.resting or possible <= found.resting


@given(SITUATIONS)
def test_what_is_not_allowed_has_no_say(found: Situation) -> None:
    others = {n: ClusterView(0, 99, 0) for n in NAMES if n not in found.allowed}
    assert choose(found) == choose(replace(found, active={**found.active, **others}))


@given(SITUATIONS, st.integers(1, 50))
def test_more_load_on_a_cluster_never_makes_it_more_attractive(found: Situation, more: int) -> None:
    choice = choose(found)
    assume(choice is not None)
    assert choice is not None
    for name, view in found.active.items():
        if name != choice.cluster:
            heavier = {**found.active, name: replace(view, ours=view.ours + more)}
            again = choose(replace(found, active=heavier))
            assert again is not None
            assert again.cluster == choice.cluster


def burst(found: Situation, jobs: int) -> Counter[str]:
    """So many jobs at once, on one status: each choice sees those before it."""
    sent: Counter[str] = Counter()
    for _ in range(jobs):
        active = {n: replace(v, ours=v.ours + sent[n]) for n, v in found.active.items()}
        choice = choose(replace(found, active=active))
        assert choice is not None
        sent[choice.cluster] += 1
    return sent


@pytest.mark.parametrize("order", ["AB", "BA"])
def test_two_hundred_at_once_spread_the_emptier_gets_more_and_neither_gets_all(order: str) -> None:
    sent = burst(situation(order, A=(2, 22, 0), B=(8, 21, 0), C=(0, 99, 0)), 200)
    assert sent["A"] > sent["B"] > 50
    assert sent["C"] == 0


@given(st.integers(0, 6), st.integers(0, 6), st.integers(1, 6), st.integers(1, 6) | st.none())
def test_a_burst_never_goes_to_one_alone(a: int, b: int, ceiling: int, other: int | None) -> None:
    sent = burst(situation("AB", A=(a, ceiling, 0), B=(b, other, 0)), 60)
    assert min(sent["A"], sent["B"]) > 0


def test_an_unknown_ceiling_takes_its_share_and_no_more() -> None:
    sent = burst(situation("AB", A=(0, 20, 0), B=(0, None, 0)), 200)
    assert sent == {"A": 100, "B": 100}


# When refusals are no longer a job's own.


def test_the_same_refusal_on_three_files_is_the_routes() -> None:
    row = Row()
    assert IN_A_ROW == 3
    assert [row.add(job, "no") for job in ("a", "b", "c", "d")] == [False, False, True, True]


def test_the_same_file_three_times_is_the_files_own() -> None:
    row = Row()
    assert not any(row.add("a", "no") for _ in range(9))
    assert not row.add("b", "no")
    assert not row.add("a", "no")
    assert row.add("c", "no")


def test_different_messages_are_no_row() -> None:
    row = Row()
    assert not any(row.add(job, said) for job, said in [("a", "x"), ("b", "y"), ("c", "x"), ("d", "x"), ("e", "y")])
    assert not row.add("f", "x")
    assert not row.add("g", "x")
    assert row.add("h", "x")


def test_something_that_worked_breaks_the_row() -> None:
    row = Row()
    row.add("a", "no")
    row.add("b", "no")
    row.end()
    assert [row.add(job, "no") for job in ("c", "d", "e")] == [False, False, True]
