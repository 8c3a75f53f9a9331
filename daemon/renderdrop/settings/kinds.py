"""What the three kinds of routes need and take: apps, graphs, models.

Owns: which keys belong to which kind, and the rules that hold for one kind alone. Pure: every function takes values
and gives problems. Whether a graph's file is there, and has what the route names, is for `files`.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from renderdrop.model.errors import Problem
from renderdrop.model.names import shown
from renderdrop.model.route import MODEL_TYPES, Kind
from renderdrop.model.units import spoken
from renderdrop.settings.keys import InputTable, RouteTable
from renderdrop.settings.values import is_scalar
from renderdrop.settings.words import dotted, lacking

KEYS: Final[Mapping[Kind, Mapping[str, bool]]] = {
    "app": {"workflow_id": True, "version_id": False, "clusters": True, "rescue": False},
    "graph": {"graph": True, "clusters": True, "rescue": False},
    "model": {"provider": True, "model": True, "type": True, "publish": False},
}
"""The keys that not every kind has, and whether a route of that kind must have it."""
RESERVED: Final = {"workflow_id": "workflow_id", "cluster_name": "clusters", "version_id": "version_id"}
"""Fields of an app's submission that are keys of the route itself."""
PICTURES: Final = "images"
"""The parameter in which models take pictures (platform-api.md, section 4)."""


def needed(kind: Kind) -> list[str]:
    """The keys that a route of this kind must have, beside those that all must have."""
    return [key for key, required in KEYS[kind].items() if required]


def foreign(kind: Kind) -> list[str]:
    """The keys that a route of this kind must not have."""
    return list(dict.fromkeys(key for keys in KEYS.values() for key in keys if key not in KEYS[kind]))


def is_link(table: InputTable) -> bool:
    """Whether an input of a model takes a picture, which reaches the model by its URL."""
    return table.media != "text"


def problems(name: str, table: RouteTable, told: Collection[str] = ()) -> Iterator[Problem]:
    """Everything about one route that its kind decides. `told`: the keys that are known to be wrong."""
    home = ["routes", name]
    strange = [key for key in foreign(table.kind) if key in table.model_fields_set]
    for key in strange:
        kinds = " or ".join(f'"{kind}"' for kind, keys in KEYS.items() if key in keys)
        message = f'is for kind = {kinds}, and this route is of kind "{table.kind}"; take it out, or set the kind'
        yield Problem(dotted([*home, key]), message)
    # Where the kind itself was forgotten, what an app would need is beside the point.
    if not strange or "kind" in table.model_fields_set:
        for key in needed(table.kind):
            if getattr(table, key) is None:
                yield Problem(dotted([*home, key]), lacking(RouteTable, key))
    if table.kind != "model":
        yield from _scalars(home, table)
    if table.kind == "graph":
        yield from _nodes(home, table)
    # Both tables hang together: where one of them is wrong, nothing can be said of the other.
    spoilt = (dotted([*home, "inputs"]), dotted([*home, "publish"]))
    if table.kind == "model" and not any(key.startswith(spoilt) for key in told):
        yield from _pictures(home, table)


def no_store(name: str, table: RouteTable) -> Iterator[Problem]:
    """For programs without the object store's package: what is dropped waits, so it is no reason not to start."""
    if table.publish is not None:
        yield Problem(
            dotted(["routes", name, "publish"]),
            "needs a package that is not installed, and dropped pictures wait until it is: "
            'pip install "renderdrop[publish]"',
        )


def warnings(name: str, table: RouteTable) -> Iterator[Problem]:
    """What can be run with but should be known."""
    key = dotted(["routes", name, "publish"])
    dropped = any(is_link(given) for given in table.inputs.values() if given.file is None)
    if table.kind == "model" and table.publish is None and dropped:
        yield Problem(key, "is left out, and without publish, only .url files and tickets can name pictures")
    if table.rescue and len(table.clusters or ()) < 2:
        sentence = "has nowhere to send a second task: name at least two clusters, or take it out"
        yield Problem(dotted(["routes", name, "rescue"]), sentence)
    if table.publish is not None and table.publish.expires < table.silence:
        yield Problem(
            key + ".expires",
            f"{spoken(table.publish.expires)} are shorter than the route's silence ({spoken(table.silence)}); "
            "a picture's URL must outlive its task: set it higher",
        )


def _scalars(home: list[str], table: RouteTable) -> Iterator[Problem]:
    for name, value in table.params.items():
        if not is_scalar(value):
            message = 'must be a text, a number, true or false; lists and tables are for kind = "model" alone'
            yield Problem(dotted([*home, "params", name]), message)


def _nodes(home: list[str], table: RouteTable) -> Iterator[Problem]:
    for where, name in named(table):
        node, _, field = name.partition(".")
        if not node.strip() or not field.strip():
            path = [*home, where] if where == "params_allowed" else [*home, where, name]
            said = f'"{shown(name)}" ' if where == "params_allowed" else ""
            yield Problem(
                dotted(path), f'{said}points to no input of the graph: write node.input in quotes, such as "73.image"'
            )


def named(table: RouteTable) -> Iterator[tuple[str, str]]:
    """Every parameter of the workflow that a route names, with the key under which it does."""
    for where in ("inputs", "params", "matrix", "params_allowed"):
        for name in getattr(table, where) or ():
            yield where, name


def _pictures(home: list[str], table: RouteTable) -> Iterator[Problem]:
    taken = any(is_link(given) for given in table.inputs.values())
    if (
        table.type is not None
        and MODEL_TYPES[table.type].needs_images
        and not (taken or PICTURES in table.params or PICTURES in (table.params_allowed or ()))
    ):
        yield Problem(
            dotted([*home, "inputs"]),
            f'an {table.type} model needs pictures: add an input such as images = "image", or public URLs as '
            'params = { images = ["https://…"] }',
        )
    for name, given in table.inputs.items():
        if given.file is not None and table.publish is None:
            yield Problem(
                dotted([*home, "inputs", name]),
                "reaches a model by its URL alone: give the route a publish table, or put a public URL under params",
            )
