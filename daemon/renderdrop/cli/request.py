"""The request that would be sent for a job to be, as far as it is known beforehand. Nothing is sent.

Owns how it is told; its parts come from the very code that sends. What only sending brings about (the cluster, the
platform's names for uploads, presigned addresses) is said in words, and the token never appears.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from renderdrop.cli.paper import fact, line, spelled
from renderdrop.dispatch.kinds import as_list
from renderdrop.model.media import media_type
from renderdrop.model.names import clean
from renderdrop.model.route import Route, Value
from renderdrop.model.units import spoken_size
from renderdrop.model.wishes import Wishes, params_of
from renderdrop.platform import apps, graphs, models


@dataclass(frozen=True, slots=True)
class Sending:
    """A file that would be sent; `size` in bytes, None where it is not there yet."""

    input: str
    name: str
    size: int | None

    def __str__(self) -> str:
        size = f", {spoken_size(self.size)}" if self.size is not None else ""
        return f"{clean(self.name, 'input')} ({media_type(self.name)}{size})"


def tell_request(route: Route, wishes: Wishes, files: Sequence[Sending], unread: Sequence[str]) -> None:
    """Print it. `unread`: inputs whose parameter only stands for the address in a link that is not there yet."""
    params, _ = params_of(route, wishes)
    if route.kind == "app":
        _app(route, wishes, params, files)
    elif route.kind == "graph":
        _graph(route, wishes, params, files)
    else:
        _model(route, params, files, unread)


def _app(route: Route, wishes: Wishes, params: dict[str, Value], files: Sequence[Sending]) -> None:
    version_id = wishes.version_id or route.version_id
    request = apps.Request(wishes.workflow_id or route.workflow_id, version_id, _cluster(route, wishes), params, ())
    fact("request", f"POST {apps.RUN}, multipart/form-data")
    for name, value in apps.fields(request).items():
        fact(f"field {name}", spelled(value), indent=2)
    for file in files:
        fact(f"file {file.input}", str(file), indent=2)


def _graph(route: Route, wishes: Wishes, params: dict[str, Value], files: Sequence[Sending]) -> None:
    for file in files:
        fact("upload", f"POST {graphs.UPLOAD}, multipart/form-data, file = {file}")
    fact("request", f"POST {graphs.SUBMIT}, JSON: the graph {route.workflow_id}, in which is set")
    for name, value in params.items():
        fact(name, spelled(value), indent=2)
    for file in files:
        fact(file.input, f"uploaded name of {clean(file.name, 'input')}", indent=2)
    fact("cluster_name", _cluster(route, wishes), indent=2)


def _model(route: Route, params: dict[str, Value], files: Sequence[Sending], unread: Sequence[str]) -> None:
    assert route.model is not None
    addresses = {file.input: f"presigned address of {clean(file.name, 'input')}" for file in files}
    parameters: dict[str, Any] = {
        name: _listed(name, value) if name in unread else as_list(name, value) if route.input(name) else value
        for name, value in params.items()
    }
    parameters |= {name: _listed(name, address) for name, address in addresses.items()}
    named = {"provider": route.model.provider, "model": route.model.name, "type": route.model.type}
    fact("request", f"POST {models.path(route.model.type)}, JSON")
    for row in _rows({"model": named, "parameters": parameters}):
        line(row)


def _rows(wish: Any) -> Iterator[str]:
    for row in json.dumps(wish, ensure_ascii=False, indent=2).splitlines():
        yield f"  {row}" if len(row) <= 300 else f"  {row[:299]}…"


def _listed(name: str, words: str) -> Value:
    """Words in the place of an address, alone or in a list as the address would be."""
    return [words] if isinstance(as_list(name, "https://"), list) else words


def _cluster(route: Route, wishes: Wishes) -> str:
    clusters = wishes.clusters or route.clusters
    return clusters[0] if len(clusters) == 1 else f"one of {', '.join(clusters)}"
