"""`clusters`, and what `jobs` and `show` say of jobs that wait for a better one."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection

from renderdrop.cli.finish import finish
from renderdrop.cli.waits import Moment
from renderdrop.dispatch.survey import Survey, survey
from renderdrop.ledger import moves, queries, quota, seen
from renderdrop.ledger.seen import Figures, Status
from renderdrop.model.job import Outcome
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.model.wishes import Wishes
from renderdrop.runtime.clock import written
from renderdrop.sandbox import Sandbox

if TYPE_CHECKING:
    from tests.cli.conftest import Call, Desk

BUSY = {"GPU-4090": Figures(1, 1), "GPU-A800": Figures(4, 4)}
"""Nothing is free and nothing can be booted."""


def ago(seconds: float) -> str:
    """A moment before this one, as the ledger writes it."""
    return written(datetime.now(UTC) - timedelta(seconds=seconds))


def sent(
    desk: "Desk", job: str, cluster: str, *, waits: float, runs: float | None = None, since: float | None = None
) -> None:
    """A job that went to a cluster: it waited there for so long, has run for so long, and ended so long ago."""
    over = since or 0.0
    submitted = ago(waits + (runs or 0) + over)
    times = {} if runs is None else {"started_at": ago(runs + over), "status": "running"}
    desk.job(job, f"{job}.png")
    with desk.ledger() as conn:
        number = moves.begin_submission(
            conn, job, submitted, cluster=cluster, note=f"{cluster}: for it is quick", workflow_id="1234",
            version_id=None, params={}, priority=0,
        )  # fmt: skip
        assert number is not None
        moves.end_submission(conn, number, submitted, Outcome.ACCEPTED, task_id="1")
        to = {"task_id": "1", "submitted_at": submitted, **times}
        assert moves.move(conn, job, State.SUBMITTING, State.SUBMITTED, submitted, **to)
        if since is not None:
            at = ago(since)
            assert moves.move(conn, job, State.SUBMITTED, State.RENDERED, at, paid=True, finished_at=at)


def saw(desk: "Desk", figures: dict[str, Figures], seconds: float) -> None:
    """The daemon saw that, so long ago."""
    with desk.ledger() as conn:
        seen.see(conn, Status(figures, ago(seconds)))


@pytest.fixture
def lagging(desk: "Desk") -> "Desk":
    """The fast cluster is full of ours, more wait there; the slow one takes ten times as long; one job is left."""
    for n in range(4):
        sent(desk, f"01f{n}", "GPU-4090", waits=1, runs=40, since=60)
        sent(desk, f"01s{n}", "GPU-A800", waits=1, runs=400, since=60)
    sent(desk, "01r", "GPU-4090", waits=1, runs=30)
    for n in range(3):
        sent(desk, f"01w{n}", "GPU-4090", waits=5)
    desk.job("01q", "q.png")
    saw(desk, BUSY, 20)
    return desk


WAITS = "waits for a free place on GPU-4090; GPU-A800 would take longer"


async def test_what_waits_for_a_better_cluster_says_so(call: "Call", lagging: "Desk") -> None:
    config = ("-c", lagging.config)
    rows = {row["id"]: row["error"] for row in json.loads((await call("jobs", "--json", *config)).out)}
    assert rows["01q"] == WAITS
    assert rows["01w0"] is None
    listed = (await call("jobs", "--state", "queued", *config)).out
    assert listed.rstrip("\n").endswith(WAITS)
    assert f"note: {WAITS}" in (await call("show", "01q", *config)).out.splitlines()
    explained = await call("explain", lagging.home / "inbox" / "q.png", *config)
    assert f"sent: not yet: {WAITS}" in explained.out.splitlines()


async def test_what_is_pinned_by_a_ticket_says_what_is_true_of_it(call: "Call", lagging: "Desk") -> None:
    pins = {"01fast": ("GPU-4090",), "01slow": ("GPU-A800",), "01gone": ("GPU-T4",)}
    lagging.write(whole=(
        'workflow_id = "1234"\nclusters = ["GPU-4090", "GPU-A800", "GPU-T4"]\ninputs = { input_image = "image" }'
    ))  # fmt: skip
    for job, clusters in pins.items():
        lagging.drop(f"{job}.png")
        lagging.adopt((job, Wishes(clusters=clusters)), sources=(lagging.source(f"{job}.png"),))
    config = ("-c", lagging.config)
    rows = {row["id"]: row["error"] for row in json.loads((await call("jobs", "--json", *config)).out)}
    assert rows["01q"].startswith("waits for a free place on GPU-4090")
    assert rows["01fast"] == "waits for a free place on GPU-4090 (its ticket names only GPU-4090)"
    assert rows["01slow"] is None
    gone = "none of its own clusters (GPU-T4) is active on the platform now; it waits until one is back"
    assert rows["01gone"] == gone
    assert f"note: {gone}" in (await call("show", "01gone", *config)).out.splitlines()


@pytest.mark.parametrize("why", ["least loaded", "long ago", "never seen", "platform down", "route paused"])
async def test_what_nobody_holds_back_does_not_say_so(call: "Call", lagging: "Desk", why: str) -> None:
    if why == "least loaded":
        lagging.write(top='[dispatch]\npolicy = "least-loaded"')
    elif why == "long ago":
        saw(lagging, BUSY, 3600)
    elif why == "never seen":
        saw(lagging, {}, 0)
    else:
        reach, subject = ("platform", "platform") if why == "platform down" else ("route", "first")
        with lagging.ledger() as conn:
            moves.tell_trouble(conn, reach, subject, why, lagging.at())
    [row] = json.loads((await call("jobs", "--state", "queued", "--json", "-c", lagging.config)).out)
    assert row["error"] is None


async def test_everything_that_a_choice_rests_upon_is_told(call: "Call", lagging: "Desk", sandbox: Sandbox) -> None:
    lagging.write(sandbox.base_url)
    ended = await call("clusters", "--json", "-c", lagging.config)
    assert (ended.code, ended.err) == (0, "")
    rows = {row["name"]: row for row in json.loads(ended.out)}
    fast, slow = rows["GPU-4090"], rows["GPU-A800"]
    assert (fast["active"], fast["waiting"], fast["running"], fast["ours"]) == (True, 3, 1, 4)
    [of] = fast["workflows"]
    assert (of["workflow_id"], of["runs"]) == ("1234", 4)
    assert 35 < of["run_seconds"] < 60
    assert of["window"] > 0
    assert slow["workflows"][0]["run_seconds"] > 200
    assert sum(len(row["choices"]) for row in rows.values()) == 10
    assert [choice["job"] for choice in fast["choices"]][:4] == ["01w2", "01w1", "01w0", "01r"]
    assert fast["choices"][0]["reason"] == "GPU-4090: for it is quick"
    assert rows["GPU-A800x8"]["workflows"] == []
    told = (await call("clusters", "-c", lagging.config)).out.splitlines()
    assert [line for line in told if line.startswith("  workflow 1234: a run takes 4") and "from 4 runs" in line]
    assert [line for line in told if line.startswith("policy: expected-completion (")]
    assert [line.split("\t")[:4] for line in told if line.startswith("01w2\t")] == [
        ["01w2", "first", "GPU-4090", "for it is quick"]
    ]


async def test_what_was_never_seen_there_says_so(call: "Call", desk: "Desk", sandbox: Sandbox) -> None:
    desk.write(sandbox.base_url)
    sent(desk, "01a", "GPU-4090", waits=100, runs=40, since=0)
    told = (await call("clusters", "-c", desk.config)).out
    assert "from 1 run;" in told
    assert "not seen there yet, " in told
    assert "  an instance boots in: about 9" in told


async def test_with_least_loaded_there_are_no_windows(call: "Call", lagging: "Desk") -> None:
    lagging.write(top='[dispatch]\npolicy = "least-loaded"')
    config = ("--offline", "-c", lagging.config)
    found = json.loads((await call("clusters", "--json", *config)).out)
    assert {of["window"] for row in found for of in row["workflows"]} == {None}
    told = (await call("clusters", *config)).out
    assert "may wait" not in told
    assert "policy: least-loaded (" in told


async def test_a_cluster_that_is_left_alone_says_until_when_and_why(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png")
    with desk.ledger() as conn:
        number = moves.begin_submission(
            conn, "01a", ago(5), cluster="GPU-4090", note="", workflow_id="1234", version_id=None, params={}, priority=0
        )
        assert number is not None
        moves.end_submission(conn, number, ago(0), Outcome.REFUSED, "no")
    saw(desk, BUSY, 20)
    config = ("--offline", "-c", desk.config)
    rows = {row["name"]: row["left_alone"] for row in json.loads((await call("clusters", "--json", *config)).out)}
    assert rows["GPU-A800"] is None
    assert rows["GPU-4090"]["why"] == "it refused a job"
    assert rows["GPU-4090"]["until"] > ago(0)
    assert " more, because it refused a job" in (await call("clusters", *config)).out


async def test_a_platform_that_is_away_is_told_with_what_was_seen_last(call: "Call", lagging: "Desk") -> None:
    ended = await call("clusters", "--json", "-c", lagging.config)
    rows = {row["name"]: row for row in json.loads(ended.out)}
    assert ended.code == 1  # what was asked for could not be had
    assert "cannot be reached" in ended.err
    assert "These figures were seen " in ended.err
    assert (rows["GPU-4090"]["curr_nodes"], rows["GPU-4090"]["max_nodes"]) == (1, 1)
    assert rows["GPU-4090"]["seen"] < ago(15)


async def test_offline_nothing_is_asked_and_no_token_needed(call: "Call", lagging: "Desk") -> None:
    ended = await call("clusters", "--offline", "-c", lagging.config, RENDERDROP_TOKEN=None)
    assert ended.code == 0
    assert "cannot be reached" not in ended.err
    assert ended.out.startswith("GPU-4090\tGPU-4090\t1\t1\t3\t1\tfirst\n")


async def test_offline_where_nothing_was_seen_the_routes_clusters_are_told(call: "Call", desk: "Desk") -> None:
    ended = await call("clusters", "--offline", "--json", "-c", desk.config)
    assert ended.code == 0
    assert "renderdrop run" in ended.err
    assert [(row["name"], row["active"], row["seen"]) for row in json.loads(ended.out)] == [
        ("GPU-4090", None, None), ("GPU-A800", None, None),
    ]  # fmt: skip


async def test_a_cluster_that_is_not_active_says_so(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png")
    saw(desk, {"GPU-4090": Figures(2, 22)}, 10)
    ended = await call("clusters", "--offline", "-c", desk.config)
    assert "GPU-A800\tnot active now\t0\tunknown" in ended.out
    assert "Route first also names GPU-A800, which the platform does not list as active now." in ended.err


async def test_jobs_say_when_all_of_it_will_be_done(call: "Call", lagging: "Desk") -> None:
    ended = await call("jobs", "-c", lagging.config)
    # One runs for 10 s more, three wait there, one is not sent: five runs of 40 s on the one fast instance, and a tail.
    assert re.search(
        r"^All routes: 4 waiting, 1 rendering: done in about [34] min \(\d\d:\d\d\), very", ended.err, re.M
    )
    for narrowed in (("--route", "first"), ("--state", "queued"), ("--json",)):
        assert "All routes" not in (await call("jobs", *narrowed, "-c", lagging.config)).err


async def test_no_end_is_guessed_of_what_nobody_knows_or_nobody_does(call: "Call", desk: "Desk") -> None:
    desk.job("01q", "q.png")
    assert "All routes" not in (await call("jobs", "-c", desk.config)).err  # no daemon has ever seen the clusters
    saw(desk, BUSY, 20)
    said = (await call("jobs", "-c", desk.config)).err
    assert "All routes: 1 waiting: no estimate yet, no task of this workflow has ended.\n" in said
    saw(desk, BUSY, 3600)
    assert "All routes" not in (await call("jobs", "-c", desk.config)).err  # no daemon works now
    saw(desk, BUSY, 20)
    desk.write(route='submit_between = "00:00-00:01"' if datetime.now().astimezone().hour else "enabled = false")
    assert "All routes" not in (await call("jobs", "-c", desk.config)).err


async def test_what_is_left_for_another_day_is_no_part_of_the_estimate(call: "Call", lagging: "Desk") -> None:
    for n in range(20):
        lagging.job(f"01z{n:02}", f"z{n}.png")
    lagging.write(top="[dispatch]\nmax_tasks_per_day = 14")
    with lagging.ledger() as conn:
        quota.begin_day(conn, datetime.now().astimezone().date().isoformat(), "2000-01-01T00:00:00.000Z")
    said = (await call("jobs", "-c", lagging.config)).err
    assert re.search(r"All routes: 5 waiting, 1 rendering: .*; 19 more wait for another day's tasks\.", said)


def test_the_ledger_is_surveyed_once_for_the_rows_and_for_the_estimate(
    lagging: "Desk", monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def counted(conn: Connection, routes: Sequence[Route], sending: Sequence[Route], now: datetime) -> Survey:
        asked.append([route.name for route in sending])
        return survey(conn, routes, sending, now)

    monkeypatch.setattr("renderdrop.dispatch.survey.survey", counted)
    with lagging.ledger() as conn:
        moment = Moment(conn, lagging.loaded)
        job = queries.job(conn, "01q")
        assert job is not None
        assert moment.waits(job) == WAITS
        assert "waiting" in finish(moment)
    assert asked == [["first"]]


def test_what_only_waits_for_a_task_of_its_own_counts_for_the_estimate_alone(lagging: "Desk") -> None:
    lagging.write(route="max_in_flight = 1")
    with lagging.ledger() as conn:
        moment = Moment(conn, lagging.loaded)
        job = queries.job(conn, "01q")
        assert job is not None
        assert moment.waits(job) == "waiting until a task of its route is done (max_in_flight 1)"
        assert (moment.surveyed().ours.queue, list(moment.surveyed(lasting=True).ours.queue.values())) == ({}, [1])
        assert "waiting" in finish(moment)
