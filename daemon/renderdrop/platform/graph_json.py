"""A ComfyUI graph in API form: read, looked through, filled with values. Pure.

Owns what makes a file a graph that can be submitted, and how a setting's `node.input` points into it. It must never
read a file nor judge whether a node's values make sense: the platform does.

A key splits at its first dot: node ids have none (they are numbers, in sub-graphs "12:3"), but inputs may, since
ComfyUI's newer nodes have such as "images.image0" and "resize_type.width". Where a graph was written by hand and has
dots in its ids, the split that leads somewhere is taken.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from renderdrop.model.names import shown
from renderdrop.model.units import spoken_size

SIZE_CAP: Final = 8 * 2**20
"""Bytes; graphs of thousands of nodes are below 1 MiB."""
DEPTH_CAP: Final = 64
"""Lists and objects in each other. A graph itself is three deep."""
_NAMED: Final = 20
"""Nodes named in a sentence."""

Graph = dict[str, Any]
"""Node id → {"class_type": …, "inputs": {…}, …}."""

HOW_TO_EXPORT: Final = (
    "export it from ComfyUI's menu with Workflow → Export (API); "
    "older versions: enable Dev mode in the settings, then Save (API Format)"
)


def read_graph(data: bytes) -> Graph:
    """The graph in a file's bytes, also when it is wrapped as {"prompt": …}. Raises ValueError with one sentence."""
    if len(data) > SIZE_CAP:
        raise ValueError(f"the graph is larger than {spoken_size(SIZE_CAP)}; {HOW_TO_EXPORT}")
    found = _json(data)
    if isinstance(found, dict) and isinstance(found.get("prompt"), dict) and "class_type" not in found["prompt"]:
        found = found["prompt"]
    if not isinstance(found, dict):
        raise ValueError(f"the graph is no JSON object; {HOW_TO_EXPORT}")
    if isinstance(found.get("nodes"), list) or isinstance(found.get("links"), list):
        raise ValueError(f"this is the editor's format and not the API format that the platform runs; {HOW_TO_EXPORT}")
    if not found:
        raise ValueError(f"the graph has no nodes; {HOW_TO_EXPORT}")
    for node_id, node in found.items():
        if (wrong := _wrong(node)) is not None:
            raise ValueError(f"{_quoted(node_id)} in the graph is no node: it {wrong}; {HOW_TO_EXPORT}")
    return found


def missing_inputs(graph: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """For each key such as "73.image" that the graph does not have, a sentence that names what it has instead."""
    return [sentence for key in keys if (sentence := _missing(graph, key)) is not None]


def with_values(graph: Mapping[str, Any], values: Mapping[str, Any]) -> Graph:
    """A copy of the graph with the values set; the given one is untouched. Raises ValueError for a key that the
    graph does not have."""
    if missing := missing_inputs(graph, values):
        raise ValueError(missing[0])
    filled = copy.deepcopy(dict(graph))
    for key, value in values.items():
        node_id, name = split_key(graph, key)
        filled[node_id]["inputs"][name] = copy.deepcopy(value)
    return filled


def split_key(graph: Mapping[str, Any], key: str) -> tuple[str, str]:
    """Node id and input's name: split at the first dot, or at the one that leads to an input or at least to a node."""
    splits = [(key[:at], key[at + 1 :]) for at, char in enumerate(key) if char == "."]
    exact = [(node, name) for node, name in splits if node in graph and name in graph[node]["inputs"]]
    near = [(node, name) for node, name in splits if node in graph]
    return next(iter([*exact, *near, *splits]), (key, ""))


def _json(data: bytes) -> Any:
    try:
        found = json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("the graph is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError(f"the graph is not written in UTF-8; {HOW_TO_EXPORT}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the graph is no JSON (line {error.lineno}: {error.msg}); {HOW_TO_EXPORT}") from None
    except ValueError:
        raise ValueError("the graph holds a number that JSON cannot carry") from None
    layer, depth = [found], 0
    while layer := [inner for value in layer for inner in _inside(value)]:
        depth += 1
        if depth > DEPTH_CAP:
            raise ValueError("the graph is nested too deeply")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity: Python's, not JSON's


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _wrong(node: Any) -> str | None:
    if not isinstance(node, dict):
        return "is no object"
    if not isinstance(node.get("class_type"), str) or not node["class_type"]:
        return "has no class_type"
    return None if isinstance(node.get("inputs"), dict) else "has no inputs"


def _missing(graph: Mapping[str, Any], key: str) -> str | None:
    node_id, name = split_key(graph, key)
    if not node_id or not name:
        return f"{_quoted(key)} points to no input; write the id of a node, a dot and the name of an input: 73.image"
    if node_id not in graph:
        return f"the graph has no node {_quoted(node_id)}; it has {_nodes(graph, name)}"
    inputs = graph[node_id]["inputs"]
    if name in inputs:
        return None
    has = f"its inputs are {', '.join(_quoted(known) for known in inputs)}" if inputs else "it has no inputs at all"
    return f"node {_node(graph, node_id)} has no input {_quoted(name)}; {has}"


def _nodes(graph: Mapping[str, Any], name: str) -> str:
    """The nodes, those first that have an input of that name: one of them is likely meant."""
    ordered = sorted(graph, key=lambda node_id: name not in graph[node_id]["inputs"])
    named = ", ".join(_node(graph, node_id) for node_id in ordered[:_NAMED])
    return named + (f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else "")


def _node(graph: Mapping[str, Any], node_id: str) -> str:
    node = graph[node_id]
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    titled = f" {_quoted(title)}" if isinstance(title, str) and title and title != node["class_type"] else ""
    return f"{shown(node_id)} ({shown(node['class_type'])}{titled})"


def _quoted(text: str) -> str:
    return f'"{shown(text)[:80]}"'
