"""Two clusters of different speed: a batch ends sooner where run times are learned and reckoned with."""

from datetime import datetime

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.ledger import engine, queries
from renderdrop.model.job import Job
from renderdrop.model.lifecycle import State
from renderdrop.sandbox import ClusterSpec

FILES = 16
# The slow one, preferred where both are alike, takes five times as long.
UNEQUAL = {
    "clusters": (
        ClusterSpec("GPU-A800", "the slow one", 4, 4, speed=0.2),
        ClusterSpec("GPU-4090", "the fast one", 4, 4),
    ),
    "render_seconds": (1.5, 1.5),
    "boot_seconds": 0.1,
}
BY_ITSELF = 7.5
"""Seconds that a run takes on the slow cluster."""


def batch(daemon: Daemon, share: Share, name: str, files: int, done: int) -> tuple[float, list[Job]]:
    """Drop so many files; the seconds from the first submission to the last end, and the jobs."""
    before = {job.id for job in daemon.jobs()}
    for n in range(files):
        share.drop(f"{name} {n:02}.png", share.picture())
    daemon.wait_at_rest(done=done)
    jobs = [job for job in daemon.jobs(State.DELIVERED) if job.id not in before]
    assert len(jobs) == files
    begun = min(datetime.fromisoformat(s.at) for job in jobs for s in job.submissions)
    ended = max(datetime.fromisoformat(job.times.finished or "") for job in jobs)
    return (ended - begun).total_seconds(), jobs


@pytest.mark.parametrize("platform", [UNEQUAL], indirect=True)
def test_a_batch_ends_sooner_than_by_load_alone(platform: Platform, daemon: Daemon, share: Share) -> None:
    daemon.configure("platform", requests_per_second=100)
    daemon.configure("dispatch", policy="least-loaded")
    daemon.route(clusters=["GPU-A800", "GPU-4090"])
    daemon.start()
    by_load, jobs = batch(daemon, share, "load", FILES, FILES)
    # Half of them on the slow one, four at a time, twice one after the other.
    assert sum(job.cluster == "GPU-A800" for job in jobs) >= FILES // 3
    assert by_load > 2 * BY_ITSELF
    daemon.stop()
    daemon.configure("dispatch", policy="expected-completion")
    daemon.start()
    by_time, jobs = batch(daemon, share, "time", FILES, 2 * FILES)
    # All of them on the fast one would take four turns; of the slow one's a few may be waited for.
    assert by_time < 0.75 * by_load
    assert sum(job.cluster == "GPU-A800" for job in jobs) < FILES // 3
    with engine.view(engine.ledger_path(daemon.state_dir)) as conn:
        chosen = next(step.note for step in queries.steps(conn, jobs[0].id) if step.to is State.SUBMITTING)
    assert "expected to be finished in" in chosen
    assert "next best" in chosen
    daemon.stop()
