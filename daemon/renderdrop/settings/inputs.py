"""What is dropped and what tickets may say: a route's inputs, bundles, matrix and allowed parameters.

Owns: the rules by which the inputs of one route fit together, and the defaults that follow from the others. Pure:
every function takes values and gives problems or what holds.
"""

from collections.abc import Collection, Iterator
from itertools import combinations
from math import prod
from typing import Final

from renderdrop.model.errors import Problem
from renderdrop.model.media import wanted
from renderdrop.model.names import fold, shown
from renderdrop.model.route import Bundling, Input
from renderdrop.settings.keys import RouteTable
from renderdrop.settings.kinds import RESERVED, is_link, named
from renderdrop.settings.values import is_odd
from renderdrop.settings.words import dotted

MOST_COMBINATIONS: Final = 1000


def dropped(table: RouteTable) -> tuple[Input, ...]:
    """The inputs that dropped files feed, in the order of the settings."""
    return tuple(
        Input(name, given.media, given.suffix or "", given.optional)
        for name, given in table.inputs.items()
        if given.media is not None
    )


def bundling(table: RouteTable) -> Bundling:
    """Which files make a job; where it is not written, several inputs need a common stem."""
    return table.bundle or ("stem" if len(dropped(table)) > 1 else "file")


def allowed(table: RouteTable) -> tuple[str, ...]:
    """The parameters that tickets may set."""
    if table.params_allowed is not None:
        return table.params_allowed
    links = [name for name in table.inputs if _takes_links(table, name)]
    return tuple(dict.fromkeys([*table.params, *table.matrix, *links]))


def problems(name: str, table: RouteTable, told: Collection[str] = ()) -> Iterator[Problem]:
    """Everything wrong with the names of one route's parameters and with how its inputs fit together.
    `told`: the keys that are known to be wrong; where an input is among them, the rest is not judged as a whole."""
    home = ["routes", name]
    yield from _names(home, table)
    key = dotted([*home, "inputs"])
    if not any(wrong == key or wrong.startswith(key + ".") for wrong in told):
        yield from _needs(home, table)
        if dotted([*home, "bundle"]) not in told:
            yield from _bundles(home, table)
        yield from _twins(home, table)
    count = prod(len(values) for values in table.matrix.values())
    if count > MOST_COMBINATIONS:
        yield Problem(
            dotted([*home, "matrix"]),
            f"makes {count} jobs of each file; at most {MOST_COMBINATIONS} are allowed: take values out",
        )


def _names(home: list[str], table: RouteTable) -> Iterator[Problem]:
    for where, field in named(table):
        listed = where == "params_allowed"
        key = dotted([*home, where] if listed else [*home, where, field])
        said = f'"{shown(field)}" ' if listed else ""
        if not field.strip() or is_odd(field):
            yield Problem(key, f"{said}is no name of a parameter: it is empty or holds control characters")
        elif table.kind == "app" and field in RESERVED:
            yield Problem(key, f'{said}is the route\'s own business; set "{RESERVED[field]}" on the route instead')
        elif where in ("params", "matrix") and field in table.inputs and not _is_default(table, where, field):
            fed = "which the dropped file fills" if table.inputs[field].file is None else "which its file fills"
            more = ", or make the input optional: then this is its default" if _is_text(table, field) else ""
            yield Problem(key, f"is also the route's input, {fed}; take one of them out{more}")
        elif where == "matrix" and field in table.params:
            yield Problem(key, "is also under params; take one of them out, since every job has one value of it")
        elif listed and field in table.inputs and not (_takes_links(table, field) or _is_text(table, field)):
            own = "a dropped file" if table.inputs[field].file is None else "the settings' own file"
            yield Problem(key, f"{said}is an input that {own} feeds, and no ticket can; take it out")


def _is_text(table: RouteTable, name: str) -> bool:
    return table.inputs[name].media == "text"


def _is_default(table: RouteTable, where: str, name: str) -> bool:
    """Whether a constant is what an optional text input has when no text is dropped."""
    return where == "params" and _is_text(table, name) and table.inputs[name].optional


def _takes_links(table: RouteTable, name: str) -> bool:
    """Whether a ticket may give public URLs for an input."""
    return table.kind == "model" and table.inputs[name].media is not None and is_link(table.inputs[name])


def _needs(home: list[str], table: RouteTable) -> Iterator[Problem]:
    key, here = dotted([*home, "inputs"]), dropped(table)
    if not here:
        message = 'must name at least one input that is dropped, such as { input_image = "image" }'
        yield Problem(key, message if table.inputs else message.replace(" that is dropped", ""))
    elif all(one.optional for one in here):
        yield Problem(key, "must name at least one input that is not optional, since something must be dropped")


def _bundles(home: list[str], table: RouteTable) -> Iterator[Problem]:
    here = dropped(table)
    if bundling(table) != "file":
        return
    if len(here) > 1:
        yield Problem(
            dotted([*home, "bundle"]),
            'is "file", which is for one dropped input; set "stem" (a.jpg with a.mp4) or "folder"',
        )
        return
    for one in here:
        if one.suffix:
            yield Problem(
                dotted([*home, "inputs", one.name, "suffix"]),
                'tells the files of a bundle apart, and here each file is a job; take it out, or set bundle = "stem"',
            )


def _twins(home: list[str], table: RouteTable) -> Iterator[Problem]:
    """Inputs between which a dropped file could not choose."""
    for first, second in combinations(dropped(table), 2):
        if fold(first.suffix) != fold(second.suffix):
            continue
        if isinstance(first.accepts, tuple) and isinstance(second.accepts, tuple):
            common = {fold(pattern) for pattern in first.accepts} & {fold(pattern) for pattern in second.accepts}
            same = wanted([pattern for pattern in first.accepts if fold(pattern) in common]) if common else ""
        else:
            same = wanted(first.accepts) if first.accepts == second.accepts else ""
        if same:
            end = f' whose name ends in "{shown(first.suffix)}"' if first.suffix else ""
            yield Problem(
                dotted([*home, "inputs", second.name]),
                f'takes {shown(same)}{end}, as "{shown(first.name)}" does, and nothing tells their files apart; give '
                'one of them a suffix, such as { media = "image", suffix = "_mask" }, or a pattern of its own',
            )
