"""What must not be sent although it settled. Pure; the sentences are read by whoever dropped the file."""

from typing import Final

from renderdrop.model.media import takes, wanted
from renderdrop.model.names import shown
from renderdrop.model.route import Route

_KINDS: Final = {
    "link": "is a symbolic link, and links are not followed: drop the file itself",
    "fifo": "is a named pipe: drop an ordinary file",
    "socket": "is a socket: drop an ordinary file",
    "device": "is a device: drop an ordinary file",
}


def refusal(route: Route, path: str, kind: str) -> str | None:
    """Why a settled path fails at once; None when it may become a task."""
    name = shown(path.rpartition("/")[2])
    if kind != "file":
        return f"{name} {_KINDS.get(kind, 'is no ordinary file')}."
    if not takes(route.accepts, name):
        return f"{name} is not what this folder takes: it wants {wanted(route.accepts)}."
    return None
