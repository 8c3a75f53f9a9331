"""Big files in constant memory, with the other work going on beside them.

A quarter of a gigabyte always; two gigabytes each way where RENDERDROP_BIG is set (`make big`).
"""

import os
from pathlib import Path

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State

BIG = 2 * 2**30 if os.environ.get("RENDERDROP_BIG") else 2**28
MOST_MEMORY = 150_000_000


def write_big(path: Path) -> None:
    block = os.urandom(2**20)
    with path.open("wb") as file:
        for _ in range(BIG // len(block)):
            file.write(block)


@pytest.mark.timeout(600)
def test_a_big_file_goes_up_and_comes_back_in_little_memory_while_small_ones_overtake_it(
    platform: Platform, daemon: Daemon, share: Share, tmp_path: Path
) -> None:
    daemon.route(workflow_id="any", inputs={"input_file": "any"}, params={})
    # The platform takes its time over the big file: the first upload and, after a small one's, the second download.
    platform.faults(
        {"call": "run", "do": "slow", "seconds": 8.0, "count": 1},
        {"call": "view", "do": "slow", "seconds": 8.0, "every": 2, "count": 1},
    )
    daemon.start()
    big = tmp_path / "share" / "big.bin"
    write_big(big)
    big.rename(share.inbox / "big.bin")
    daemon.wait_for(State.SUBMITTING)

    small = share.drop("while it goes up.png")
    daemon.wait(lambda: share.sidecars(), "the first small file is delivered")
    assert [task["files"][0]["size"] for task in platform.tasks()] == [len(small)]

    daemon.wait_for(State.RENDERED)
    share.drop("while it comes back.png")
    daemon.wait(lambda: len(share.sidecars()) == 2, "the second small file is delivered")
    assert not (share.outbox / "big.bin").exists()

    daemon.wait_at_rest(done=3, within=500)
    share.check_whole(platform)
    assert share.sidecar("big.bin")["outputs"][0]["size"] == BIG
    assert (share.done / "big.bin").stat().st_size == BIG
    assert daemon.memory() < MOST_MEMORY
    assert len(platform.tasks()) == 3
    daemon.stop()
