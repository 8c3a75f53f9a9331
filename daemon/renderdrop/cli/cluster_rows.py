"""What `renderdrop clusters` tells of each cluster, as scripts see it; people are told the same in words.

Owns the rows: figures of the platform (asked now, else as a daemon saw them last), our tasks, what was learned.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from renderdrop.dispatch.survey import Survey
    from renderdrop.ledger.experience import Chosen
    from renderdrop.platform.clusters import ClusterStatus
    from renderdrop.settings import Loaded


def cluster_rows(
    loaded: "Loaded", active: "Sequence[ClusterStatus] | None", known: "Survey | None", choices: "Sequence[Chosen]"
) -> list[dict[str, Any]]:
    """One row a cluster: the active ones as the platform lists them, then those that routes name or have tasks on.

    The keys are a contract. `active` is None, and the figures say nothing, where nobody ever saw the clusters; `seen`:
    when the figures are of; `window`: how many of our tasks may wait there before others are preferred, None where the
    policy has none.
    """
    from renderdrop.runtime.clock import Clock

    at = Clock().text()
    figures: dict[str, tuple[str, int, int | None]] = {}
    if active is not None:
        figures = {c.name: (c.display_name, c.nodes, c.ceiling) for c in active}
        known = None if known is None else _seen_now(known, active, at)
    elif known is not None and known.status is not None:
        at = known.status.at
        figures = {name: (name, of.nodes, of.ceiling) for name, of in known.status.clusters.items()}
    there = active is not None or bool(figures)
    named = {name for route in loaded.routes for name in route.clusters}
    tasks = {} if known is None else known.ours.tasks
    found = []
    for name in [*figures, *sorted((named | tasks.keys()) - figures.keys())]:
        display_name, nodes, ceiling = figures.get(name, (name, 0, None))
        ours = tasks.get(name, ())
        running = sum(task.running for task in ours)
        found.append(
            {
                "name": name,
                "display_name": display_name,
                "curr_nodes": nodes,
                "max_nodes": ceiling,
                "ours": len(ours),
                "routes": [route.name for route in loaded.routes if name in route.clusters],
                "active": name in figures if there else None,
                "seen": at if there else None,
                "waiting": len(ours) - running,
                "running": running,
                "boot_seconds": known.learned.boots.get(name) if known is not None else None,
                "left_alone": _left_alone(known, name),
                "workflows": _workflows(loaded, known, name, {task.workflow for task in ours}),
                "choices": [
                    {"at": one.at, "job": one.job, "route": one.route, "reason": one.reason}
                    for one in choices
                    if one.cluster == name
                ],
            }
        )
    return found


def _seen_now(known: "Survey", active: "Sequence[ClusterStatus]", at: str) -> "Survey":
    """The same, with figures of this moment; a ceiling that cannot be told now is what it was last."""
    from renderdrop.ledger.seen import Figures, Status

    before = {} if known.status is None else known.status.clusters
    ceilings = {name: of.ceiling for name, of in before.items()}
    figures = {c.name: Figures(c.nodes, ceilings.get(c.name) if c.ceiling is None else c.ceiling) for c in active}
    return replace(known, status=Status(figures, at), age=0.0)


def _left_alone(known: "Survey | None", name: str) -> dict[str, str] | None:
    if known is None or name not in known.records.out(known.now):
        return None
    from renderdrop.runtime.clock import written

    record = known.records.records[name]
    return {"until": written(datetime.fromtimestamp(record.until, UTC)), "why": record.why}


def _workflows(
    loaded: "Loaded", known: "Survey | None", name: str, with_tasks: Collection[str]
) -> list[dict[str, Any]]:
    """Of the workflows of routes that may use it, and of those that have tasks there."""
    if known is None:
        return []
    from renderdrop.dispatch.window import forecast

    learns = loaded.settings.dispatch.policy == "expected-completion"
    of_routes = {route.workflow_id: route for route in loaded.routes if name in route.clusters}
    found = []
    for workflow in sorted({*of_routes, *with_tasks}):
        run = known.learned.run(workflow, name)
        situation = known.situation((name,), workflow)
        window = forecast(situation, name).window if learns and name in situation.active else None
        found.append(
            {"workflow_id": workflow, "run_seconds": round(run.seconds, 1), "runs": run.runs, "window": window}
        )  # fmt: skip
    return found
