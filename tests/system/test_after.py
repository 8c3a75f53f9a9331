"""What becomes of a source when its job has ended: kept and remembered, or deleted once its result is on disk."""

from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State


def test_a_kept_file_is_rendered_once_also_after_a_restart_and_again_when_it_changed(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(after="keep")
    first = share.drop("a.png")
    assert daemon.once() == 0
    assert daemon.once() == 0
    daemon.start()
    other = share.drop("b.png")  # once this one is delivered, the kept one has been seen and passed over
    daemon.wait(lambda: len(share.sidecars()) == 2, "the new file is delivered")
    assert len(platform.tasks()) == 2
    assert share.files(share.inbox).keys() == {"a.png", "b.png"}

    second = share.drop("a.png")
    daemon.wait(lambda: len(share.sidecars()) == 3, "the changed file is delivered")
    daemon.wait(lambda: not share.staging(), "it is put away")
    share.check_whole(platform)
    assert [len(platform.tasks(data)) for data in (first, other, second)] == [1, 1, 1]
    assert (share.outbox / "a-2.json").exists()
    assert (share.inbox / "a.png").read_bytes() == second
    assert not share.files(share.done)
    daemon.stop()


def test_a_source_is_deleted_only_after_its_delivery(platform: Platform, daemon: Daemon, share: Share) -> None:
    daemon.route(after="delete")
    platform.faults({"call": "view", "do": "status", "status": 502})
    daemon.start()
    data = share.drop("a.png")
    daemon.wait_for(State.RENDERED)
    daemon.wait(lambda: platform.ledger()["calls"].get("view", 0) >= 2, "the result cannot be had")
    assert (share.inbox / "a.png").read_bytes() == data
    platform.faults()
    daemon.wait(lambda: not share.files(share.inbox) and not share.staging(), "the source is gone")
    share.check_whole(platform)
    assert share.sidecar("a.png")["outputs"][0]["sha256"] == platform.task(data)["outputs"][0]["sha256"]
    assert not share.files(share.done)


def test_a_failed_source_is_moved_to_failed_even_where_delivered_ones_are_deleted(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(after="delete", workflow_id="fails")
    data = share.drop("a.png")
    assert daemon.once() == 3
    assert (share.failed / "a.png").read_bytes() == data
