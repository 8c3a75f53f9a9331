"""Waits that grow and spread, and ids that sort by time."""

import re

from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model.backoff import CAP, RETRY_AFTER_CAP, backoff
from renderdrop.model.ids import RANDOM_BITS, job_id

CHANCE = st.floats(0, 1, exclude_max=True)
TIME = st.integers(0, 2**50 - 1)
BITS = st.integers(0, 2**RANDOM_BITS - 1)


@given(st.integers(1, 10**6), CHANCE)
def test_the_wait_is_within_half_a_second_times_two_to_the_n_and_the_cap(failures: int, chance: float) -> None:
    assert 0 <= backoff(failures, chance) <= min(CAP, 0.5 * 2.0 ** min(failures, 64))


def test_the_bound_doubles_until_the_cap() -> None:
    assert [backoff(n, 1.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 30, 30, 30]


@given(st.integers(1, 100), CHANCE, st.floats(0, 10**6))
def test_what_the_server_named_is_the_least_wait_up_to_two_minutes(failures: int, chance: float, named: float) -> None:
    wait = backoff(failures, chance, named)
    assert wait >= min(named, RETRY_AFTER_CAP)
    assert wait <= max(CAP, RETRY_AFTER_CAP)


@given(TIME, TIME, BITS, BITS)
def test_ids_sort_by_their_time(early: int, late: int, one: int, other: int) -> None:
    if early < late:
        assert job_id(early, one) < job_id(late, other)
    assert (job_id(early, one) == job_id(early, other)) == (one == other)


@given(TIME, BITS)
def test_an_id_is_sixteen_letters_that_nobody_misreads(time: int, chance: int) -> None:
    assert re.fullmatch(r"[0-9a-hjkmnp-tv-z]{16}", job_id(time, chance))
