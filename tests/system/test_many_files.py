"""Two hundred files at once, over two clusters of unequal load."""

from collections import Counter

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.sandbox import ClusterSpec

FILES = 200
# Long enough runs that all are under way at once; figures that stand still, so that only what was sent counts.
UNEQUAL = {
    "clusters": (
        ClusterSpec("GPU-A800", "the fuller one", 60, 120, fixed=True),
        ClusterSpec("GPU-4090", "the emptier one", 10, 120, fixed=True),
        ClusterSpec("GPU-A800x8", "the emptiest, which the route does not name", 0, 500, fixed=True),
    ),
    "render_seconds": (8.0, 8.0),
}


@pytest.mark.parametrize("platform", [UNEQUAL], indirect=True)
def test_many_files_at_once_spread_over_the_routes_clusters_by_their_load(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.configure("platform", requests_per_second=300)
    daemon.configure("daemon", uploads=8)
    daemon.configure("dispatch", policy="least-loaded")
    daemon.route(clusters=["GPU-A800", "GPU-4090"])
    dropped = {f"shot {n % 5}/frame {n:03}.png": share.picture() for n in range(FILES)}
    daemon.start()
    for path, data in dropped.items():
        share.drop(path, data)
    daemon.wait_at_rest(done=FILES, within=100)
    share.check_delivered(platform, dropped)
    per_source = Counter(task["files"][0]["sha256"] for task in platform.tasks())
    assert (len(per_source), set(per_source.values())) == (FILES, {1})
    per_cluster = Counter(task["cluster"] for task in platform.tasks())
    assert per_cluster["GPU-4090"] > per_cluster["GPU-A800"] > 0
    assert per_cluster["GPU-A800x8"] == 0
    assert platform.ledger()["max_requests_per_second"] <= 400
    daemon.stop()
