"""A share that goes away: nothing is done to what lies in its place, everything goes on when it is back."""

import os

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State


@pytest.mark.parametrize("platform", [{"render_seconds": (4.0, 4.0)}], indirect=True)
@pytest.mark.parametrize("left", [(), ("inbox",), ("inbox", "outbox", "done", "failed")])
def test_an_empty_folder_in_the_shares_place_is_left_alone_until_the_share_is_back(
    platform: Platform, daemon: Daemon, share: Share, left: tuple[str, ...]
) -> None:
    daemon.start()
    dropped = {f"{n}.png": share.drop(f"{n}.png") for n in range(3)}
    daemon.wait_for(State.SUBMITTED, 3)
    dropped["not settled.png"] = share.drop("not settled.png")

    elsewhere = share.folder.with_name("unmounted")
    share.folder.rename(elsewhere)
    share.folder.mkdir()
    for name in left:
        (share.folder / name).mkdir()
    daemon.wait(lambda: daemon.events("share_waits"), "the daemon notices")
    daemon.wait(lambda: {task["status"] for task in platform.tasks()} == {"success"}, "the tasks have ended")
    daemon.wait(lambda: daemon.jobs(State.RENDERED), "the platform is followed all the same")
    assert sorted(os.listdir(share.folder)) == sorted(left)
    assert not any(files or folders for at, folders, files in os.walk(share.folder) if at != str(share.folder))
    assert not daemon.jobs(State.FAILED, State.CANCELLED, State.DELIVERED, State.HELD)

    for name in left:
        (share.folder / name).rmdir()
    share.folder.rmdir()
    platform.hurry()
    elsewhere.rename(share.folder)
    daemon.wait_at_rest(done=4)
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 4
    assert daemon.events("share_goes_on")
    daemon.stop()


def test_a_share_that_is_offline_at_the_start_is_waited_for(platform: Platform, daemon: Daemon, share: Share) -> None:
    daemon.start()
    dropped = {"a.png": share.drop("a.png")}
    daemon.wait_at_rest(done=1)
    daemon.stop()
    dropped["b.png"] = share.drop("b.png")
    elsewhere = share.folder.with_name("unmounted")
    share.folder.rename(elsewhere)
    share.folder.mkdir()
    daemon.launch()
    daemon.wait(lambda: daemon.events("share_waits"), "the daemon notices")
    assert os.listdir(share.folder) == []
    share.folder.rmdir()
    elsewhere.rename(share.folder)
    daemon.wait_at_rest(done=2)
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 2
