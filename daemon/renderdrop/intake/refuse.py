"""What must not be sent although it settled. Pure; the sentences are read by whoever dropped the file."""

from typing import Final

from renderdrop.intake.fit import fitting
from renderdrop.model.media import wanted
from renderdrop.model.names import shown
from renderdrop.model.route import Input, Route

_KINDS: Final = {
    "link": "it is a symbolic link, and links are not followed; drop the file itself",
    "fifo": "it is a named pipe; drop an ordinary file",
    "socket": "it is a socket; drop an ordinary file",
    "device": "it is a device; drop an ordinary file",
}
_NONE_OF: Final = {1: "none", 2: "neither"}


def refusal(route: Route, path: str, kind: str) -> str | None:
    """Why a settled path fails at once; None when it may become a task."""
    if kind != "file":
        return _KINDS.get(kind, "it is no ordinary file")
    if not fitting(route, path):
        none = _NONE_OF.get(len(route.inputs), "none of them")
        return f"this folder takes {taken(route)}, and by its name this is {none}"
    return None


def taken(route: Route) -> str:
    """What a route's folder takes, for people: "an image", "an image (input_image) and a video (input_video)"."""
    if len(route.inputs) == 1:
        return described(route.inputs[0])
    return listed([f"{described(given)} ({given.name})" for given in route.inputs])


def described(given: Input) -> str:
    """One input's files, for people: "an image whose name ends in _mask"."""
    return wanted(given.accepts) + (f" whose name ends in {shown(given.suffix)}" if given.suffix else "")


def listed(words: list[str]) -> str:
    """ "a, b and c" """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
