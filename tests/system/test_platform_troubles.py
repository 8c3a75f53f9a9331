"""The platform fails now and then, refuses the token for a while, forgets to answer, or says nothing at all."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from renderdrop.model.lifecycle import State

if TYPE_CHECKING:
    from tests.system.conftest import Daemon, Platform, Share


def outcomes(sidecar: dict[str, Any]) -> list[str]:
    return [submission["outcome"] for submission in sidecar["submissions"]]


EVERY_CALL_FAILS_NOW_AND_THEN: list[dict[str, Any]] = [
    # A lost answer costs a second task and, twice for one file, a person's decision: once is enough here.
    {"call": "run", "do": "html", "every": 7, "count": 1},
    {"call": "run", "do": "status", "status": 503, "envelope": True, "chance": 0.08},
    {"call": "any", "do": "status", "status": 429, "retry_after": 1, "chance": 0.03},
    {"call": "any", "do": "status", "status": 429, "chance": 0.03},
    {"call": "run", "do": "reset_before", "chance": 0.08},
    *({"call": call, "do": "html", "chance": 0.05} for call in ("poll", "status", "view")),
    *({"call": call, "do": "status", "status": 502, "chance": 0.05} for call in ("poll", "status", "view")),
    *({"call": call, "do": "reset_before", "chance": 0.05} for call in ("poll", "status", "view")),
    *({"call": call, "do": "garbage", "chance": 0.05} for call in ("poll", "status")),
    {"call": "poll", "do": "null_progress", "chance": 0.2},
    {"call": "view", "do": "cut", "chance": 0.2},
    {"call": "view", "do": "no_length", "chance": 0.1},
    {"call": "view", "do": "wrong_range", "chance": 0.5},
    {"call": "any", "do": "slow", "seconds": 0.5, "chance": 0.05},
]


def test_thirty_files_arrive_whole_while_every_call_fails_now_and_then(
    platform: "Platform", daemon: "Daemon", share: "Share"
) -> None:
    daemon.route(attempts=12)
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
    platform: "Platform", daemon: "Daemon", share: "Share"
) -> None:
    daemon.start()
    dropped = {f"before {n}.png": share.drop(f"before {n}.png") for n in range(3)}
    daemon.wait_for(State.SUBMITTED, 3)
    platform.faults({"call": "any", "do": "unauthorized"})
    dropped |= {f"during {n}.png": share.drop(f"during {n}.png") for n in range(3)}
    daemon.wait(lambda: daemon.events("platform_waits"), "the daemon notices")
    daemon.wait_for(State.QUEUED, 3)
    told = json.loads(daemon.run("jobs", "--json").stdout)
    assert sorted(job["state"] for job in told) == ["queued"] * 3 + ["submitted"] * 3
    for_people = daemon.run("jobs")
    assert "refuses the token" in for_people.stdout + for_people.stderr
    probes = platform.ledger()["faults"]["status:unauthorized"]
    daemon.wait(lambda: platform.ledger()["faults"]["status:unauthorized"] > probes + 2, "it has tried for ten seconds")
    assert not share.files(share.failed)
    platform.faults()
    daemon.wait_at_rest(done=6)
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 6
    assert all(outcomes(sidecar).count("accepted") == 1 for sidecar in share.sidecars())


def test_a_platform_that_is_not_there_at_the_start_is_waited_for(
    platform: "Platform", daemon: "Daemon", share: "Share"
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


def test_an_answer_lost_after_acceptance_is_submitted_once_more_and_told_in_the_sidecar(
    platform: "Platform", daemon: "Daemon", share: "Share"
) -> None:
    platform.faults({"call": "run", "do": "reset_after", "count": 1})
    dropped = {"a.png": share.drop("a.png")}
    assert daemon.once() == 0
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 2
    assert outcomes(share.sidecar("a.png")) == ["unknown", "accepted"]


def test_an_answer_lost_after_acceptance_waits_for_a_person_where_the_route_says_hold(
    platform: "Platform", daemon: "Daemon", share: "Share"
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
    platform: "Platform", daemon: "Daemon", share: "Share"
) -> None:
    platform.faults({"call": "run", "do": "reset_before", "count": 1})
    # More than the buffers between two sockets hold, so that it cannot have left whole.
    dropped = {"a.png": share.drop("a.png", share.picture() + bytes(16 * 2**20))}
    daemon.route(on_unknown_submit="hold")
    assert daemon.once() == 0
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 1
    assert outcomes(share.sidecar("a.png")) == ["not_sent", "accepted"]


def test_a_task_that_says_nothing_new_is_held_and_release_asks_after_it_again(
    platform: "Platform", daemon: "Daemon", share: "Share"
) -> None:
    daemon.route(silence="2s")
    platform.faults({"call": "poll", "do": "status", "status": 502})
    daemon.start()
    dropped = {"a.png": share.drop("a.png")}
    [job] = daemon.wait_for(State.HELD)
    platform.faults()
    assert daemon.run("release", job.id).returncode == 0
    daemon.wait_at_rest(done=1)
    share.check_delivered(platform, dropped)
    assert len(platform.tasks()) == 1


def test_a_stuck_task_is_held_and_can_be_cancelled_then_its_source_is_told_of(
    platform: "Platform", daemon: "Daemon", share: "Share"
) -> None:
    daemon.route(silence="1500ms")
    platform.faults({"call": "run", "do": "stuck"})
    daemon.start()
    data = share.drop("a.png")
    [job] = daemon.wait_for(State.HELD)
    asked = platform.task(data)["polls"]
    assert daemon.run("release", job.id).returncode == 0
    daemon.wait(lambda: platform.task(data)["polls"] > asked, "its task is asked after again")
    daemon.wait_for(State.HELD)
    assert daemon.run("cancel", job.id).returncode == 0
    daemon.wait_at_rest(done=0, failed=1)
    assert (share.failed / "a.png").read_bytes() == data
    assert job.id in (share.failed / "a.png.error.txt").read_text()
    assert not share.files(share.outbox)


@pytest.mark.parametrize("platform", [{"render_seconds": (6.0, 6.0)}], indirect=True)
def test_a_running_job_that_is_cancelled_is_not_delivered(
    platform: "Platform", daemon: "Daemon", share: "Share"
) -> None:
    daemon.start()
    data = share.drop("unwanted.png")
    [job] = daemon.wait_for(State.SUBMITTED)
    told = daemon.run("cancel", job.id)
    assert told.returncode == 0
    assert "bill" in told.stdout + told.stderr
    daemon.wait_at_rest(done=0, failed=1)
    assert (share.failed / "unwanted.png").read_bytes() == data
    notice = json.loads((share.failed / "unwanted.png.error.json").read_bytes())
    assert (notice["status"], notice["task_id"]) == ("fail", platform.task(data)["task_id"])
    # What was dropped later is rendered later: by then the unwanted one has ended, too.
    wanted = share.drop("wanted.png")
    daemon.wait_at_rest(done=1, failed=1)
    assert platform.task(data)["status"] == "success"
    share.check_delivered(platform, {"wanted.png": wanted})
