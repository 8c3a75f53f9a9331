"""A task that says nothing new, and a job that nobody wants any more."""

import json

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State


def test_a_task_that_says_nothing_new_is_held_and_release_asks_after_it_again(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(silence="2s")
    platform.faults({"call": "poll", "do": "status", "status": 502})
    daemon.start()
    dropped = {"a.png": share.drop("a.png")}
    [job] = daemon.wait_for(State.HELD)
    platform.faults()
    assert daemon.run("release", job.id).returncode == 0
    daemon.wait_at_rest(done=1)
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 1


def test_a_stuck_task_is_held_and_can_be_cancelled_then_its_source_is_told_of(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(silence="1500ms")
    platform.faults({"call": "run", "do": "stuck"})
    daemon.start()
    data = share.drop("a.png")
    [job] = daemon.wait_for(State.HELD)
    asked = platform.task(data)["polls"]
    assert daemon.run("release", job.id).returncode == 0
    daemon.wait(lambda: platform.task(data)["polls"] > asked, "its task is asked after again")
    daemon.wait_for(State.HELD)
    assert daemon.run("cancel", job.id).returncode == 0
    daemon.wait_at_rest(done=0, failed=1)
    assert (share.failed / "a.png").read_bytes() == data
    assert job.id in (share.failed / "a.png.error.txt").read_text()
    assert not share.files(share.outbox)


@pytest.mark.parametrize("platform", [{"render_seconds": (6.0, 6.0)}], indirect=True)
def test_a_running_job_that_is_cancelled_is_not_delivered(platform: Platform, daemon: Daemon, share: Share) -> None:
    daemon.start()
    data = share.drop("unwanted.png")
    [job] = daemon.wait_for(State.SUBMITTED)
    told = daemon.run("cancel", job.id)
    assert told.returncode == 0
    assert "bill" in told.stdout + told.stderr
    daemon.wait_at_rest(done=0, failed=1)
    assert (share.failed / "unwanted.png").read_bytes() == data
    notice = json.loads((share.failed / "unwanted.png.error.json").read_bytes())
    assert (notice["status"], notice["task_id"]) == ("fail", platform.task(data)["task_id"])
    # What was dropped later is rendered later: by then the unwanted one has ended, too.
    wanted = share.drop("wanted.png")
    daemon.wait_at_rest(done=1, failed=1)
    assert platform.task(data)["status"] == "success"
    share.check_delivered(platform, {"wanted.png": wanted})
