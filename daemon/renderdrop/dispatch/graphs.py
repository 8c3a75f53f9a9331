"""The graphs of native routes: read from the operator's files, and again when those change.

Owns the reading and the check that everything the route sets is there. A graph that is broken now pauses its route and
fails no job: its files are not to blame.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from renderdrop.model.errors import RouteDown
from renderdrop.model.names import shown
from renderdrop.model.route import Route
from renderdrop.platform import graph_json
from renderdrop.runtime.disk import Disks
from renderdrop.share.own import read_own

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph as its file holds it."""

    sha256: str
    nodes: Mapping[str, Any]


class Graphs:
    """Every graph in use, as last read."""

    def __init__(self, disks: Disks) -> None:
        self._disks = disks
        self._read: dict[Path, Graph] = {}

    async def read(self, route: Route) -> Graph:
        """The route's graph as it is now. Raises RouteDown."""
        path = route.graph
        assert path is not None
        data = await self._disks.of(route)(read_own, path, graph_json.SIZE_CAP)
        sha256 = hashlib.sha256(data).hexdigest()
        known = self._read.get(path)
        if known is None or known.sha256 != sha256:
            try:
                known = Graph(sha256, graph_json.read_graph(data))
            except ValueError as error:
                raise RouteDown(f"the graph {shown(path.name)} cannot be used: {error}") from None
            log.info("graph_read", route=route.name, sha256=sha256)
            self._read[path] = known
        keys = [*(i.name for i in route.inputs), *route.constants, *route.params, *route.matrix]
        if missing := graph_json.missing_inputs(known.nodes, keys):
            raise RouteDown(f"the graph {shown(path.name)} does not fit the route: {'; '.join(missing)}")
        return known
