"""Tables become routes: every default that follows from other keys is filled in, every path absolute.

Owns: the one place where the operator's words turn into the program's. It must never judge: what comes here has
passed every check.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from renderdrop.model.route import Model, Publish, Route
from renderdrop.settings.inputs import allowed, bundling, dropped
from renderdrop.settings.keys import PublishTable, RouteTable
from renderdrop.settings.places import Place


def route(
    name: str, table: RouteTable, folders: Sequence[Place], absolute: Callable[[Path], Path], feeds: Mapping[str, str]
) -> Route:
    """One route. `feeds`: which routes' outbox is which route's inbox."""
    paths = {place.role: place.path for place in folders}
    return Route(
        name=name,
        kind=table.kind,
        inbox=paths["inbox"],
        outbox=paths["outbox"],
        done=paths["done"],
        failed=paths["failed"],
        workflow_id=_workflow(table),
        version_id=table.version_id,
        clusters=table.clusters or (),
        inputs=dropped(table),
        params=dict(table.params),
        after=table.after,
        priority=table.priority,
        attempts=table.attempts,
        silence=table.silence,
        on_unknown_submit=table.on_unknown_submit,
        output_name=table.output_name,
        max_output=table.max_output,
        constants={key: absolute(given.file) for key, given in table.inputs.items() if given.file is not None},
        bundle=bundling(table),
        bundle_timeout=table.bundle_timeout,
        matrix=dict(table.matrix),
        submit_between=table.submit_between or (),
        max_tasks_per_day=table.max_tasks_per_day,
        max_in_flight=table.max_in_flight,
        rescue=table.rescue,
        params_allowed=allowed(table),
        duplicates=table.duplicates,
        graph=absolute(table.graph) if table.graph is not None else None,
        model=_model(table),
        publish=_publish(table.publish) if table.publish is not None else None,
        feeds=feeds.get(name),
        fed_by=tuple(source for source, target in feeds.items() if target == name),
    )


def _workflow(table: RouteTable) -> str:
    """What people call the workflow, whatever its kind."""
    if table.graph is not None:
        return table.graph.name
    return table.workflow_id or f"{table.provider}/{table.model}"


def _model(table: RouteTable) -> Model | None:
    if table.provider is None or table.model is None or table.type is None:
        return None
    return Model(table.provider, table.model, table.type)


def _publish(table: PublishTable) -> Publish:
    return Publish(
        bucket=table.bucket,
        endpoint=table.endpoint,
        prefix=table.prefix,
        expires=table.expires,
        region=table.region,
        addressing=table.addressing,
    )
