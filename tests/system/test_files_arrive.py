"""A file is dropped, its render arrives: however it came, whatever it is called."""

import json
import os
import time
import unicodedata
from pathlib import Path

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State


def copy_slowly(target: Path, data: bytes, seconds: float, pieces: int = 20) -> None:
    """As a file manager copies over a slow line: under the final name, piece by piece."""
    step = len(data) // pieces + 1
    with target.open("wb", buffering=0) as file:
        for at in range(0, len(data), step):
            file.write(data[at : at + step])
            time.sleep(seconds / pieces)


def test_five_files_dropped_in_five_ways_arrive_whole(platform: Platform, daemon: Daemon, share: Share) -> None:
    daemon.start()
    slow = share.picture(size=(400, 300))
    dropped = {
        "renamed.png": share.drop("renamed.png"),
        "sub/deeper/below.png": share.drop("sub/deeper/below.png"),
        "星空 油画.png": share.drop("星空 油画.png"),
        "UPPER.PNG": share.drop("UPPER.PNG"),
        "slow.png": slow,
    }
    copy_slowly(share.inbox / "slow.png", slow, seconds=2)
    daemon.wait_at_rest(done=5)
    share.check_delivered(platform, dropped)
    assert {path: at.read_bytes() for path, at in share.files(share.done).items()} == dropped
    assert share.files(share.outbox).keys() == {
        "renamed.png", "renamed.json", "sub/deeper/below.png", "sub/deeper/below.json", "星空 油画.png",
        "星空 油画.json", "UPPER.png", "UPPER.json", "slow.png", "slow.json",
    }  # fmt: skip
    assert len(platform.tasks()) == 5
    assert not platform.ledger()["rejected"]
    daemon.stop()


def test_files_that_were_there_before_the_start_and_whole_folders_moved_in_are_taken(
    platform: Platform, daemon: Daemon, share: Share, tmp_path: Path
) -> None:
    dropped = {f"early/{n}.png": share.drop(f"early/{n}.png") for n in range(3)}
    prepared = tmp_path / "share" / "prepared"
    (prepared / "inner").mkdir(parents=True)
    daemon.start()
    for name in ("one.png", "inner/two.png"):
        dropped[f"moved/{name}"] = share.picture()
        (prepared / name).write_bytes(dropped[f"moved/{name}"])
    prepared.rename(share.inbox / "moved")
    daemon.wait_at_rest(done=5)
    share.check_delivered(platform, dropped)


def test_a_hard_link_is_a_file_like_any_other_and_its_other_name_stays(
    platform: Platform, daemon: Daemon, share: Share, tmp_path: Path
) -> None:
    daemon.start()
    original = tmp_path / "share" / "original.png"
    data = share.picture()
    original.write_bytes(data)
    os.link(original, share.inbox / "linked.png")
    daemon.wait_at_rest(done=1)
    share.check_delivered(platform, {"linked.png": data})
    assert original.read_bytes() == data


NAMES = [
    "日本語と中文 한국어.png",
    "🎨 palette 🖌️.png",
    unicodedata.normalize("NFD", "é à ü.png"),
    "عربى\u202egnp.png",
    "two\nlines.png",
    os.fsdecode(b"latin-1 \xe9\xff.png"),
    "-rf $(reboot) `x` 'y' \"z\" %s {stem} \\.png",
    "no ending but .. dots.png.png",
    "名" * 80 + ".png",
    " spaces around .png",
]


def test_names_in_any_script_are_kept_byte_for_byte(platform: Platform, daemon: Daemon, share: Share) -> None:
    dropped = {name: share.drop(name) for name in NAMES}
    assert daemon.once() == 0
    assert {os.fsencode(path): at.read_bytes() for path, at in share.files(share.done).items()} == {
        os.fsencode(name): data for name, data in dropped.items()
    }
    share.check_whole(platform)
    assert {s["sources"][0]["sha256"] for s in share.sidecars()} == {
        platform.task(data)["files"][0]["sha256"] for data in dropped.values()
    }
    for name in NAMES:
        assert (share.outbox / name).exists()
    *log, summary = daemon.log_file.read_text().splitlines()
    assert summary == f"{len(NAMES)} delivered, 0 failed, 0 held"
    assert all(json.loads(line)["ts"] for line in log)


def test_ignored_names_and_folders_are_left_alone(platform: Platform, daemon: Daemon, share: Share) -> None:
    daemon.configure("intake", ignore=["**/*.psd.png", "raw/**"])
    left = [
        ".hidden.png", "._resource.png", "~$office.png", "backup.png~", "a.tmp", "b.part", "c.crdownload", "Thumbs.db",
        "@eaDir/d.png", "#recycle/e.png", "sub/.stversions/f.png", "lost+found/g.png", "x.psd.png", "raw/h.png",
        ".rsynced.png.Xy12Ab",
    ]  # fmt: skip
    kept = {name: share.drop(name) for name in left}
    dropped = {"sub/taken.png": share.drop("sub/taken.png")}
    assert daemon.once() == 0
    assert {path: at.read_bytes() for path, at in share.files(share.inbox).items()} == kept
    for name in left:
        (share.inbox / name).unlink()
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 1


@pytest.mark.parametrize("platform", [{"render_seconds": (4.0, 4.0)}], indirect=True)
def test_a_file_replaced_while_its_task_runs_is_rendered_again_and_no_version_is_lost(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.start()
    first = share.drop("a.png")
    daemon.wait_for(State.SUBMITTED)
    platform.hurry()
    second = share.drop("a.png")
    daemon.wait(lambda: len(share.sidecars()) == 2, "both versions are delivered")
    daemon.wait_at_rest(done=1)
    share.check_whole(platform)
    assert share.files(share.outbox).keys() == {"a.png", "a.json", "a-2.png", "a-2.json"}
    by_source = {s["sources"][0]["sha256"]: s["task_id"] for s in share.sidecars()}
    tasks = [platform.task(first), platform.task(second)]
    assert by_source == {task["files"][0]["sha256"]: task["task_id"] for task in tasks}
    assert [at.read_bytes() for at in share.files(share.done).values()] == [second]
    assert not share.files(share.failed)
