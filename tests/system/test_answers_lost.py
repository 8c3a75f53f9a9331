"""The answer to a submission is lost: the one window in which a render may be paid for twice (DESIGN 4)."""

from typing import Any

from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State


def outcomes(sidecar: dict[str, Any]) -> list[str]:
    return [submission["outcome"] for submission in sidecar["submissions"]]


def test_an_answer_lost_after_acceptance_is_submitted_once_more_and_told_in_the_sidecar(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    platform.faults({"call": "run", "do": "reset_after", "count": 1})
    dropped = {"a.png": share.drop("a.png")}
    assert daemon.once() == 0
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 2
    assert outcomes(share.sidecar("a.png")) == ["unknown", "accepted"]


def test_an_answer_lost_after_acceptance_waits_for_a_person_where_the_route_says_hold(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(on_unknown_submit="hold")
    platform.faults({"call": "run", "do": "reset_after", "count": 1})
    daemon.start()
    dropped = {"a.png": share.drop("a.png")}
    [job] = daemon.wait_for(State.HELD)
    assert len(platform.tasks()) == 1
    assert daemon.run("release", job.id).returncode == 0
    daemon.wait_at_rest(done=1)
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 2
    assert outcomes(share.sidecar("a.png")) == ["unknown", "accepted"]


def test_a_connection_reset_before_the_body_was_sent_costs_nothing(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    platform.faults({"call": "run", "do": "reset_before", "count": 1})
    # More than the buffers between two sockets hold, so that it cannot have left whole.
    dropped = {"a.png": share.drop("a.png", share.picture() + bytes(16 * 2**20))}
    daemon.route(on_unknown_submit="hold")
    assert daemon.once() == 0
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 1
    assert outcomes(share.sidecar("a.png")) == ["not_sent", "accepted"]


def test_a_gateway_that_is_down_for_a_while_makes_nobody_decide_about_a_whole_batch(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    platform.faults({"call": "run", "do": "status", "status": 502})
    dropped = {f"{n}.png": share.drop(f"{n}.png") for n in range(12)}
    daemon.start()
    daemon.wait(lambda: daemon.events("platform_waits"), "the daemon notices")
    # The status call works all the while, so every probe lets one file more try: one, and not one that tried before.
    tries = len(daemon.events("job_submitting"))
    daemon.wait(lambda: len(daemon.events("job_submitting")) >= tries + 3, "three more files have tried")
    assert not daemon.jobs(State.HELD)
    platform.faults()
    daemon.wait_at_rest(done=12)
    share.check_delivered(platform, dropped)
    unknown = [outcomes(sidecar).count("unknown") for sidecar in share.sidecars()]
    assert max(unknown) == 1
    assert sum(unknown) < 12  # four uploads at once, what followed before the row was noticed, and the trials
    assert len(platform.tasks()) == 12
