"""What the real program tells of clusters and choices: at work, when the platform is unwell, and after its end."""

import json
from typing import Any

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State
from renderdrop.sandbox import ClusterSpec

# On one instance of the fast cluster and one of the slow, of which nothing more can be booted.
TWO: dict[str, Any] = {
    "clusters": (
        ClusterSpec("GPU-4090", "the fast one", 1, 1),
        ClusterSpec("GPU-A800", "the slow one", 1, 1, speed=0.2),
    ),
    "render_seconds": (0.4, 0.4),
    "boot_seconds": 0.1,
}


def told(daemon: Daemon, *options: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """The rows of `clusters`, by name."""
    ended = daemon.run("clusters", "--json", *options)
    assert ended.returncode == code, ended.stderr
    return {row["name"]: row for row in json.loads(ended.stdout)}


@pytest.mark.parametrize("platform", [TWO], indirect=True)
def test_what_is_learned_and_chosen_is_told_and_outlives_platform_and_daemon(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.configure("platform", requests_per_second=100)
    daemon.start()
    for n in range(4):
        share.drop(f"{n}.png", share.picture())
    daemon.wait_at_rest(done=4)
    fast = told(daemon)["GPU-4090"]
    ran = sum(job.cluster == "GPU-4090" for job in daemon.jobs(State.DELIVERED))
    assert ran > 0
    [of] = fast["workflows"]
    assert (fast["active"], fast["curr_nodes"], fast["max_nodes"], of["runs"]) == (True, 1, 1, ran)
    assert of["window"] is not None
    assert fast["choices"][0]["reason"].startswith("GPU-4090: expected to be finished in")

    # The fast cluster refuses a job: it is left alone, by the next process too.
    platform.faults({"call": "run", "do": "refuse", "count": 1})
    share.drop("refused.png", share.picture())
    daemon.wait(lambda: daemon.events("cluster_left_alone"), "a cluster is left alone")
    [event] = daemon.events("cluster_left_alone")
    daemon.stop()
    platform.faults({"call": "status", "do": "status", "status": 502})
    seen = told(daemon, code=1)
    assert {row["name"] for row in seen.values() if row["left_alone"]} == {event["cluster"]}
    assert seen["GPU-4090"]["workflows"] == told(daemon, "--offline")["GPU-4090"]["workflows"]
    assert seen["GPU-4090"]["seen"] is not None
    assert "left alone: until" in daemon.run("clusters", "--offline").stdout
