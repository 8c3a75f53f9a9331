"""Batches through the real program: hours, a day's tasks, tasks at once, a person's pauses, fair turns.

The clock on the wall is turned by the time zone (TZ): no test waits for an hour to come.
"""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

from sqlalchemy import select
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.ledger import engine
from renderdrop.ledger.schema import history
from renderdrop.model.job import Outcome
from renderdrop.model.lifecycle import State


def wall(daemon: Daemon, shows: str, days: int = 0) -> datetime:
    """From the next start on, a clock on the daemon's wall shows this time of the day now ("21:59:58"), `days` later.
    Returns the moment that it would be without that zone."""
    now = datetime.now(UTC).replace(microsecond=0)
    hours, minutes, seconds = map(int, shows.split(":"))
    day = (now - timedelta(hours=2)).replace(hour=hours, minute=minutes, second=seconds)  # no zone is 24 hours away
    ahead = round((day + timedelta(days=days) - now).total_seconds())
    minutes, seconds = divmod(abs(ahead), 60)
    daemon.environ["TZ"] = f"WALL{'-' if ahead > 0 else ''}{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    return now


def portrait(share: Share, **keys: Any) -> dict[str, Any]:
    return {
        "folder": str(share.folder), "workflow_id": "1234", "clusters": ["GPU-4090", "GPU-A800"],
        "inputs": {"input_image": "image"}, **keys,
    }  # fmt: skip


def may_cost(daemon: Daemon) -> int:
    """The submissions that were accepted, or may have been."""
    return sum(s.outcome in (None, Outcome.ACCEPTED, Outcome.UNKNOWN) for job in daemon.jobs() for s in job.submissions)


