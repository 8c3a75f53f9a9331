"""`renderdrop clusters`: the platform's clusters now, with our own tasks on them and the routes that allow them."""

from typing import TYPE_CHECKING, Annotated

import typer

from renderdrop.cli.check import ask
from renderdrop.cli.opening import Config, has_ledger, ledger_of, opened
from renderdrop.cli.paper import as_json, hint, rows

if TYPE_CHECKING:
    from renderdrop.settings import Loaded


def clusters(
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """List the platform's clusters, and our tasks on them."""
    import asyncio

    loaded = opened(config, platform=True)
    active = asyncio.run(ask(loaded))
    ours = _ours(loaded)
    routes = {c.name: [route.name for route in loaded.routes if c.name in route.clusters] for c in active}
    if json:
        as_json(
            [
                {
                    "name": c.name,
                    "display_name": c.display_name,
                    "curr_nodes": c.nodes,
                    "max_nodes": c.ceiling,
                    "ours": sum(ours.get(c.name, (0, 0))),
                    "routes": routes[c.name],
                }
                for c in active
            ]
        )
        return
    columns = ("name", "display name", "instances", "can grow to", "our waiting", "our running", "routes")
    rows(
        columns,
        (
            (
                c.name, c.display_name, str(c.nodes), "unknown" if c.ceiling is None else str(c.ceiling),
                str(ours.get(c.name, (0, 0))[0]), str(ours.get(c.name, (0, 0))[1]), ", ".join(routes[c.name]),
            )
            for c in active
        ),
        wrapped=(1, 6),
    )  # fmt: skip
    there = {c.name for c in active}
    for route in loaded.routes:
        if missing := [name for name in route.clusters if name not in there]:
            hint(f"Route {route.name} also names {', '.join(missing)}, which the platform does not list as active now.")


def _ours(loaded: "Loaded") -> dict[str, tuple[int, int]]:
    """(waiting, running) of our tasks by cluster."""
    path = ledger_of(loaded)
    if not has_ledger(path):
        return {}
    from renderdrop.ledger import engine, queries

    found: dict[str, tuple[int, int]] = {}
    with engine.view(path) as conn:
        for cluster, status, number in queries.on_clusters(conn):
            waiting, running = found.get(cluster, (0, 0))
            found[cluster] = (waiting, running + number) if status == "running" else (waiting + number, running)
    return found
