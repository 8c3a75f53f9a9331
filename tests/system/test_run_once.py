"""`run --once`: until every inbox is dealt with, and an exit code that says how it went."""

from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share


def test_with_everything_delivered_it_exits_with_0(platform: Platform, daemon: Daemon, share: Share) -> None:
    assert daemon.once() == 0  # nothing there is nothing wrong
    dropped = {f"{n}/a.png": share.drop(f"{n}/a.png") for n in range(3)}
    assert daemon.once() == 0
    share.check_delivered(platform, dropped)


def test_with_one_failed_it_exits_with_3(platform: Platform, daemon: Daemon, share: Share) -> None:
    dropped = {"a.png": share.drop("a.png")}
    share.drop("notes.txt", b"a shopping list")
    assert daemon.once() == 3
    share.check_delivered(platform, dropped)
    assert (share.failed / "notes.txt.error.txt").exists()


def test_with_one_held_it_exits_with_3_and_does_not_wait_for_the_person(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(on_unknown_submit="hold")
    platform.faults({"call": "run", "do": "reset_after", "count": 1})
    share.drop("a.png")
    assert daemon.once() == 3


def test_settings_that_cannot_be_run_with_are_listed_whole_and_it_exits_with_78(daemon: Daemon, share: Share) -> None:
    daemon.configure("platform", base_url="ftp://nowhere", requests_per_second=0)
    daemon.configure("intake", settel="1s", settle="soon")
    daemon.route(clusters=[], folder=str(share.folder / "missing" / "deep"), after="burn")
    told = daemon.run("run", "--once")
    assert told.returncode == 78
    for key in (
        "platform.base_url", "platform.requests_per_second", "intake.settel", "intake.settle",
        "routes.portrait.clusters", "routes.portrait.after", "routes.portrait.folder",
    ):  # fmt: skip
        assert f"{key}: " in told.stderr
    assert "Traceback" not in told.stderr
    assert not told.stdout
    assert not daemon.state_dir.exists()


def test_with_a_share_that_cannot_be_reached_it_exits_with_3(platform: Platform, daemon: Daemon, share: Share) -> None:
    assert daemon.once() == 0
    dropped = {"a.png": share.drop("a.png")}
    marker = share.inbox / ".renderdrop"
    marker.rename(share.folder / "away")
    assert daemon.once() == 3  # nobody knows what lies in there
    (share.folder / "away").rename(marker)
    assert daemon.once() == 0
    share.check_delivered(platform, dropped)


def test_routes_with_one_outbox_do_not_take_each_other_offline(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    tables = {}
    for name in ("one", "two", "three"):
        (share.folder / name).mkdir()
        tables[name] = {
            "folder": str(share.folder / name), "outbox": str(share.outbox), "workflow_id": "1234",
            "clusters": ["GPU-4090"], "inputs": {"input_image": "image"},
        }  # fmt: skip
    daemon.routes(**tables)
    assert daemon.once() == 0
    assert daemon.events("share_waits") == []