def test_what_comes_outside_the_hours_waits_and_says_until_when(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    wall(daemon, "12:00:00")
    daemon.route(submit_between=["22:00-08:00", "05:00-06:30"])
    daemon.start()
    dropped = {"a.png": share.drop("a.png")}
    daemon.wait(lambda: daemon.jobs(State.QUEUED) and daemon.events("route_closed"), "it waits")
    [row] = daemon.rows()
    assert (row["state"], row["error"]) == ("queued", "waiting until 22:00 (submit_between 22:00-08:00, 05:00-06:30)")
    assert "note: waiting until 22:00" in daemon.run("show", row["id"]).stdout
    assert len(daemon.events("route_closed")) == 1
    assert platform.tasks() == []
    daemon.route(submit_between="11:30-13:00")
    daemon.reload()
    daemon.wait_at_rest(1)
    share.check_delivered(platform, dropped)
    assert len(daemon.events("route_opened")) == 1


def test_run_once_waits_for_the_hours_and_sends_nothing_before(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    dropped = {f"{n}.png": share.drop(f"{n}.png") for n in range(3)}
    daemon.route(submit_between="22:00-08:00")
    opens = wall(daemon, "21:59:57") + timedelta(seconds=3)
    assert daemon.once() == 0
    share.check_delivered(platform, dropped)
    begun = [datetime.fromisoformat(s["at"]) for sidecar in share.sidecars() for s in sidecar["submissions"]]
    assert min(begun) >= opens


def test_a_days_tasks_are_never_one_more_whatever_happens_to_the_daemon_or_its_clock(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    wall(daemon, "12:00:00")
    daemon.configure(uploads=8)
    daemon.route(max_tasks_per_day=5)
    for n in range(14):
        share.drop(f"{n:02}.png")
    daemon.environ["RENDERDROP_FAILPOINT"] = "accepted:after:2"
    daemon.launch()
    daemon.ended()
    del daemon.environ["RENDERDROP_FAILPOINT"]
    daemon.start()
    used_up = "today's 5 tasks are used up (max_tasks_per_day); goes on at 00:00"

    def over(tasks: int) -> bool:
        open_ones = daemon.jobs(State.SUBMITTING, State.SUBMITTED, State.RENDERED)
        told = {row["error"] for row in daemon.rows() if row["state"] == "queued"}
        return may_cost(daemon) == tasks and not open_ones and told == {used_up}

    daemon.wait(lambda: over(5), "the day's tasks are used up")
    assert len(platform.tasks()) <= 5
    daemon.stop()

    wall(daemon, "01:00:00", days=1)
    daemon.start()
    daemon.wait(lambda: over(10), "the next day's are, too")
    daemon.stop()

    wall(daemon, "12:00:00")
    before = len(daemon.events("service_ready"))
    daemon.start()
    daemon.wait(lambda: len(daemon.events("service_ready")) > before, "it is there")
    daemon.wait(lambda: over(10), "a clock set back gives nothing")
    daemon.stop()
    assert may_cost(daemon) == 10
    assert len(platform.tasks()) <= 10


def test_the_budget_holds_for_all_routes_together(
    platform: Platform, daemon: Daemon, share: Share, new_share: Callable[[str], Share]
) -> None:
    wall(daemon, "12:00:00")
    other = new_share("other")
    daemon.configure("dispatch", max_tasks_per_day=4)
    daemon.configure(uploads=6)
    daemon.routes(portrait=portrait(share), other=portrait(other))
    for n in range(4):
        share.drop(f"{n}.png")
        other.drop(f"{n}.png")
    daemon.start()

    def told() -> bool:
        errors = {row["error"] for row in daemon.rows() if row["state"] == "queued"}
        return errors == {"today's 4 tasks of all routes are used up (max_tasks_per_day); goes on at 00:00"}

    daemon.wait(told, "the budget is used up")
    daemon.wait(lambda: len(daemon.jobs(State.DELIVERED)) == 4, "what was begun is delivered")
    daemon.stop()
    assert len(platform.tasks()) == 4


def test_a_paused_route_sends_nothing_until_it_is_resumed_and_loses_nothing(
    build: Callable[..., Platform], daemon: Daemon, share: Share
) -> None:
    platform = build(render_seconds=(1.0, 1.0))
    daemon.configure("platform", base_url=platform.base_url)
    dropped = {"a.png": share.drop("a.png")}
    daemon.start()
    daemon.wait_for(State.SUBMITTED)
    assert daemon.run("pause", "portrait", "--reason", "no paper").returncode == 0
    dropped["b.png"] = share.drop("b.png")
    daemon.wait_for(State.QUEUED)
    daemon.wait_for(State.DELIVERED)  # what is with the platform goes on
    row = next(row for row in daemon.rows() if row["state"] == "queued")
    assert row["error"].startswith("paused by hand since ")
    assert row["error"].endswith(": no paper")
    assert "Route portrait is paused by hand since " in daemon.run("clusters").stderr
    daemon.stop()
    assert daemon.once() == 3  # a person decides, so it is not waited for
    daemon.start()
    assert [job.state for job in daemon.jobs(State.QUEUED)] == [State.QUEUED]
    assert len(platform.tasks()) == 1
    assert daemon.run("resume", "portrait").returncode == 0
    daemon.wait_at_rest(2)
    share.check_delivered(platform, dropped)


def test_a_route_with_few_files_does_not_wait_for_one_with_many(
    platform: Platform, daemon: Daemon, share: Share, new_share: Callable[[str], Share]
) -> None:
    many, few = share, new_share("few")
    daemon.configure(uploads=1)
    daemon.routes(many=portrait(many), few=portrait(few))
    daemon.start()
    assert daemon.run("pause", "many", "few").returncode == 0
    for n in range(60):
        many.drop(f"{n:02}.png")
    daemon.wait_for(State.QUEUED, 60)
    for n in range(3):
        few.drop(f"{n}.png")
    daemon.wait_for(State.QUEUED, 63)
    assert daemon.run("resume", "many", "few").returncode == 0
    daemon.wait(lambda: sum(job.route == "few" for job in daemon.jobs(State.DELIVERED)) == 3, "the few are delivered")
    jobs = daemon.jobs()
    sent = [job for _, job in sorted(((s.id, job) for job in jobs for s in job.submissions), key=itemgetter(0))]
    assert [job.route for job in sent[:6]] == ["many", "few"] * 3
    for route in ("many", "few"):
        oldest_first = sorted((job.times.queued, job.id) for job in jobs if job.route == route)
        began = [(job.times.queued, job.id) for job in sent if job.route == route]
        assert began == oldest_first[: len(began)]


def test_no_more_tasks_are_with_the_platform_at_once_than_allowed(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.configure(uploads=8)
    daemon.route(max_in_flight=2)
    dropped = {f"{n}.png": share.drop(f"{n}.png") for n in range(8)}
    daemon.start()
    most = 0

    def at_rest() -> bool:
        nonlocal most
        most = max(most, sum(task["status"] in ("pending", "running") for task in platform.tasks()))
        return share.at_rest(8)

    daemon.wait(at_rest, "all are done")
    share.check_delivered(platform, dropped)
    assert most <= 2
    # Between two looks nothing is seen; the ledger's own order misses nothing.
    with engine.view(engine.ledger_path(daemon.state_dir)) as conn:
        steps = conn.execute(select(history.c.to_state, history.c.from_state).order_by(history.c.id)).all()
    there = itertools.accumulate((to == State.SUBMITTING) - (frm == State.SUBMITTED) for to, frm in steps)
    assert max(there) == 2
    assert not daemon.events("route_closed")
