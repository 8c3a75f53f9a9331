"""Which tasks are said to lag: by the waits of others that were sent no earlier to another cluster."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.tracking.lag import FACTOR, Beginnings, Lag, nine_tenths

LEAST = 300.0
A, B, C = "GPU-4090", "GPU-A800", "GPU-A800x2"


class Yard:
    """Tasks that are sent and begin at given seconds."""

    def __init__(self) -> None:
        self.seen = Beginnings()
        self._peers = 0

    def task(self, key: str = "late", cluster: str = A, sent: float = 0.0, workflow: str = "w") -> None:
        self.seen.follow(key, workflow, cluster, sent)

    def peers(self, *waits: float, cluster: str = B, sent: float = 1.0, workflow: str = "w", waiting: int = 0) -> None:
        """Tasks that begin after these waits, and so many that do not begin."""
        for wait in (*waits, *[math.inf] * waiting):
            self._peers += 1
            self.task(f"peer {self._peers}", cluster, sent, workflow)
            if wait < math.inf:
                self.seen.begun(f"peer {self._peers}", sent + wait)

    def lags(self, now: float, key: str = "late", least: float = LEAST) -> bool:
        return self.seen.judge(key, now, least) is not None


@pytest.fixture
def yard() -> Yard:
    made = Yard()
    made.task()
    return made


def test_a_task_lags_that_waits_long_after_others_have_begun_elsewhere(yard: Yard) -> None:
    yard.peers(5.0, 40.0, 20.0)
    assert yard.seen.judge("late", 720.0, LEAST) == Lag(720.0, B, 3, 40.0)
    assert Lag(720.0, B, 3, 39.2).sentence("230", A) == (
        "task 230 has been pending on GPU-4090 for 12 min, while 3 that were sent no earlier to GPU-A800 began within "
        "40 s"
    )


@pytest.mark.parametrize(
    ("waits", "now", "late"),
    [
        ((5, 5, 5), 299, False),  # a cold cluster boots for as long
        ((5, 5, 5), 301, True),
        ((5, 5), 9000, False),  # too few are known
        ((200, 200, 200), 599, False),  # three times as long as the others
        ((200, 200, 200), 601, True),
        ((5, 5, 200), 599, False),  # of few the longest counts
        ((5,) * 9 + (2000,), 301, True),  # of many nine in ten
        ((5,) * 8 + (2000, 2000), 5999, False),
    ],
)
def test_its_wait_is_measured_by_theirs(waits: tuple[float, ...], now: float, late: bool, yard: Yard) -> None:
    yard.peers(*waits)
    assert yard.lags(now) is late


def test_peers_on_its_own_cluster_or_sent_long_before_it_say_nothing(yard: Yard) -> None:
    yard.peers(5.0, 5.0, 5.0, cluster=A, sent=2.0)
    yard.peers(5.0, 5.0, 5.0, sent=-61.0)
    assert not yard.lags(9000.0)
    yard.peers(5.0, 5.0, 5.0, sent=-59.0)
    assert yard.lags(9000.0)


def test_the_same_workflow_counts_and_any_other_where_too_few_of_it_are_known(yard: Yard) -> None:
    yard.peers(5.0, 5.0, 5.0, workflow="other")
    assert yard.lags(301.0)
    yard.peers(200.0, 200.0, 200.0)
    assert not yard.lags(599.0)
    assert yard.lags(601.0)


def test_where_most_stand_in_line_nothing_begins_quickly(yard: Yard) -> None:
    yard.peers(5.0, 5.0, 5.0, waiting=1)
    assert not yard.lags(9000.0)
    yard.peers(*[5.0] * 30)
    assert yard.lags(9000.0)  # one of many is nothing out of the way


def test_what_was_sent_a_moment_ago_does_not_make_the_others_quicker(yard: Yard) -> None:
    yard.peers(200.0, 200.0, 200.0)
    yard.peers(waiting=50, sent=590.0)
    assert not yard.lags(599.0)


def test_one_cluster_that_begins_quickly_is_enough_though_another_stands_still_too(yard: Yard) -> None:
    yard.peers(cluster=C, waiting=20)
    yard.peers(5.0, 5.0, 5.0)
    assert yard.lags(301.0)


def test_behind_a_line_that_moves_a_task_is_not_late(yard: Yard) -> None:
    yard.peers(5.0, 5.0, 5.0)
    for n in range(10):  # our own line in front of it, one every 200 s
        yard.task(f"before {n}", sent=-1.0)
    for n in range(10):
        assert not yard.lags(200.0 * n + 199.0)
        yard.seen.begun(f"before {n}", 200.0 * (n + 1))
    assert not yard.lags(2399.0)  # twice as long as the others' turns there
    assert yard.lags(2401.0)


def test_tasks_that_were_sent_later_and_begin_before_it_do_not_bring_its_turn_nearer(yard: Yard) -> None:
    yard.peers(5.0, 5.0, 5.0)
    yard.task("overtakes", sent=10.0)
    yard.seen.begun("overtakes", 290.0)
    assert yard.lags(301.0)


def test_a_cluster_that_always_takes_long_is_slow_and_not_stuck(yard: Yard) -> None:
    for n in range(3):
        yard.task(f"earlier {n}", sent=-3000.0 + 500.0 * n)
        yard.seen.begun(f"earlier {n}", -2600.0 + 500.0 * n)
    yard.peers(5.0, 5.0, 5.0)
    assert not yard.lags(799.0)
    assert yard.lags(801.0)


def test_after_a_restart_its_wait_begins_anew_and_theirs_do_not() -> None:
    seen = Beginnings()
    seen.follow("late", "w", A, 0.0, waited=86400.0)
    for n in range(3):
        seen.follow(str(n), "w", B, 0.0, waited=500.0)
        seen.begun(str(n), 5.0)
    assert seen.judge("late", LEAST, LEAST) is None
    assert seen.judge("late", 3 * 505.0, LEAST) is None
    assert seen.judge("late", 3 * 505.0 + 1.0, LEAST) == Lag(1516.0, B, 3, 505.0)


def test_what_begins_or_is_followed_no_more_is_not_judged(yard: Yard) -> None:
    yard.peers(5.0, 5.0, 5.0)
    yard.task("gone")
    yard.seen.forget("gone")
    yard.seen.begun("late", 400.0)
    yard.seen.follow("model", "w", "", 0.0)
    assert not any(yard.lags(9000.0, key) for key in ("late", "gone", "model", "unknown"))


def test_what_is_remembered_is_bounded() -> None:
    yard = Yard()
    for n in range(100):
        yard.peers(*[5.0] * 3, cluster=f"cluster {n}")
    yard.peers(*[5.0] * 1000)
    assert len(yard.seen._begun) == 64
    assert sum(map(len, yard.seen._begun.values())) <= 63 * 3 + 200


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=60))
def test_nine_tenths_do_not_exceed_it(waits: list[float]) -> None:
    found = nine_tenths(waits)
    assert found in waits
    assert sum(wait <= found for wait in waits) >= 0.9 * len(waits)


@pytest.mark.parametrize("peers", [3, 9, 10, 20, 60])
def test_like_waits_are_hardly_ever_called_late(peers: int) -> None:
    """The docstring's chance, by trying it out: exponential waits that are alike on both clusters."""
    rank, dice, times = math.ceil(0.9 * peers), random.Random(7), 20_000
    chance = math.prod(k / (k + FACTOR) for k in range(peers - rank + 1, peers + 1))
    late = sum(
        dice.expovariate(1.0) > FACTOR * nine_tenths([dice.expovariate(1.0) for _ in range(peers)])
        for _ in range(times)
    )
    assert chance <= 1 / 20 + 1e-12
    assert abs(late / times - chance) < 4 * math.sqrt(chance / times)
