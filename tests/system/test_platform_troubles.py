"""The platform fails now and then, refuses the token for a while, or is not there at all."""

import json
import time
from typing import Any

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State


def outcomes(sidecar: dict[str, Any]) -> list[str]:
    return [submission["outcome"] for submission in sidecar["submissions"]]


EVERY_CALL_FAILS_NOW_AND_THEN: list[dict[str, Any]] = [
    # A lost answer costs a second task and, twice for one file, a person's decision: once is enough here.
    {"call": "run", "do": "html", "every": 7, "count": 1},
    {"call": "run", "do": "status", "status": 503, "envelope": True, "chance": 0.08},
    {"call": "any", "do": "status", "status": 429, "retry_after": 1, "chance": 0.02},
    {"call": "any", "do": "status", "status": 429, "chance": 0.02},
    {"call": "run", "do": "reset_before", "chance": 0.08},
    *({"call": call, "do": "html", "chance": 0.03} for call in ("poll", "status", "view")),
    *({"call": call, "do": "status", "status": 502, "chance": 0.03} for call in ("poll", "status", "view")),
    *({"call": call, "do": "reset_before", "chance": 0.03} for call in ("poll", "status", "view")),
    *({"call": call, "do": "garbage", "chance": 0.03} for call in ("poll", "status")),
    {"call": "poll", "do": "null_progress", "chance": 0.2},
    {"call": "view", "do": "cut", "chance": 0.15},
    {"call": "view", "do": "no_length", "chance": 0.1},
    {"call": "view", "do": "wrong_range", "chance": 0.5},
    {"call": "any", "do": "slow", "seconds": 0.5, "chance": 0.05},
]


def test_thirty_files_arrive_whole_while_every_call_fails_now_and_then(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    platform.faults(*EVERY_CALL_FAILS_NOW_AND_THEN)
    dropped = {f"{n}.png": share.drop(f"{n}.png") for n in range(30)}
    daemon.start()
    daemon.wait_with_a_person(done=30, within=100)
    share.check_delivered(platform, dropped)
    unknown = sum(outcomes(sidecar).count("unknown") for sidecar in share.sidecars())
    assert len(platform.tasks()) <= 30 + unknown
    assert len(platform.ledger()["faults"]) > 10
    daemon.stop()


@pytest.mark.parametrize("platform", [{"render_seconds": (4.0, 4.0)}], indirect=True)
def test_while_the_token_is_refused_everything_waits_and_then_goes_on_by_itself(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.start()
    dropped = {f"before {n}.png": share.drop(f"before {n}.png") for n in range(3)}
    daemon.wait_for(State.SUBMITTED, 3)
    began = time.monotonic()
    platform.faults({"call": "any", "do": "unauthorized"})
    dropped |= {f"during {n}.png": share.drop(f"during {n}.png") for n in range(3)}
    daemon.wait(lambda: daemon.events("platform_waits"), "the daemon notices")
    daemon.wait_for(State.QUEUED, 3)
    told = json.loads(daemon.run("jobs", "--json").stdout)
    assert sorted(job["state"] for job in told) == ["queued"] * 3 + ["submitted"] * 3
    for_people = daemon.run("jobs")
    assert "refuses the token" in for_people.stdout + for_people.stderr
    daemon.wait(lambda: time.monotonic() > began + 10, "ten seconds have passed")
    assert not share.files(share.failed)
    platform.faults()
    platform.hurry()
    daemon.wait_at_rest(done=6)
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 6
    assert all(outcomes(sidecar).count("accepted") == 1 for sidecar in share.sidecars())


def test_a_platform_that_is_not_there_at_the_start_is_waited_for(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.configure("platform", base_url="http://127.0.0.1:9")
    dropped = {"a.png": share.drop("a.png")}
    daemon.start()
    daemon.wait(lambda: daemon.events("platform_waits"), "the daemon notices")
    daemon.stop()
    assert [job.attempts for job in daemon.jobs(State.QUEUED)] == [0]
    daemon.configure("platform", base_url=platform.base_url)
    assert daemon.once() == 0
    share.check_delivered(platform, dropped)


def test_at_an_address_where_no_call_is_known_nothing_is_uploaded_again_and_again(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    platform.faults({"call": "any", "do": "status", "status": 404})
    dropped = {f"{n}.png": share.drop(f"{n}.png") for n in range(3)}
    daemon.start()
    daemon.wait(lambda: daemon.events("platform_waits"), "the daemon notices")

    def asked(call: str) -> int:
        return int(platform.ledger()["calls"].get(call, 0))

    looks = asked("status")
    daemon.wait(lambda: asked("status") > looks + 3, "it was looked at several times more")
    assert asked("run") <= 3
    [told] = daemon.events("platform_waits")
    assert "base_url" in told["reason"]
    assert daemon.events("platform_goes_on") == []
    platform.faults()
    daemon.wait_at_rest(done=3)
    share.check_delivered(platform, dropped)
    daemon.stop()
