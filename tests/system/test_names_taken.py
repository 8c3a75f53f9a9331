"""Nothing that exists is ever overwritten: a taken name becomes NAME-2 for the whole job."""

from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share


def test_files_whose_results_would_have_one_name_get_one_each(platform: Platform, daemon: Daemon, share: Share) -> None:
    dropped = {name: share.drop(name) for name in ("photo.png", "photo.jpg", "Photo.JPG", "sub/photo.png")}
    assert daemon.once() == 0
    share.check_delivered(platform, dropped)
    bases = {s["sources"][0]["path"]: s["base"] for s in share.sidecars()}
    assert bases.pop("sub/photo.png") == "photo"
    assert {base.lower() for base in bases.values()} == {"photo", "photo-2", "photo-3"}
    for path, base in bases.items():
        stem, ending = path.split(".")
        assert base.startswith(stem)
        assert (share.done / f"{base}.{ending}").read_bytes() == dropped[path]
        assert share.sidecar(path)["outputs"][0]["file"] == f"{base}.png"


def test_what_lies_in_outbox_and_done_is_never_overwritten(platform: Platform, daemon: Daemon, share: Share) -> None:
    daemon.start()  # makes the folders
    (share.outbox / "Photo.PNG").write_bytes(b"somebody's own picture")
    (share.done / "photo-2.png").write_bytes(b"somebody's own source")
    data = share.drop("photo.png")
    daemon.wait(lambda: share.sidecars() and not share.files(share.inbox), "it is delivered and filed")
    assert (share.outbox / "Photo.PNG").read_bytes() == b"somebody's own picture"
    assert (share.done / "photo-2.png").read_bytes() == b"somebody's own source"
    [output] = share.sidecar("photo.png")["outputs"]
    assert output["file"] == "photo-3.png"
    assert (share.outbox / "photo-3.json").exists()
    assert (share.done / "photo-3.png").read_bytes() == data
    assert output["sha256"] == platform.task(data)["outputs"][0]["sha256"]


def test_a_name_that_somebody_takes_during_the_render_is_respected(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.start()
    platform.faults({"call": "view", "do": "slow", "seconds": 2.0, "count": 1})
    data = share.drop("a.png")
    daemon.wait(lambda: daemon.events("task_succeeded"), "it is rendered")
    (share.outbox / "a.json").write_bytes(b"{}")
    (share.failed / "a.png").write_bytes(b"an older failure")
    daemon.wait(lambda: (share.outbox / "a-2.json").exists() and not share.files(share.inbox), "it is delivered")
    assert (share.outbox / "a.json").read_bytes() == b"{}"
    assert not (share.outbox / "a.png").exists()
    assert (share.done / "a-2.png").read_bytes() == data


def test_a_second_file_of_a_name_that_failed_before_is_told_of_under_a_name_of_its_own(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(workflow_id="fails")
    daemon.start()
    first = share.drop("a.png")
    daemon.wait_at_rest(done=0, failed=1)
    second = share.drop("a.png")
    daemon.wait_at_rest(done=0, failed=2)
    assert (share.failed / "a.png").read_bytes() == first
    assert (share.failed / "a-2.png").read_bytes() == second
    assert (share.failed / "a-2.png.error.txt").exists()
    assert len(platform.tasks()) == 2
