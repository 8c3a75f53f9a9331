"""Clusters on which things go wrong: when they are left alone, for how long, and how they come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.dispatch.choose import Choice, ClusterView, Situation, choose
from renderdrop.dispatch.ejection import FAILED, PROBE, REFUSED, Ejection, Record, replay
from renderdrop.dispatch.expected import expect
from renderdrop.model.experience import ADDRESS_UNSURE, UPLOADED_AGAIN, Ended, Try, blames
from renderdrop.model.job import Outcome


def test_a_refusal_rests_a_cluster_at_once() -> None:
    found = Ejection().refused("A", 100.0)
    assert found.out(100.0) == {"A"}
    assert found.out(100.0 + REFUSED[0]) == set()


def test_one_files_failures_are_its_own() -> None:
    found = Ejection()
    for at in range(9):
        found = found.failed("A", "job", float(at))
    assert found.out(9.0) == set()


def test_three_jobs_that_failed_are_the_clusters_fault_unless_one_succeeded_between() -> None:
    found = Ejection().failed("A", "a", 0.0).failed("A", "b", 1.0)
    assert found.failed("A", "c", 2.0).out(3.0) == {"A"}
    assert found.worked("A").failed("A", "c", 2.0).out(3.0) == set()


def test_pauses_grow_up_to_the_longest_and_a_success_ends_it_all() -> None:
    found, now, pauses = Ejection(), 0.0, []
    for job in "abcdefgh":
        for more in range(3):
            found = found.failed("A", job + str(more), now)
        until = found.records["A"].until
        pauses.append(until - now)
        now = until + 1
    assert pauses[0] == FAILED[0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == FAILED[1]
    assert found.worked("A").records == {}


def test_after_the_pause_one_job_is_the_probe_and_others_wait_for_it() -> None:
    found = Ejection().refused("A", 0.0)
    after = REFUSED[0] + 1
    assert found.out(after) == set()
    probed = found.tried("A", after)
    assert probed.out(after + 1) == {"A"}
    assert probed.accepted("A").out(after + 2) == set()
    assert probed.out(after + PROBE + 1) == set()


def test_that_a_job_is_accepted_says_nothing_of_tasks_that_fail() -> None:
    found = Ejection()
    for job in "abc":
        found = found.failed("A", job, 0.0)
    assert found.accepted("A").out(1.0) == {"A"}


def test_what_was_on_its_way_is_no_new_offence() -> None:
    found = Ejection()
    for job in "abcdef":
        found = found.failed("A", job, 0.0)
    assert found.records["A"].times == 1


@given(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(["refused", "failed", "tried"]), st.integers(0, 5))))
def test_never_are_all_of_them_out_for_a_choice(deeds: list[tuple[str, str, int]]) -> None:
    found, now = Ejection(), 0.0
    for cluster, what, job in deeds:
        now += 1.0
        if what == "refused":
            found = found.refused(cluster, now)
        elif what == "failed":
            found = found.failed(cluster, str(job), now)
        else:
            found = found.tried(cluster, now)
    views = {name: ClusterView(1, 9, 0) for name in "AB"}
    for rule in (choose, expect):
        assert isinstance(rule(Situation(("A", "B"), views, found.out(now), "w", {"w": 5})), Choice)


NOW = 1_800_000_000.0


def refused(at: float, cluster: str = "A") -> Try:
    return Try("job", "w", cluster, Outcome.REFUSED, at - 1, at)


def ended(at: float, job: str, *, well: bool) -> Ended:
    return Ended(job, "w", "A", well, at - 9, at - 5, at)


@pytest.mark.parametrize(
    ("tries", "tasks", "left"),
    [
        ([], [], None),
        ([refused(NOW - 10)], [], REFUSED[0] - 10),
        ([refused(NOW - 100)], [], None),
        ([refused(NOW + 3600)], [], REFUSED[0]),
        ([refused(NOW - 10)], [ended(NOW - 5, "a", well=True)], None),
        ([], [ended(NOW - 20, job, well=False) for job in "abc"], FAILED[0] - 20),
        ([], [ended(NOW + 20, job, well=False) for job in "abc"], FAILED[0]),
        ([], [ended(NOW - 20, "a", well=False)] * 3, None),
        # Its probe is under way: the others wait for it.
        ([refused(NOW - 100), Try("b", "w", "A", None, NOW - 20, None)], [], PROBE - 20),
        ([refused(NOW - 100), Try("b", "w", "A", Outcome.ACCEPTED, NOW - 20, NOW - 19)], [], None),
        ([Try("b", "w", "A", Outcome.UNKNOWN, NOW - 20, NOW - 19)], [], None),
    ],
)
def test_who_is_left_alone_outlives_a_restart(tries: list[Try], tasks: list[Ended], left: float | None) -> None:
    for clock in (50.0, NOW):
        found = replay(tries, tasks, NOW, clock)
        assert found.out(clock) == (set() if left is None else {"A"})
        if left is not None:
            assert found.records["A"].until - clock == pytest.approx(left)


WHAT = st.sampled_from(["refused", "accepted", "upload forgotten", "address unsure", "left", "failed", "worked"])
ANSWERS = {
    "refused": (Outcome.REFUSED, "the platform refused it: no"),
    "accepted": (Outcome.ACCEPTED, ""),
    "left": (Outcome.ACCEPTED, "it lags"),
    "upload forgotten": (Outcome.REFUSED, f"the platform refused it: no such file; {UPLOADED_AGAIN}"),
    "address unsure": (Outcome.REFUSED, f"the platform refused it: HTTP 404; {ADDRESS_UNSURE}"),
}
DEEDS = st.tuples(st.sampled_from("AB"), WHAT, st.integers(0, 4))


@given(st.lists(st.tuples(st.floats(1, 300), DEEDS), max_size=40), st.floats(0, 500))
def test_a_new_process_knows_what_the_old_one_knew(
    history: list[tuple[float, tuple[str, str, int]]], after: float
) -> None:
    lived, at, tries, tasks = Ejection(), 0.0, list[Try](), list[Ended]()
    for passed, (cluster, what, number) in history:
        at += passed
        wall, job = NOW + at, str(number)
        if what in ANSWERS:
            outcome, detail = ANSWERS[what]
            lived = lived.tried(cluster, at)
            if blames(outcome, detail):
                lived = lived.refused(cluster, at)
            elif outcome is Outcome.ACCEPTED:
                lived = lived.accepted(cluster)
            if what == "left":
                at += 400.0
                lived = lived.failed(cluster, job, at)
            left = NOW + at if what == "left" else None
            tries.append(Try(job, "w", cluster, outcome, wall, wall, detail, left))
        else:
            lived = lived.worked(cluster) if what == "worked" else lived.failed(cluster, job, at)
            tasks.append(Ended(job, "w", cluster, what == "worked", wall, None, wall))
    replayed = replay(tries, tasks, NOW + at + after, at + after)
    assert replayed.records.keys() == lived.records.keys()
    for name, record in lived.records.items():
        again = replayed.records[name]
        assert (again.jobs, again.times, again.why, again.probed) == (
            record.jobs, record.times, record.why, record.probed,
        )  # fmt: skip
        assert again.until == pytest.approx(record.until, abs=1e-3)


def test_a_cluster_that_has_refused_for_weeks_is_only_left_alone_once_more() -> None:
    found = Ejection({"A": Record(times=5000)}).refused("A", 0.0)
    assert found.records["A"].until == REFUSED[1]
