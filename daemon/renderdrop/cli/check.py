"""`renderdrop check`: can these settings be run with, and does the platform answer?

Owns the report. Looks, and changes nothing: it may be run beside a working daemon.
"""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from renderdrop.cli.opening import EX_CONFIG, Config, ledger_of, read, tell_problems
from renderdrop.cli.paper import as_json, fact, line
from renderdrop.model.errors import BrokenSettings, Fault, LedgerBroken, Problem

if TYPE_CHECKING:
    from renderdrop.platform.clusters import ClusterStatus
    from renderdrop.settings import Loaded

_HARDLINKS: Final = Path("/proc/sys/fs/protected_hardlinks")


def check(
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the platform.")] = False,
) -> None:
    """Check the settings and the platform; tell every problem."""
    import asyncio

    from renderdrop.settings import find_config

    path: Path | None = None
    try:
        path = find_config(config, os.environ)
        loaded = read(path, platform=True)
    except BrokenSettings as broken:
        if json:
            as_json(_report(path, problems=broken.problems))
        else:
            tell_problems(path, broken, sys.stdout)
        raise typer.Exit(EX_CONFIG) from None
    warnings = [*loaded.warnings, *_hardlinks()]
    problems: list[Problem] = _ledger(loaded)
    active: tuple[ClusterStatus, ...] | None = None
    if not offline:
        try:
            active = asyncio.run(ask(loaded))
            warnings += _inactive(loaded, active)
        except Fault as fault:
            problems.append(Problem("platform", fault.sentence))
    platform = _platform(loaded, active) if active is not None else None
    if json:
        as_json(_report(loaded.path, problems, warnings, _routes(loaded), platform))
    else:
        _tell(loaded, problems, warnings, active)
    if problems:
        raise typer.Exit(1)


async def ask(loaded: "Loaded") -> "tuple[ClusterStatus, ...]":
    """The platform's active clusters now. Raises PlatformDown, Temporary or Refused."""
    from renderdrop.platform.client import Client
    from renderdrop.platform.clusters import active
    from renderdrop.runtime.clock import Clock

    client = Client(loaded.settings.platform.base_url, loaded.token)
    try:
        return await active(client, Clock().now())
    finally:
        await client.close()


def _ledger(loaded: "Loaded") -> list[Problem]:
    """A ledger with which `run` would not begin."""
    from renderdrop.ledger import engine

    try:
        engine.check(ledger_of(loaded))
    except LedgerBroken as broken:
        return [Problem("daemon.state_dir", broken.sentence)]
    return []


def _hardlinks() -> list[Problem]:
    try:
        off = _HARDLINKS.read_text().strip() == "0"
    except OSError:
        return []
    told = (
        "is 0 on this machine, so whoever may write into an inbox can hard-link a file there that is not theirs, and "
        "have it sent; set it to 1 (sysctl fs.protected_hardlinks=1)"
    )
    return [Problem("fs.protected_hardlinks", told)] if off else []


def _inactive(loaded: "Loaded", active: "tuple[ClusterStatus, ...]") -> list[Problem]:
    from renderdrop.settings.words import dotted

    there = {cluster.name for cluster in active}
    return [
        Problem(
            dotted(["routes", route.name, "clusters"]),
            f"{', '.join(missing)} is not active on the platform now; "
            + ("the others are used" if len(missing) < len(route.clusters) else "the route's jobs wait until it is"),
        )
        for route in loaded.routes
        if (missing := [name for name in route.clusters if name not in there])
    ]


def _routes(loaded: "Loaded") -> list[dict[str, Any]]:
    from renderdrop.share.mounts import mount_of

    return [
        {
            "name": route.name,
            "kind": route.kind,
            "workflow_id": route.workflow_id,
            "graph": str(route.graph) if route.graph is not None else None,
            "model": (
                {"provider": route.model.provider, "model": route.model.name, "type": route.model.type}
                if route.model is not None
                else None
            ),
            "clusters": list(route.clusters),
            "feeds": route.feeds,
            "fed_by": list(route.fed_by),
            "inbox": str(route.inbox),
            "outbox": str(route.outbox),
            "done": str(route.done),
            "failed": str(route.failed),
            "watch": "sweep" if mount.network else "events",
            "file_system": mount.fs_type,
        }
        for route in loaded.routes
        for mount in [mount_of(route.inbox)]
    ]


def _platform(loaded: "Loaded", active: "tuple[ClusterStatus, ...]") -> dict[str, Any]:
    return {"base_url": loaded.settings.platform.base_url, "clusters": [cluster.name for cluster in active]}


def _report(
    path: Path | None,
    problems: list[Problem],
    warnings: list[Problem] | None = None,
    routes: list[dict[str, Any]] | None = None,
    platform: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "ok": not problems,
        "settings": str(path) if path is not None else None,
        "problems": [asdict(problem) for problem in problems],
        "warnings": [asdict(warning) for warning in warnings or []],
        "routes": routes or [],
        "platform": platform,
    }


def _workflow(route: dict[str, Any]) -> str:
    """What a route asks for and where, for people."""
    if (model := route["model"]) is not None:
        return f"{model['type']} by the model {model['provider']}/{model['model']}"
    what = f"graph {route['graph']}" if route["graph"] is not None else f"workflow {route['workflow_id']}"
    return f"{what} on {', '.join(route['clusters'])}"


def _tell(
    loaded: "Loaded",
    problems: list[Problem],
    warnings: list[Problem],
    active: "tuple[ClusterStatus, ...] | None",
) -> None:
    fact("settings", str(loaded.path))
    fact("state", str(loaded.state_dir))
    for route in _routes(loaded):
        how = "swept only, as its changes make no events" if route["watch"] == "sweep" else "watched by events"
        fact(f"route {route['name']}", _workflow(route))
        fact("inbox", f"{route['inbox']} ({route['file_system']}: {how})", indent=2)
        for role in ("outbox", "done", "failed"):
            fact(role, route[role], indent=2)
        if route["feeds"] is not None:
            fact("chain", f"feeds route {route['feeds']}", indent=2)
    if active is not None:
        count = f"{len(active)} cluster{'' if len(active) == 1 else 's'} active"
        fact("platform", f"{loaded.settings.platform.base_url} answers, {count}")
    for warning in warnings:
        line(f"warning: {warning}", "yellow")
    for problem in problems:
        line(str(problem), "red")
    if not problems:
        fact("result", "OK")
