"""`renderdrop clusters`: the platform's clusters, our own tasks on them, and what the choice among them rests upon.

Owns the command and its words for people; what is told of each cluster is gathered in `cluster_rows`. It looks, and
changes nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from renderdrop.cli.check import ask
from renderdrop.cli.cluster_rows import cluster_rows
from renderdrop.cli.opening import Config, has_ledger, ledger_of, no_ledger, opened
from renderdrop.cli.paper import as_json, fact, hint, line, rows
from renderdrop.cli.waits import Moment, paused_by_hand, tell_pauses
from renderdrop.model.errors import Fault
from renderdrop.model.units import spoken

if TYPE_CHECKING:
    from renderdrop.dispatch.survey import Survey
    from renderdrop.ledger.experience import Chosen
    from renderdrop.platform.clusters import ClusterStatus
    from renderdrop.settings import Loaded

_CHOICES: Final = 10
_POLICIES: Final[Mapping[str, str]] = {
    "expected-completion": "where a job is expected to be done first, or it waits",
    "least-loaded": "where the least load is",
}


def clusters(
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the platform; tell what the daemon saw last.")
    ] = False,
) -> None:
    """List the platform's clusters, our tasks on them, what was learned of them and why the last were chosen."""
    import asyncio

    loaded = opened(config, platform=not offline)
    active: Sequence[ClusterStatus] | None = None
    fault: Fault | None = None
    if not offline:
        try:
            active = asyncio.run(ask(loaded))
        except Fault as met:
            fault = met
    known, choices, paused = _of_ledger(loaded)
    if active is None and (known is None or known.status is None):
        if fault is not None:
            raise fault
        hint(no_ledger(ledger_of(loaded)) if known is None else "No daemon has seen the clusters yet.")
    found = cluster_rows(loaded, active, known, choices)
    if json:
        as_json(found)
    else:
        _tell(loaded, found, choices, paused)
    if active is None and known is not None and known.status is not None:
        since = spoken(max(0.0, known.now - datetime.fromisoformat(known.status.at).timestamp()))
        hint(f"These figures were seen {since} ago, when the daemon last had something to send.")
    if fault is not None:
        hint(f"The platform could not be asked: {fault.sentence}")
        raise typer.Exit(1)


def _of_ledger(loaded: "Loaded") -> "tuple[Survey | None, Sequence[Chosen], Mapping[str, str]]":
    """What the ledger knows, the last choices, and the routes that a person has paused."""
    if not has_ledger(path := ledger_of(loaded)):
        return None, (), {}
    from renderdrop.ledger import engine, experience

    with engine.view(path) as conn:
        return Moment(conn, loaded).surveyed(), experience.choices(conn, _CHOICES), paused_by_hand(conn)


def _tell(
    loaded: "Loaded", found: Sequence[Mapping[str, Any]], choices: "Sequence[Chosen]", paused: Mapping[str, str]
) -> None:
    columns = ("name", "display name", "instances", "up to", "ours wait", "ours run", "routes")
    rows(columns, (_cells(row) for row in found), wrapped=(1, 6))
    tell_pauses(paused)
    for route in loaded.routes:
        if missing := [row["name"] for row in found if row["active"] is False and row["name"] in route.clusters]:
            hint(f"Route {route.name} also names {', '.join(missing)}, which the platform does not list as active now.")
    for row in found:
        _tell_learned(row)
    policy = loaded.settings.dispatch.policy
    fact("policy", f"{policy} ({_POLICIES[policy]})")
    if choices:
        line("the last choices:", "bold")
        rows(("job", "route", "cluster", "why", "at"), (_choice(one) for one in choices), wrapped=(3,))


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    there = row["active"]
    return (
        row["name"], row["display_name"] if there else "not active now" if there is False else "not seen yet",
        str(row["curr_nodes"]), "unknown" if row["max_nodes"] is None else str(row["max_nodes"]), str(row["waiting"]),
        str(row["running"]), ", ".join(row["routes"]),
    )  # fmt: skip


def _tell_learned(row: Mapping[str, Any]) -> None:
    """What is known of one cluster beyond its figures; nothing of one that is no concern of ours."""
    rests, workflows = row["left_alone"], row["workflows"]
    if not workflows and rests is None:
        return
    line(f"{row['name']}:", "bold")
    for of in workflows:
        takes, runs = spoken(max(1.0, of["run_seconds"])), of["runs"]
        learned = f"not seen there yet, {takes} expected"
        if runs:
            learned = f"a run takes {takes}, from {runs} run{'' if runs == 1 else 's'}"
        window = f"; up to {of['window']} of ours may wait" if of["window"] is not None else ""
        fact(f"workflow {of['workflow_id']}", learned + window, indent=2)
    if row["boot_seconds"] is not None:
        fact("an instance boots in", f"about {row['boot_seconds']:.0f} s", indent=2)
    if rests is not None:
        from renderdrop.runtime.clock import Clock

        until = datetime.fromisoformat(rests["until"])
        left = spoken(max(1.0, (until - Clock().now()).total_seconds()))
        fact("left alone", f"until {Clock().local(until):%H:%M:%S}, {left} more, because {rests['why']}", indent=2)


def _choice(one: "Chosen") -> Sequence[str]:
    from renderdrop.runtime.clock import Clock

    at = Clock().local(datetime.fromisoformat(one.at))
    return one.job, one.route, one.cluster, one.reason.removeprefix(f"{one.cluster}: "), f"{at:%H:%M:%S}"
