"""SIGKILL at any moment: nothing is lost, nothing half-written, nothing paid for twice but in the one window."""

import random
import threading
import time
from collections import Counter

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State


@pytest.mark.parametrize("platform", [{"render_seconds": (6.0, 7.0)}], indirect=True)
def test_killed_while_eight_tasks_run_it_delivers_eight_and_submits_none_again(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    dropped = {f"{n}.png": share.drop(f"{n}.png") for n in range(8)}
    daemon.start()
    daemon.wait_for(State.SUBMITTED, 8)
    daemon.kill()
    assert not share.files(share.outbox)
    daemon.start()
    daemon.wait_at_rest(done=8)
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 8
    daemon.stop()


KILLS = 12
FILES = 40


@pytest.mark.parametrize("seed", [1])
def test_a_dozen_random_kills_under_a_stream_of_files_lose_nothing(
    platform: Platform, daemon: Daemon, share: Share, seed: int
) -> None:
    chance = random.Random(seed)
    dropped = {f"{n % 3}/{n}.png": share.picture() for n in range(FILES)}
    over = threading.Event()

    def stream() -> None:
        for path, data in dropped.items():
            share.drop(path, data)
            over.wait(0.6)

    people = threading.Thread(target=stream)
    people.start()
    for _ in range(KILLS):
        daemon.launch()
        # Beginning with the start itself, to the middle of the work.
        time.sleep(chance.uniform(0.3, 3.0))
        daemon.kill()
        share.check_unbroken(platform)
    over.set()
    people.join()
    daemon.start()
    daemon.wait_with_a_person(done=FILES)
    share.check_delivered(platform, dropped)
    times_paid = Counter(task["files"][0]["sha256"] for task in platform.tasks())
    for sidecar in share.sidecars():
        unknown = sum(submission["outcome"] == "unknown" for submission in sidecar["submissions"])
        assert times_paid[sidecar["sources"][0]["sha256"]] <= 1 + unknown
    daemon.stop()
