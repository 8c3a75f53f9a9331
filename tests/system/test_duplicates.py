"""The very same once more: with `duplicates = "skip"` the earlier results are given again, and nothing is paid."""

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State

ALLOWED = ["prompt", "seed"]


def test_the_same_under_another_name_is_given_the_earlier_results_and_whatever_differs_is_rendered(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(duplicates="skip", workflow_id="several", params_allowed=ALLOWED)
    daemon.start()
    data = share.drop("a.png")
    daemon.wait_at_rest(done=1)
    first = share.sidecar("a.png")

    share.drop("sub/b.png", data)
    daemon.wait_at_rest(done=2)
    assert len(platform.tasks()) == 1
    again = share.sidecar("sub/b.png")
    assert (again["status"], again["duplicate_of"], again["submissions"]) == ("success", first["job_id"], [])
    assert [out["file"] for out in again["outputs"]] == ["b_1.png", "b_2.jpg", "b_3.mp4"]
    assert [out["sha256"] for out in again["outputs"]] == [out["sha256"] for out in first["outputs"]]
    assert (again["params"], again["sources"][0]["sha256"]) == (first["params"], share.digest(data))
    assert first["duplicate_of"] is None
    share.check_whole(platform)
    assert (share.done / "sub" / "b.png").read_bytes() == data
    assert daemon.events("job_is_a_duplicate")

    share.drop("c.png.job.toml", b'[params]\nprompt = "ink"')
    share.drop("c.png", data)
    share.drop("d.png.job.toml", b'version_id = "8"')
    share.drop("d.png", data)
    other = share.drop("e.png")
    daemon.wait_at_rest(done=7)
    assert (len(platform.tasks(data)), len(platform.tasks(other))) == (3, 1)
    assert {share.sidecar(name)["duplicate_of"] for name in ("c.png", "d.png", "e.png")} == {None}
    share.check_whole(platform)


@pytest.mark.parametrize("platform", [{"render_seconds": (2.0, 2.0)}], indirect=True)
def test_of_two_that_arrive_at_once_only_one_is_rendered(platform: Platform, daemon: Daemon, share: Share) -> None:
    daemon.route(duplicates="skip")
    data = share.picture()
    for name in ("a.png", "b.png", "c.png"):
        share.drop(name, data)
    assert daemon.once() == 0
    assert share.at_rest(done=3)
    assert len(platform.tasks()) == 1
    sidecars = share.sidecars()
    [rendered] = [s for s in sidecars if s["duplicate_of"] is None]
    assert [s["duplicate_of"] for s in sidecars].count(rendered["job_id"]) == 2
    assert len({s["outputs"][0]["sha256"] for s in sidecars}) == 1
    share.check_whole(platform)


def test_it_is_rendered_again_when_the_earlier_result_is_gone_or_was_changed_or_had_failed(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(duplicates="skip")
    failing = share.drop("failing-1.png")
    platform.faults({"call": "run", "do": "fail_task", "count": 1})
    daemon.start()
    daemon.wait_at_rest(done=0, failed=1)
    gone, changed = share.drop("gone-1.png"), share.drop("changed-1.png")
    daemon.wait_at_rest(done=2, failed=1)

    (share.outbox / "gone-1.png").unlink()
    with (share.outbox / "changed-1.png").open("ab") as file:
        file.write(b"touched up by hand")
    every = {"failing": failing, "gone": gone, "changed": changed}
    for name, data in every.items():
        share.drop(f"{name}-2.png", data)
    daemon.wait_at_rest(done=5, failed=1)
    assert [len(platform.tasks(data)) for data in every.values()] == [2, 2, 2]
    assert {sidecar["duplicate_of"] for sidecar in share.sidecars()} == {None}

    for name, data in every.items():
        share.drop(f"{name}-3.png", data)
    daemon.wait_at_rest(done=8, failed=1)
    assert len(platform.tasks()) == 6
    for name in every:
        third, second = share.sidecar(f"{name}-3.png"), share.sidecar(f"{name}-2.png")
        assert third["duplicate_of"] == second["job_id"]
        assert (share.outbox / f"{name}-3.png").read_bytes() == (share.outbox / f"{name}-2.png").read_bytes()


@pytest.mark.parametrize("platform", [{"render_seconds": (3.0, 3.0)}], indirect=True)
def test_killed_while_a_duplicate_waits_it_pays_once_all_the_same(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(duplicates="skip")
    daemon.start()
    data = share.drop("a.png")
    daemon.wait_for(State.SUBMITTED)
    share.drop("b.png", data)
    daemon.wait_for(State.QUEUED)
    daemon.kill()
    daemon.start()
    daemon.wait_at_rest(done=2)
    assert len(platform.tasks()) == 1
    assert share.sidecar("b.png")["duplicate_of"] == share.sidecar("a.png")["job_id"]
    share.check_whole(platform)


def test_by_default_the_same_is_rendered_again(platform: Platform, daemon: Daemon, share: Share) -> None:
    data = share.drop("a.png")
    share.drop("b.png", data)
    assert daemon.once() == 0
    assert len(platform.tasks(data)) == 2
    assert {sidecar["duplicate_of"] for sidecar in share.sidecars()} == {None}


def test_run_once_leaves_what_waits_for_a_job_that_a_person_decides_about(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(duplicates="skip", silence="1s")
    platform.faults({"call": "run", "do": "stuck", "count": 1})
    data = share.drop("a.png")
    share.drop("b.png", data)
    assert daemon.once() == 3
    assert sorted(job.state for job in daemon.jobs()) == [State.HELD, State.QUEUED]
    assert len(platform.tasks()) == 1
