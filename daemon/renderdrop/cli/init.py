"""`renderdrop init`: a settings file and a first route's folders, to begin with.

Owns the file's text. Never overwrites a settings file, and makes nothing at all from options that no settings
file could hold.
"""

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from renderdrop.cli.paper import line
from renderdrop.model.errors import Fault
from renderdrop.model.names import shown

_BASE_URL: Final = "https://art.huya.info"
_FOLDERS: Final = ("inbox", "outbox", "done", "failed")


@dataclass(frozen=True, slots=True)
class First:
    """The first route, as far as it is known. What is empty is left for the user to fill in."""

    route: str = "first"
    workflow_id: str = ""
    clusters: Sequence[str] = ()
    input: str = "input_image"
    media: str = "image"
    base_url: str = _BASE_URL


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to make the settings file and the folders.")],
    workflow_id: Annotated[str, typer.Option(help="The workflow's id on the platform.")] = "",
    cluster: Annotated[list[str] | None, typer.Option(help="A cluster that may run it; may be repeated.")] = None,
    input: Annotated[
        str, typer.Option(metavar="NAME=MEDIA", help="The workflow's parameter, and what is dropped for it.")
    ] = "input_image=image",
    route: Annotated[str, typer.Option(help="The route's name, and its folder's.")] = "first",
    base_url: Annotated[str, typer.Option(help="The platform's address.")] = _BASE_URL,
) -> None:
    """Make a settings file and the folders of a first route."""
    name, _, media = input.partition("=")
    first = First(route, workflow_id, tuple(cluster or ()), name, media or "image", base_url)
    if wrong := _problems(first):
        raise typer.BadParameter("; ".join(wrong))
    path = make(folder, first)
    line(f"Made {path} and the folders of route {route} below {path.parent / route}.")
    lacking = [key for key, there in (("workflow_id", workflow_id), ("clusters", cluster)) if not there]
    steps = [
        *([f"Fill in {' and '.join(lacking)} of the route in {path}."] if lacking else []),
        "Give it the platform's token: export RENDERDROP_TOKEN=AI-…, or name a file that holds it with token_file.",
        f"renderdrop check -c {path}",
        f"renderdrop run -c {path}",
        f"Drop files into {path.parent / route / 'inbox'}; results appear in {path.parent / route / 'outbox'}.",
    ]
    line("Next:")
    for number, step in enumerate(steps, 1):
        line(f"  {number}. {step}")


def make(folder: Path, first: First, more: str = "") -> Path:
    """Make the file (with `more` at its end) and the folders below `folder`; returns the file's absolute path.

    Raises Fault where a settings file is there already or something cannot be made.
    """
    path = Path(folder).absolute() / "renderdrop.toml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            file.write(text(first, local=_is_local(path.parent)) + more)
        for name in _FOLDERS:
            (path.parent / first.route / name).mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        if error.filename == str(path):
            raise Fault(f"{shown(str(path))} is there already and is left as it is; name another folder") from None
        raise Fault(f"{shown(str(error.filename))} is there and is not a folder; name another folder") from None
    except OSError as error:
        raise Fault(f"{shown(str(error.filename))} cannot be made: {error.strerror}; name another folder") from None
    return path


def text(first: First, *, local: bool = True) -> str:
    """The settings file. `local`: beside it is a place for the ledger, which no network file system is."""
    route = _quoted(first.route)
    key = first.route if re.fullmatch(r"[A-Za-z0-9_-]+", first.route) else route
    clusters = ", ".join(_quoted(cluster) for cluster in first.clusters)
    state = 'state_dir = "state"' if local else '# state_dir = "/var/lib/renderdrop"'
    return f"""\
# renderdrop: drop a file into {shown(first.route)}/inbox, get the render back in {shown(first.route)}/outbox.
# After a change: `renderdrop check`. Every key with its default: `renderdrop schema settings`.

[platform]
base_url = {_quoted(first.base_url)}
# The token never stands here. Export RENDERDROP_TOKEN, or name a file (mode 0600) that holds it alone:
# token_file = "token"

[daemon]
# The ledger's folder, on a local disk.
{state}

[routes.{key}]
# Relative to this file; it holds inbox, outbox, done and failed.
folder = {route}
# The workflow's id on the platform.
workflow_id = {_quoted(first.workflow_id)}
# Where it may run, in order of preference; `renderdrop clusters` lists them.
clusters = [{clusters}]
# The workflow's parameter that the dropped file feeds, and what may be dropped: image, video, audio, text or any.
inputs = {{ {_quoted(first.input)} = {_quoted(first.media)} }}
# Constants that go with every file.
# params = {{ prompt = "oil painting" }}
"""


def _quoted(value: str) -> str:
    """A TOML string: JSON's is one, but for the DEL character, which TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _problems(first: First) -> list[str]:
    """What of the options no settings file could hold; what is merely not given yet is none."""
    from renderdrop.settings import checks
    from renderdrop.settings.source import Written
    from renderdrop.settings.words import dotted, judged

    try:
        tree = tomllib.loads(text(first))
    except (tomllib.TOMLDecodeError, UnicodeError):
        return ["names must be UTF-8 text"]
    settings, problems = judged(Written(tree, {}))
    left = {dotted(["routes", first.route, "workflow_id"]): first.workflow_id,
            dotted(["routes", first.route, "clusters"]): first.clusters}  # fmt: skip
    problems += checks.problems(settings, {problem.key for problem in problems})
    return [str(problem) for problem in problems if left.get(problem.key, True)]


def _is_local(folder: Path) -> bool:
    from renderdrop.share.mounts import mount_of

    return not mount_of(folder).network
