"""Several files make one job: partners in any order, what is missing is told, nothing is guessed."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State

DANCE: dict[str, Any] = {
    "workflow_id": "88",
    "inputs": {
        "input_image": "image",
        "input_video": "video",
        "mask": {"media": "image", "suffix": "_mask", "optional": True},
    },
    "params": None,
}


@pytest.fixture
def dancing(daemon: Daemon) -> Daemon:
    """The daemon, whose one route needs a picture and a video."""
    daemon.route(**DANCE)
    return daemon


def waiting(daemon: Daemon) -> dict[str, str]:
    """What `jobs --json` says of the jobs that lack something, by the path of what has come."""
    return {row["source"]: row["error"] for row in daemon.rows() if row["state"] == "queued" and row["error"]}


def test_partners_in_any_order_make_one_job_and_what_is_missing_is_told_also_after_a_restart(
    platform: Platform, dancing: Daemon, share: Share
) -> None:
    dancing.start()
    picture, other_video = share.drop("clip.jpg"), share.drop("sub/other.mp4")
    missing = {"clip.jpg": "waiting for input_video", "sub/other.mp4": "waiting for input_image"}
    dancing.wait(lambda: sum(job.waiting_for is not None for job in dancing.jobs()) == 2, "both have come")
    assert waiting(dancing) == missing
    before = {job.id for job in dancing.jobs()}
    assert "waiting for input_video" in dancing.run("jobs").stdout
    dancing.stop()
    dancing.start()
    assert waiting(dancing) == missing
    assert not platform.tasks()

    video, other_picture = share.drop("clip.mp4"), share.drop("sub/other.png")
    dancing.wait_at_rest(done=4)
    share.check_whole(platform)
    fed = sorted((task["input_image"], task["input_video"]) for task in platform.fed())
    pairs = [(picture, video), (other_picture, other_video)]
    assert fed == sorted((share.digest(still), share.digest(moving)) for still, moving in pairs)
    assert {job.id for job in dancing.jobs()} == before
    assert share.files(share.outbox).keys() == {"clip.mp4", "clip.json", "sub/other.mp4", "sub/other.json"}
    assert {path: at.read_bytes() for path, at in share.files(share.done).items()} == {
        "clip.jpg": picture, "clip.mp4": video, "sub/other.png": other_picture, "sub/other.mp4": other_video,
    }  # fmt: skip
    sidecar = share.sidecar("clip.jpg")
    assert [(s["input"], s["path"], s["sha256"]) for s in sidecar["sources"]] == [
        ("input_image", "clip.jpg", share.digest(picture)), ("input_video", "clip.mp4", share.digest(video)),
    ]  # fmt: skip


def test_two_pictures_and_one_video_of_one_stem_fail_with_a_sentence_and_nothing_is_sent(
    platform: Platform, dancing: Daemon, share: Share
) -> None:
    dropped = {name: share.drop(name) for name in ("clip.jpg", "clip.png", "clip.mp4")}
    assert dancing.once() == 3
    for name, data in dropped.items():
        text, _ = share.told(name)
        assert "two files are for input_image, clip.jpg and clip.png: keep one of them" in text
        assert (share.failed / name).read_bytes() == data
    assert not share.files(share.inbox)
    assert not share.files(share.outbox)
    assert "run" not in platform.ledger()["calls"]


def test_a_bundle_whose_partner_never_comes_fails_naming_it_and_is_a_fresh_try_when_moved_back_with_it(
    platform: Platform, dancing: Daemon, share: Share
) -> None:
    dancing.route(bundle_timeout="2s")
    dancing.start()
    picture = share.drop("clip.jpg")
    dancing.wait_at_rest(done=0, failed=1)
    text, sidecar = share.told("clip.jpg")
    assert "input_video" in text
    assert "clip" in text
    assert sidecar["submissions"] == []
    assert not platform.tasks()
    assert not share.files(share.outbox)

    video = share.drop("clip.mp4")
    (share.failed / "clip.jpg").rename(share.inbox / "clip.jpg")
    dancing.wait_at_rest(done=2)
    assert platform.fed() == [{"input_image": share.digest(picture), "input_video": share.digest(video)}]
    dancing.wait(lambda: not share.files(share.failed), "what was said in failed/ is taken back")
    share.check_whole(platform)


def test_an_optional_mask_is_sent_where_it_is_there_and_a_constant_file_with_every_job(
    platform: Platform, daemon: Daemon, share: Share, tmp_path: Path
) -> None:
    style = share.picture()
    (tmp_path / "style.png").write_bytes(style)
    daemon.route(
        workflow_id="styled",
        inputs={
            "input_image": "image",
            "mask": {"media": "image", "suffix": "_mask", "optional": True},
            "style": {"file": "style.png"},
        },
    )
    daemon.configure("intake", ticket_wait="3s")
    daemon.start()
    without = share.drop("b.png")
    picture, mask = share.drop("a.png"), share.drop("a_mask.png")
    daemon.wait_at_rest(done=3)
    share.check_whole(platform)
    fed = {task["input_image"]: task for task in platform.fed()}
    every = {"style": share.digest(style)}
    assert fed == {
        share.digest(picture): {**every, "input_image": share.digest(picture), "mask": share.digest(mask)},
        share.digest(without): {**every, "input_image": share.digest(without)},
    }
    for name in ("a.png", "b.png"):
        assert share.sidecar(name)["constants"] == [
            {"input": "style", "name": "style.png", "size": len(style), "sha256": share.digest(style)}
        ]
    assert share.files(share.outbox).keys() == {"a.png", "a.json", "b.png", "b.json"}
    assert share.files(share.done).keys() == {"a.png", "a_mask.png", "b.png"}
    assert (tmp_path / "style.png").read_bytes() == style


def test_a_folder_with_sub_folders_is_one_job_that_counts_when_all_below_it_stands_still_and_moves_as_a_folder(
    platform: Platform, dancing: Daemon, share: Share
) -> None:
    dancing.route(bundle="folder")
    dancing.start()
    video = os.urandom(200_000)
    (share.inbox / "shot" / "motion" / "raw").mkdir(parents=True)
    growing = share.inbox / "shot" / "motion" / "raw" / "take 1.mp4"

    def copy() -> None:
        with growing.open("wb", buffering=0) as file:
            for at in range(0, len(video), 10_000):
                file.write(video[at : at + 10_000])
                time.sleep(0.12)

    people = threading.Thread(target=copy)
    people.start()
    picture = share.drop("shot/look/face.png")
    people.join()
    assert not platform.tasks()
    dancing.wait_at_rest(done=2)
    share.check_whole(platform)
    assert platform.fed() == [{"input_image": share.digest(picture), "input_video": share.digest(video)}]
    assert {path: at.read_bytes() for path, at in share.files(share.done).items()} == {
        "shot/look/face.png": picture, "shot/motion/raw/take 1.mp4": video,
    }  # fmt: skip
    assert share.files(share.outbox).keys() == {"shot.mp4", "shot.json"}
    assert sorted(os.listdir(share.inbox)) == [".renderdrop"]


def test_a_run_once_ends_with_3_when_only_an_incomplete_bundle_is_left_and_the_next_one_completes_it(
    platform: Platform, dancing: Daemon, share: Share
) -> None:
    share.drop("lonely.jpg")
    share.drop("whole.jpg"), share.drop("whole.mp4")
    assert dancing.once() == 3
    assert share.files(share.inbox).keys() == {"lonely.jpg"}
    assert share.files(share.done).keys() == {"whole.jpg", "whole.mp4"}
    assert [job.waiting_for for job in dancing.jobs(State.QUEUED)] == ["input_video"]
    share.drop("lonely.mp4")
    assert dancing.once() == 0
    assert share.at_rest(done=4)
    share.check_whole(platform)
    assert len(platform.tasks()) == 2
