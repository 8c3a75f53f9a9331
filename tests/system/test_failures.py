"""What failed is told on the share, reaches no further than it must, and can be tried again."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State
from renderdrop.model.sidecar import sidecar_schema

OUT_OF_MEMORY = "显存不足,渲染失败 (out of GPU memory)"
FAILS_ONCE = {"call": "run", "do": "fail_task", "count": 1, "msg": OUT_OF_MEMORY}


def notice(failed: Path) -> tuple[str, dict[str, Any]]:
    """What is said beside a source in failed/: the text, and the sidecar, checked."""
    sidecar = json.loads(failed.with_name(f"{failed.name}.error.json").read_bytes())
    jsonschema.validate(sidecar, sidecar_schema())
    assert (sidecar["status"], sidecar["outputs"]) == ("fail", [])
    return failed.with_name(f"{failed.name}.error.txt").read_text(), sidecar


def test_a_failed_render_is_told_beside_its_source_and_moving_that_back_is_a_fresh_try(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    platform.faults(FAILS_ONCE)
    daemon.start()
    data = share.drop("sub/a.png")
    daemon.wait_at_rest(done=0, failed=1)
    source = share.failed / "sub" / "a.png"
    assert source.read_bytes() == data
    text, sidecar = notice(source)
    [job] = daemon.jobs()
    assert OUT_OF_MEMORY in text.splitlines()[0]
    assert "move the file back" in text
    assert job.id in text
    assert OUT_OF_MEMORY in sidecar["errors"][0]["message"]
    assert (sidecar["job_id"], sidecar["task_id"]) == (job.id, platform.task(data)["task_id"])
    assert not share.files(share.outbox)

    source.rename(share.inbox / "sub" / "a.png")
    daemon.wait_at_rest(done=1)
    share.check_delivered(platform, {"sub/a.png": data})
    assert not share.files(share.failed)


def test_a_failed_job_that_is_retried_gets_its_source_back_and_runs_again(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    platform.faults(FAILS_ONCE)
    daemon.start()
    data = share.drop("a.png")
    daemon.wait_at_rest(done=0, failed=1)
    [job] = daemon.jobs()
    assert daemon.run("retry", job.id).returncode == 0
    daemon.wait_at_rest(done=1)
    share.check_delivered(platform, {"a.png": data})
    assert not share.files(share.failed)
    assert share.sidecar("a.png")["job_id"] == job.id
    assert len(platform.tasks(data)) == 2


def test_what_must_not_be_read_is_refused_and_told_while_the_others_go_on(
    platform: Platform, daemon: Daemon, share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.start()
    secret = tmp_path / "secret.png"
    secret.write_bytes(share.picture())
    share.drop("notes.txt", b"a shopping list")
    os.symlink(secret, share.inbox / "link.png")
    os.symlink(tmp_path / "nowhere", share.inbox / "dangling.png")
    os.symlink(tmp_path, share.inbox / "folder.png")
    os.mkfifo(share.inbox / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(share.inbox)  # a socket's path has room for a hundred bytes only
        listening.bind("socket.png")
        good = share.drop("good.png")
        daemon.wait_at_rest(done=1, failed=6)
    share.check_whole(platform)
    assert len(platform.tasks()) == 1
    assert (share.done / "good.png").read_bytes() == good
    assert (share.failed / "notes.txt").read_bytes() == b"a shopping list"
    assert os.readlink(share.failed / "link.png") == str(secret)
    for name, word in {
        "notes.txt": "image", "link.png": "symbolic link", "dangling.png": "symbolic link",
        "folder.png": "symbolic link", "pipe.png": "named pipe", "socket.png": "socket",
    }.items():  # fmt: skip
        text, sidecar = notice(share.failed / name)
        assert word in text
        assert sidecar["submissions"] == []
    assert sorted(os.listdir(share.inbox)) == [".renderdrop"]


def test_a_picture_that_the_platform_refuses_fails_alone(platform: Platform, daemon: Daemon, share: Share) -> None:
    share.drop("broken.png", b"this is no picture")
    dropped = {f"{n}.png": share.drop(f"{n}.png") for n in range(4)}
    assert daemon.once() == 3
    assert share.at_rest(done=4, failed=1)
    share.check_delivered(platform, dropped)
    text, sidecar = notice(share.failed / "broken.png")
    assert "不是有效的图片" in text
    assert {submission["outcome"] for submission in sidecar["submissions"]} == {"refused"}


def test_three_refusals_in_a_row_pause_the_route_until_its_settings_are_mended(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(params={"prompt": "oil painting", "style": "van Gogh"})
    daemon.start()
    dropped = {f"{n}.png": share.drop(f"{n}.png") for n in range(5)}
    daemon.wait(lambda: daemon.events("route_waits"), "the route is paused")
    daemon.wait_for(State.QUEUED, 5)
    for_people = daemon.run("jobs")
    assert "未知参数 style" in for_people.stdout + for_people.stderr
    assert not share.files(share.failed)
    assert not platform.tasks()

    daemon.route(params={"prompt": "oil painting"})
    daemon.reload()
    daemon.wait_at_rest(done=5)
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 5
    assert daemon.events("route_goes_on")


def test_several_outputs_are_delivered_together_with_their_warnings_and_errors(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(workflow_id="several")
    dropped = {"a.png": share.drop("a.png")}
    assert daemon.once() == 0
    share.check_delivered(platform, dropped)
    sidecar = share.sidecar("a.png")
    assert [(out["file"], out["node_id"]) for out in sidecar["outputs"]] == [
        ("a_1.png", "9"), ("a_2.jpg", "10"), ("a_3.mp4", "81"),
    ]  # fmt: skip
    assert [out["media_type"] for out in sidecar["outputs"]] == ["image/png", "image/jpeg", "video/mp4"]
    assert ["8 的倍数" in text for text in sidecar["warnings"]] == [True]
    assert [(error["node_id"], "未检测到人脸" in error["message"]) for error in sidecar["errors"]] == [("55", True)]


def test_a_success_without_any_media_is_a_failure_that_says_so(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(workflow_id="silent")
    data = share.drop("a.png")
    assert daemon.once() == 3
    text, _ = notice(share.failed / "a.png")
    assert "no media" in text
    assert (share.failed / "a.png").read_bytes() == data
    assert len(platform.tasks()) == 1
