"""`pause` and `resume`, and where people are told why the jobs of a route wait."""

import json
from typing import TYPE_CHECKING

from renderdrop.ledger import quota
from renderdrop.model.lifecycle import State
from renderdrop.sandbox import Sandbox

if TYPE_CHECKING:
    from tests.cli.conftest import Call, Desk


async def test_a_pause_is_told_wherever_somebody_may_wonder(call: "Call", desk: "Desk", sandbox: Sandbox) -> None:
    desk.write(sandbox.base_url)
    desk.job("01a", "a.png")
    desk.job("01b", "b.png", State.FAILED, error="why")
    desk.job("01c", "c.png", paid=True)
    config = ("-c", desk.config)
    ended = await call("pause", "first", "--reason", "no\npaper", *config)
    assert (ended.code, ended.out) == (0, "Route first is paused; `renderdrop resume` lets it go on.\n")
    rows = {row["id"]: row["error"] for row in json.loads((await call("jobs", "--json", *config)).out)}
    assert rows["01a"].startswith("paused by hand since 20")
    assert rows["01a"].endswith(": no paper")
    assert rows["01b"] == "why"
    listed = await call("jobs", *config)
    assert rows["01a"] in next(line for line in listed.out.splitlines() if line.startswith("01a"))
    sentence = f"Route first is {rows['01a']}. `renderdrop resume first` lets it go on."
    assert sentence in listed.err
    shown = (await call("show", "01a", *config)).out.splitlines()
    assert f"note: {rows['01a']}" in shown
    assert [line for line in shown if line.startswith("next: `renderdrop resume first` lets its route go on.")]
    assert json.loads((await call("show", "01a", "--json", *config)).out)["error"] == rows["01a"]
    assert sentence in (await call("clusters", *config)).err
    for path in ("a.png", "new.png"):
        explained = await call("explain", desk.home / "inbox" / path, *config)
        told = explained.out.splitlines()
        [taken] = [n for n, line in enumerate(told) if line.startswith("taken: ")]
        assert told[taken + 1] == f"sent: not yet: {rows['01a']}"


async def test_it_is_kept_until_it_is_taken_back(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png")
    assert (await call("pause", "first", "-c", desk.config)).code == 0
    assert "is paused already; the reason is noted" in (
        await call("pause", "first", "--reason", "no ink", "-c", desk.config)
    ).out  # fmt: skip
    with desk.ledger() as conn:
        assert quota.paused(conn)["first"].reason == "no ink"
    assert (await call("resume", "first", "-c", desk.config)).out == "Route first goes on.\n"
    again = await call("resume", "first", "-c", desk.config)
    assert (again.code, again.out) == (0, "Route first is not paused.\n")
    [row] = json.loads((await call("jobs", "--json", "-c", desk.config)).out)
    assert row["error"] is None


async def test_an_unknown_route_names_those_there_are_and_nothing_is_done(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png")
    for command in ("pause", "resume"):
        ended = await call(command, "first", "frist", "-c", desk.config)
        assert ended.code == 2
        assert "there is no route frist; the settings have: first" in " ".join(ended.err.split())
    with desk.ledger() as conn:
        assert quota.paused(conn) == {}


async def test_a_route_that_is_gone_from_the_settings_can_still_be_resumed(call: "Call", desk: "Desk") -> None:
    with desk.ledger() as conn:
        quota.pause(conn, "gone", desk.at(), "")
    assert (await call("resume", "gone", "-c", desk.config)).code == 0


async def test_without_a_ledger_there_is_nothing_to_write_it_to(call: "Call", desk: "Desk") -> None:
    ended = await call("pause", "first", "-c", desk.config)
    assert ended.code == 1
    assert "renderdrop run" in ended.err
    assert (await call("pause", "frist", "-c", desk.config)).code == 2
    assert not (desk.folder / "state").exists()


async def test_what_waits_for_its_hours_says_until_when(call: "Call", desk: "Desk") -> None:
    desk.write(route='submit_between = "22:00-08:00"')
    desk.job("01a", "a.png")
    # Zones without a name: at this very moment it is about noon on one wall and about midnight on the other.
    from datetime import UTC, datetime

    hour = datetime.now(UTC).hour
    [row] = json.loads((await call("jobs", "--json", "-c", desk.config, TZ=f"NOON{hour - 12}")).out)
    assert row["error"] == "waiting until 22:00 (submit_between 22:00-08:00)"
    [row] = json.loads((await call("jobs", "--json", "-c", desk.config, TZ=f"NIGHT{hour - 2}")).out)
    assert row["error"] is None


async def test_what_waits_for_a_task_to_end_says_so(call: "Call", desk: "Desk") -> None:
    desk.write(route="max_in_flight = 1")
    desk.job("01a", "a.png", State.SUBMITTING, State.SUBMITTED, task_id="1")
    desk.job("01b", "b.png")
    rows = {row["id"]: row["error"] for row in json.loads((await call("jobs", "--json", "-c", desk.config)).out)}
    assert rows == {"01a": None, "01b": "waiting until a task of its route is done (max_in_flight 1)"}
    told = (await call("explain", desk.home / "inbox" / "b.png", "-c", desk.config)).out.splitlines()
    assert told[-1] == f"sent: not yet: {rows['01b']}"


async def test_a_job_that_lags_is_explained_with_what_is_known_of_it(call: "Call", desk: "Desk") -> None:
    why = "pending for 30 min, far longer than others elsewhere"
    desk.job("01a", "a.png", State.SUBMITTING, State.SUBMITTED, task_id="1", error=why)
    told = (await call("explain", desk.home / "inbox" / "a.png", "-c", desk.config)).out.splitlines()
    assert told[2:] == [
        "taken: it is job 01a already, which is submitted; see `renderdrop show 01a`", f"note: {why}"
    ]  # fmt: skip
