"""The operator's own files that routes name: graphs, and constants that go with every job.

Owns: the looks at them. What makes a file a graph is for the platform room, which lies above: its judgement is passed
in. Nothing here may keep what it read: a graph is read again when it is sent.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from renderdrop.model.errors import Problem
from renderdrop.model.names import shown
from renderdrop.settings import disk
from renderdrop.settings.keys import RouteTable
from renderdrop.settings.kinds import named
from renderdrop.settings.places import Place, inside_an_inbox
from renderdrop.settings.words import dotted

GraphFaults = Callable[[bytes, Collection[str]], list[str]]
_LARGEST: Final = 16 * 2**20
"""Bytes of a graph that are read: past what is taken for one, so that one too large is seen as such."""


def problems(
    name: str,
    table: RouteTable,
    absolute: Callable[[Path], Path],
    folders: Mapping[str, Sequence[Place]],
    graph_faults: GraphFaults,
) -> Iterator[Problem]:
    """What is wrong with the files that one route names; `folders` are those of all routes. Of those that do not answer
    now nothing is known: `warnings` tells them."""
    for given, each in table.inputs.items():
        if each.file is not None:
            yield from _fault(dotted(["routes", name, "inputs", given, "file"]), absolute(each.file), folders)
    if table.kind == "graph" and table.graph is not None:
        path, key = absolute(table.graph), dotted(["routes", name, "graph"])
        faults = list(_fault(key, path, folders))
        yield from faults or _graph(name, table, path, graph_faults)


def warnings(name: str, table: RouteTable, absolute: Callable[[Path], Path]) -> Iterator[Problem]:
    """The files that do not answer now. A share that hangs makes its routes wait, and is no reason not to start."""
    named = {dotted(["routes", name, "inputs", given, "file"]): each.file for given, each in table.inputs.items()}
    named[dotted(["routes", name, "graph"])] = table.graph if table.kind == "graph" else None
    for key, file in named.items():
        if file is not None and disk.file_fault(path := absolute(file)) == disk.SILENT:
            yield Problem(key, f"the file {shown(str(path))} {disk.SILENT}; the route's jobs wait until it answers")


def _fault(key: str, path: Path, folders: Mapping[str, Sequence[Place]]) -> Iterator[Problem]:
    fault = disk.file_fault(path)
    if fault and fault != disk.SILENT:
        way_out = "put it there, or name another" if fault == disk.MISSING else "mend that, or name another"
        yield Problem(key, f"the file {shown(str(path))} {fault}; {way_out}")
    elif route := inside_an_inbox(path, folders, disk.resolved):
        yield Problem(key, f'the file {shown(str(path))} lies in the inbox of route "{shown(route)}"; move it away')


def _graph(name: str, table: RouteTable, path: Path, graph_faults: GraphFaults) -> Iterator[Problem]:
    home = ["routes", name]
    try:
        data = disk.read(path, _LARGEST)
    except TimeoutError:
        return
    except OSError as error:
        message = f"the file {shown(str(path))} cannot be read ({error.strerror}); mend that, or name another"
        yield Problem(dotted([*home, "graph"]), message)
        return
    # A key that cannot point into any graph is told already; reading the graph once is enough where all is well.
    keys: dict[str, str] = {}
    for where, key in named(table):
        if all(key.partition(".")):
            keys.setdefault(key, where)
    if not graph_faults(data, keys):
        return
    if whole := graph_faults(data, ()):
        yield Problem(dotted([*home, "graph"]), f"{shown(str(path))}: {'; '.join(whole)}")
        return
    lists: dict[str, list[str]] = {}
    for key, where in keys.items():
        if faults := graph_faults(data, [key]):
            path_to = [*home, where] if where == "params_allowed" else [*home, where, key]
            lists.setdefault(dotted(path_to), []).extend(faults)
    for told, sentences in lists.items():
        yield Problem(told, "; ".join(sentences))
