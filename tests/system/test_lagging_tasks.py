"""A cluster that begins nothing: its tasks are told to lag, and doubled only where the route says so."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.job import Job
from renderdrop.model.lifecycle import State
from renderdrop.sandbox import ClusterSpec

STUCK, BUSY, SLOW = "GPU-4090", "GPU-A800", "GPU-A800x2"
CLUSTERS = {
    "clusters": (
        ClusterSpec(STUCK, "the stuck one, which looks empty", 0, 10, fixed=True),
        ClusterSpec(BUSY, "where the others are", 4, 8),
        ClusterSpec(SLOW, "where a task takes a minute", 2, 4, speed=0.005),
    ),
    "foreign_load": {STUCK: 50},
}


class Scene:
    """A job on the stuck cluster, and others of another route that begin elsewhere."""

    def __init__(self, platform: Platform, daemon: Daemon, share: Share, others: Share) -> None:
        self.platform, self.daemon, self.share, self.others = platform, daemon, share, others
        self.data = b""

    def begin(self, **route: Any) -> Job:
        """Start, and drop everything; the job once its task is pending."""
        common = {"workflow_id": "1234", "inputs": {"input_image": "image"}}
        self.daemon.configure("dispatch", policy="least-loaded", lag_after="1s")
        self.daemon.routes(
            portrait={**common, "folder": str(self.share.folder), "clusters": [STUCK, BUSY], **route},
            others={**common, "folder": str(self.others.folder), "clusters": [BUSY]},
        )
        self.daemon.start()
        self.data = self.share.drop("late.png")
        self.daemon.wait(lambda: self.job().state is State.SUBMITTED, "it is with the stuck cluster")
        assert self.job().cluster == STUCK
        for n in range(4):
            self.others.drop(f"{n}.png", self.share.picture())
        return self.job()

    def job(self) -> Job:
        jobs = [job for job in self.daemon.jobs() if job.route == "portrait"]
        return jobs[0] if jobs else self.daemon.wait(self.job, "its file is accepted")

    def tasks(self) -> list[int]:
        return [task["task_id"] for task in self.platform.tasks(self.data)]

    def sidecar(self) -> dict[str, Any]:
        """Once it is delivered."""
        self.daemon.wait(lambda: self.share.at_rest(1), "it is delivered")
        self.share.check_delivered(self.platform, {"late.png": self.data})
        return self.share.sidecar("late.png")


@pytest.fixture
def scene(platform: Platform, daemon: Daemon, share: Share, new_share: Callable[[str], Share]) -> Scene:
    return Scene(platform, daemon, share, new_share("others"))


def rows(sidecar: dict[str, Any]) -> list[tuple[str, int, str]]:
    return [(row["cluster"], row["task_id"], row["outcome"]) for row in sidecar["submissions"]]


@pytest.mark.parametrize("platform", [CLUSTERS], indirect=True)
def test_with_rescue_a_second_task_gives_the_result_and_both_are_told(scene: Scene) -> None:
    first = scene.begin(rescue=True)
    sidecar = scene.sidecar()
    one, two = scene.tasks()
    assert str(one) == first.task_id
    assert (sidecar["task_id"], sidecar["cluster"]) == (two, BUSY)
    assert rows(sidecar) == [(STUCK, one, "accepted"), (BUSY, two, "accepted")]
    [told] = sidecar["warnings"]
    assert told.startswith(f"a second task ({two} on {BUSY}) was begun after ")
    assert told.endswith(
        f"because task {one} was still pending on {STUCK} while others ran; task {one} may have been paid for too"
    )
    assert [event["task"] for event in scene.daemon.events("task_lags")] == [first.task_id]
    assert [event["task"] for event in scene.daemon.events("task_left_behind")] == [first.task_id]
    # What comes of the first one now is nobody's any more.
    scene.platform.change(STUCK, foreign=0)
    scene.daemon.wait(lambda: all(t["status"] == "success" for t in scene.platform.tasks()), "both have ended")
    scene.daemon.stop()
    assert len(scene.tasks()) == 2
    assert scene.share.sidecar("late.png") == sidecar


@pytest.mark.parametrize("platform", [CLUSTERS], indirect=True)
def test_without_rescue_it_is_only_told(scene: Scene) -> None:
    first = scene.begin()
    daemon = scene.daemon
    [event] = daemon.wait(lambda: daemon.events("task_lags"), "it is told")
    [row] = [row for row in daemon.rows() if row["route"] == "portrait"]
    assert (row["state"], row["status"], row["error"]) == ("submitted", "pending", event["reason"])
    assert row["error"].startswith(f"task {first.task_id} has been pending on {STUCK} for ")
    assert "no earlier to GPU-A800 began within" in row["error"]
    daemon.wait(lambda: scene.others.at_rest(4), "the others are delivered")
    for n in range(4, 8):  # a round of everything, with time for a second task
        scene.others.drop(f"{n}.png", scene.share.picture())
    daemon.wait(lambda: scene.others.at_rest(8), "the next ones are delivered")
    assert scene.tasks() == [int(first.task_id or "")]
    scene.platform.change(STUCK, foreign=0)
    sidecar = scene.sidecar()
    assert rows(sidecar) == [(STUCK, int(first.task_id or ""), "accepted")]
    assert (sidecar["task_id"], sidecar["warnings"]) == (int(first.task_id or ""), [])
    assert len(daemon.events("task_lags")) == 1
    daemon.stop()


@pytest.mark.parametrize("platform", [CLUSTERS], indirect=True)
def test_a_lag_that_was_noted_before_a_restart_buys_no_second_task(scene: Scene) -> None:
    first, daemon = scene.begin(), scene.daemon
    daemon.wait(lambda: daemon.events("task_lags"), "it is told")
    daemon.wait(lambda: scene.job().error, "it is noted")
    daemon.kill()
    # From now on it could have a second one, but it would take an hour until it is late again.
    daemon.configure("dispatch", lag_after="1h")
    daemon.configure("routes.portrait", rescue=True)
    daemon.start()
    for n in range(4, 8):
        scene.others.drop(f"{n}.png", scene.share.picture())
    daemon.wait(lambda: scene.others.at_rest(8), "others are delivered, with time for a second task")
    assert (scene.job().state, scene.job().error, scene.tasks()) == (State.SUBMITTED, None, [int(first.task_id or "")])
    scene.platform.change(STUCK, foreign=0)
    assert rows(scene.sidecar()) == [(STUCK, int(first.task_id or ""), "accepted")]
    daemon.stop()


@pytest.mark.parametrize("platform", [CLUSTERS], indirect=True)
def test_the_first_task_is_used_if_it_comes_first_after_all(scene: Scene) -> None:
    first = scene.begin(rescue=True, clusters=[STUCK, SLOW])
    daemon = scene.daemon
    daemon.wait(lambda: len(scene.tasks()) == 2 and scene.job().state is State.SUBMITTED, "a second task was begun")
    assert (scene.job().cluster, len(daemon.run("show", scene.job().id).stdout.split("left behind"))) == (SLOW, 2)
    daemon.kill()  # nor does a power cut make it a third, or lose one
    scene.platform.change(STUCK, foreign=0)
    daemon.start()
    sidecar = scene.sidecar()
    one, two = scene.tasks()
    assert (sidecar["task_id"], sidecar["cluster"]) == (int(first.task_id or ""), STUCK) == (one, STUCK)
    assert rows(sidecar) == [(STUCK, one, "accepted"), (SLOW, two, "accepted")]
    [told] = sidecar["warnings"]
    assert told.endswith(f"while others ran; task {two} may have been paid for too")
    assert [event["task"] for event in daemon.events("spare_task_won")] == [str(one)]
    daemon.stop()
