"""From a path and an environment to settings that can be run with, or to every reason why not.

Owns: the order of the steps, and what `Loaded` is. It must never stop at the first problem.
"""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from renderdrop.model.errors import BrokenSettings, Problem
from renderdrop.model.names import shown
from renderdrop.model.route import Route
from renderdrop.settings import checks, disk, files, kinds, secret
from renderdrop.settings.build import route
from renderdrop.settings.files import GraphFaults
from renderdrop.settings.keys import Settings
from renderdrop.settings.places import Place, chains, inside_an_inbox, missing, overlaps, places, rings, unnamed
from renderdrop.settings.source import written
from renderdrop.settings.words import dotted, judged, naming_variables

FILE_NAME: Final = "renderdrop.toml"
SYSTEM_FILE: Final = Path("/etc/renderdrop") / FILE_NAME
_STATE_KEY: Final = "daemon.state_dir"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings that passed every check. All paths are absolute; `routes` are the enabled ones."""

    settings: Settings
    routes: tuple[Route, ...]
    token: SecretStr
    path: Path
    state_dir: Path
    warnings: tuple[Problem, ...]


def find_config(explicit: Path | None, environ: Mapping[str, str]) -> Path:
    """The settings file to read: `explicit`, else $RENDERDROP_CONFIG, else the first of the two usual places.

    Raises BrokenSettings where nothing was asked for and none of the usual places has one.
    """
    if explicit is not None:
        return explicit
    if named := environ.get("RENDERDROP_CONFIG"):
        return Path(named)
    usual = (Path.cwd() / FILE_NAME, SYSTEM_FILE)
    for path in usual:
        if os.path.isfile(path):
            return path
    looked = " and ".join(shown(str(path)) for path in usual)
    way_out = "name one with --config or $RENDERDROP_CONFIG, or make one with `renderdrop init DIR`"
    raise BrokenSettings([Problem(FILE_NAME, f"there is no settings file; looked at {looked}; {way_out}")])


def load(
    path: Path,
    environ: Mapping[str, str],
    *,
    network_fs: Callable[[Path], str | None] = lambda _: None,
    known_inboxes: Callable[[Path], Collection[Path]] = lambda _: (),
    graph_faults: GraphFaults = lambda _data, _keys: [],
    store_installed: bool = True,
) -> Loaded:
    """Read and check everything.

    `network_fs` names the network file system that an existing path is on, None for a local one.
    `known_inboxes` gives, for the state folder, the inboxes that were there before: where one of them is missing
    now its share is offline, which is no fault of the settings.
    `graph_faults` gives, for a graph file's bytes and keys such as "73.image", a sentence for what is wrong with the
    graph, or else for each key that it does not have.
    `store_installed`: whether the object store's package is there. Raises BrokenSettings with every problem.
    """
    path = Path(os.path.abspath(path))
    source = written(path, environ)
    settings, problems = judged(source)

    def absolute(given: Path) -> Path:
        home = environ.get("HOME", "")
        if home and given.parts[:1] == ("~",):
            given = Path(home, *given.parts[1:])
        # ".." stays: behind a link it means another folder than the text suggests.
        return path.parent / given

    told = {problem.key for problem in problems}
    enabled = {name: table for name, table in settings.routes.items() if table.enabled}
    folders = {name: places(name, table, absolute) for name, table in enabled.items()}
    problems += checks.problems(settings, told)
    state_dir = _state_dir(settings, environ, absolute)
    known = known_inboxes(state_dir) if state_dir is not None else ()
    feeds = chains(folders, disk.resolved)
    for name, table in enabled.items():
        problems += unnamed(name, table, _taken_out(name, told))
        if not _known(folders[name], known):
            problems += missing(folders[name], disk.folder_fault, fed=name in feeds.values())
        problems += files.problems(name, table, absolute, folders, graph_faults)
    problems += overlaps(folders, disk.resolved)
    problems += rings(folders, feeds)

    if _STATE_KEY not in told:
        problems += _state_problems(state_dir, folders, network_fs)
    token_file = settings.platform.token_file
    found = secret.find(absolute(token_file) if token_file else None, environ)
    if secret.KEY not in told:
        problems += found.problems
    if problems or state_dir is None or found.token is None:
        raise BrokenSettings(naming_variables(problems, source.variables))
    lacking = [] if store_installed else [w for name, table in enabled.items() for w in kinds.no_store(name, table)]
    silent = [problem for name, table in enabled.items() for problem in files.warnings(name, table, absolute)]
    return Loaded(
        settings=settings,
        routes=tuple(route(name, table, folders[name], absolute, feeds) for name, table in enabled.items()),
        token=found.token,
        path=path,
        state_dir=state_dir,
        warnings=tuple(
            naming_variables([*checks.warnings(settings), *lacking, *silent, *found.warnings], source.variables)
        ),
    )


def _taken_out(route: str, told: Collection[str]) -> set[str]:
    prefix = dotted(["routes", route]) + "."
    return {key.removeprefix(prefix) for key in told if key.startswith(prefix)}


def _known(route: list[Place], known: Collection[Path]) -> bool:
    return any(p.role == "inbox" and (p.path in known or disk.resolved(p.path) in known) for p in route)


def _state_dir(settings: Settings, environ: Mapping[str, str], absolute: Callable[[Path], Path]) -> Path | None:
    if settings.daemon.state_dir is not None:
        return absolute(settings.daemon.state_dir)
    if given := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(given)
    # The XDG specification has relative paths ignored.
    if os.path.isabs(base := environ.get("XDG_STATE_HOME", "")):
        return Path(base, "renderdrop")
    return Path(home, ".local", "state", "renderdrop") if (home := environ.get("HOME", "")) else None


def _state_problems(
    state_dir: Path | None, folders: Mapping[str, list[Place]], network_fs: Callable[[Path], str | None]
) -> list[Problem]:
    key = _STATE_KEY
    if state_dir is None:
        return [
            Problem(key, 'there is no home to put it under; write it, for example state_dir = "/var/lib/renderdrop"')
        ]
    folder = shown(str(state_dir))
    if fault := disk.write_fault(state_dir):
        return [
            Problem(key, f"the folder {folder} {fault}; let the user that runs renderdrop write there, or name another")
        ]
    if kind := network_fs(disk.nearest(state_dir)):
        way_out = "name a folder on a local one, since the ledger's locks do not hold over a network"
        return [Problem(key, f"the folder {folder} is on a network file system ({shown(kind)}); {way_out}")]
    if route := inside_an_inbox(state_dir, folders, disk.resolved):
        return [Problem(key, f'the folder {folder} lies in the inbox of route "{shown(route)}"; name another')]
    return []
