"""SIGTERM and SIGHUP, and who may run at all."""

import signal
from datetime import datetime, timedelta

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State


def stop_in_time(daemon: Daemon) -> None:
    daemon.stop()
    told, over = (daemon.events(event)[-1]["ts"] for event in ("service_stopping", "service_stopped"))
    # By its own log: what a busy machine takes to put a process away is not the daemon's.
    assert datetime.fromisoformat(over) - datetime.fromisoformat(told) < timedelta(seconds=10)


def test_asked_to_end_during_an_upload_it_ends_in_time_and_nothing_is_lost_or_doubled(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    # The platform does not read, so the upload cannot go on: the worst moment to be asked.
    platform.faults({"call": "run", "do": "slow", "seconds": 30.0, "count": 1})
    daemon.start()
    dropped = {"big.png": share.drop("big.png", share.picture() + bytes(32 * 2**20))}
    daemon.wait_for(State.SUBMITTING)
    dropped["small.png"] = share.drop("small.png")
    daemon.wait(lambda: share.sidecars(), "the small one has overtaken it")
    stop_in_time(daemon)
    assert not platform.tasks(dropped["big.png"])
    platform.faults()
    daemon.start()
    daemon.wait_at_rest(done=2)
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 2


@pytest.mark.parametrize("platform", [{"render_seconds": (1.5, 3.0)}], indirect=True)
def test_asked_to_end_while_much_is_going_on_it_ends_in_time_and_goes_on_after_the_restart(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    platform.faults({"call": "view", "do": "slow", "seconds": 1.0, "every": 2})
    dropped = {f"{n}.png": share.drop(f"{n}.png") for n in range(12)}
    daemon.start()
    daemon.wait(lambda: share.sidecars(), "the first is delivered")
    stop_in_time(daemon)
    share.check_unbroken(platform)
    daemon.start()
    daemon.wait_at_rest(done=12)
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 12
    daemon.stop()


def test_broken_settings_are_reported_and_the_old_ones_stay(platform: Platform, daemon: Daemon, share: Share) -> None:
    daemon.start()
    good = daemon.settings_file.read_text()
    daemon.settings_file.write_text(f"{good}\n[platform\nbase_url = 7")
    daemon.signal(signal.SIGHUP)
    daemon.wait(lambda: daemon.events("settings_kept"), "the broken settings are told")
    daemon.settings_file.write_text(good.replace("workflow_id", "workflow"))
    daemon.signal(signal.SIGHUP)
    daemon.wait(lambda: len(daemon.events("settings_kept")) == 2, "they are told again")
    assert daemon.events("settings_broken")[-1]["key"].startswith("routes.portrait")
    dropped = {"a.png": share.drop("a.png")}
    daemon.wait_at_rest(done=1)
    share.check_delivered(platform, dropped)


def test_new_settings_hold_from_the_signal_on(platform: Platform, daemon: Daemon, share: Share) -> None:
    daemon.start()
    daemon.route(output_name="{stem} of {route}", params={"prompt": "watercolour"})
    daemon.reload()
    data = share.drop("a.png")
    daemon.wait_at_rest(done=1)
    assert share.files(share.outbox).keys() == {"a of portrait.png", "a of portrait.json"}
    assert platform.task(data)["fields"]["prompt"] == "watercolour"


def test_a_second_daemon_on_one_state_folder_is_refused(daemon: Daemon) -> None:
    daemon.start()
    second = daemon.run("run")
    assert second.returncode == 1
    assert "another renderdrop" in second.stderr
    assert "Traceback" not in second.stderr
    daemon.stop()
