"""The farm under a clock of our own: growth, shrinking, queues, and what the status list shows."""

import pytest

from renderdrop.sandbox.farm import STUCK, ClusterSpec, Farm

SMALL = ClusterSpec("A", "A-显示名", 1, 4)


def farm(*clusters: ClusterSpec, seconds: float = 10.0, foreign: dict[str, int] | None = None) -> Farm:
    return Farm(
        clusters or (SMALL,),
        now=0.0,
        render_seconds=(seconds, seconds),
        boot_seconds=2.0,
        scale_every=1.0,
        idle_seconds=5.0,
        foreign_load=foreign,
    )


def nodes(of: Farm, name: str = "A") -> int:
    return next(int(row["curr_nodes"]) for row in of.status() if row["name"] == name)


def test_the_default_clusters_are_those_of_the_platform_page() -> None:
    shown = [(row["name"], row["curr_nodes"], row["max_nodes"]) for row in Farm(now=0.0).status()]
    assert shown == [
        ("GPU-4090", 2, 22),
        ("GPU-A800", 8, 21),
        ("GPU-A800x2", 0, 6),
        ("GPU-A800x4", 0, 2),
        ("GPU-A800x8", 0, -1),
    ]


def test_a_task_runs_at_once_on_an_idle_instance_and_ends_when_its_time_has_passed() -> None:
    small = farm()
    work = small.accept(230, "A", 0.0)
    assert work.started_at == 0.0
    assert small.advance(9.9) == []
    assert work.done(5.0) == pytest.approx(0.5)
    assert small.advance(10.0) == [work]
    assert work.done(10.0) == 1.0


def test_a_queue_makes_the_cluster_grow_up_to_its_maximum_and_no_further() -> None:
    small = farm()
    works = [small.accept(number, "A", 0.0) for number in range(8)]
    assert [w.started_at for w in works[:2]] == [0.0, None]
    small.advance(2.9)
    assert nodes(small) == 1  # decided at 1, booted at 3
    small.advance(3.0)
    assert nodes(small) == 4
    assert sum(w.started_at is not None for w in works) == 4
    small.advance(9.0)
    assert nodes(small) == 4


def test_an_idle_cluster_shrinks_to_its_warm_instances_one_at_a_time() -> None:
    small = farm()
    for number in range(4):
        small.accept(number, "A", 0.0)
    small.advance(13.0)
    seen = []
    for now in range(13, 40):
        small.advance(float(now))
        seen.append(nodes(small))
    assert seen[0] == 4
    assert seen[-1] == 1
    assert sorted(seen, reverse=True) == seen
    assert {2, 3} <= set(seen)


def test_it_does_not_matter_how_finely_time_is_cut() -> None:
    coarse, fine = farm(seconds=3.3), farm(seconds=3.3)
    of_coarse = [coarse.accept(number, "A", 0.0) for number in range(9)]
    of_fine = [fine.accept(number, "A", 0.0) for number in range(9)]
    coarse.advance(60.0)
    for step in range(1, 601):
        fine.advance(step / 10)
    assert [(w.started_at, w.ended_at) for w in of_coarse] == [(w.started_at, w.ended_at) for w in of_fine]


def test_tasks_start_in_the_order_they_came() -> None:
    small = farm()
    works = [small.accept(number, "A", 0.0) for number in range(12)]
    small.advance(200.0)
    starts = [w.started_at for w in works if w.started_at is not None]
    assert len(starts) == 12
    assert starts == sorted(starts)


def test_a_cluster_without_instances_boots_one_for_its_first_task() -> None:
    cold = farm(ClusterSpec("A", "A", 0, 2))
    work = cold.accept(230, "A", 0.0)
    cold.advance(3.0)
    assert work.started_at == 3.0


def test_a_cluster_of_untold_size_shows_minus_one_and_runs_all_the_same() -> None:
    untold = farm(ClusterSpec("A", "A", 0, -1))
    works = [untold.accept(number, "A", 0.0) for number in range(3)]
    untold.advance(60.0)
    assert untold.status()[0]["max_nodes"] == -1
    assert all(w.ended_at is not None for w in works)


def test_a_cluster_that_cannot_grow_keeps_its_tasks_waiting() -> None:
    full = farm(ClusterSpec("A", "A", 0, 0))
    work = full.accept(230, "A", 0.0)
    full.advance(600.0)
    assert work.started_at is None


def test_a_fixed_cluster_shows_its_figures_whatever_happens_inside() -> None:
    fixed = farm(ClusterSpec("A", "A", 0, 5, fixed=True))
    works = [fixed.accept(number, "A", 0.0) for number in range(20)]
    for now in range(1, 200):
        fixed.advance(float(now))
        assert (fixed.status()[0]["curr_nodes"], fixed.status()[0]["max_nodes"]) == (0, 5)
    assert all(w.ended_at is not None for w in works)


def test_a_faster_cluster_halves_the_run() -> None:
    fast = farm(ClusterSpec("A", "A", 1, 1, speed=2.0))
    assert fast.accept(230, "A", 0.0).seconds == pytest.approx(5.0)


def test_the_same_seed_draws_the_same_run_times() -> None:
    def drawn(seed: int) -> list[float]:
        one = Farm(now=0.0, render_seconds=(1, 9), seed=seed)
        return [one.accept(number, "GPU-4090", 0.0).seconds for number in range(5)]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)


def test_instances_of_other_users_are_shown_and_never_ours() -> None:
    shared = farm(ClusterSpec("A", "A", 2, 4), foreign={"A": 2})
    works = [shared.accept(number, "A", 0.0) for number in range(6)]
    assert nodes(shared) == 2
    assert works[0].started_at is None
    shared.advance(5.0)
    assert nodes(shared) == 4
    assert sum(w.started_at is not None for w in works) == 2


def test_a_stuck_task_runs_for_ever_and_makes_no_progress() -> None:
    small = farm()
    work = small.accept(230, "A", 0.0, stuck=True)
    assert small.advance(1e5) == []
    assert work.seconds == STUCK
    assert work.done(1e5) == 0.0


def test_a_cluster_can_leave_the_list_and_its_tasks_go_on() -> None:
    small = farm()
    work = small.accept(230, "A", 0.0)
    small.change("A", 1.0, active=False)
    assert small.status() == []
    assert small.knows("A")
    assert not small.is_active("A")
    assert small.advance(10.0) == [work]
    small.change("A", 11.0, active=True)
    assert len(small.status()) == 1


def test_figures_changed_at_run_time_are_shown_at_once() -> None:
    small = farm()
    small.change("A", 1.0, curr_nodes=3, max_nodes=-1)
    assert small.status()[0] == {"name": "A", "display_name": "A-显示名", "curr_nodes": 3, "max_nodes": -1}
    small.change("A", 2.0, curr_nodes=0, max_nodes=9)
    assert nodes(small) == 0


def test_a_ceiling_that_sinks_takes_idle_instances_but_no_running_ones() -> None:
    wide = farm(ClusterSpec("A", "A", 4, 4))
    works = [wide.accept(number, "A", 0.0) for number in range(2)]
    wide.change("A", 0.5, max_nodes=1)
    wide.advance(1.0)
    assert nodes(wide) == 2
    assert [w.ended_at for w in works] == [None, None]
    wide.advance(12.0)
    assert nodes(wide) == 1
