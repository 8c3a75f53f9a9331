"""What must not be sent although it settled. Pure; the sentences are read by whoever dropped the file."""

from typing import Final

from renderdrop.model.media import takes, wanted
from renderdrop.model.route import Route

_KINDS: Final = {
    "link": "it is a symbolic link, and links are not followed; drop the file itself",
    "fifo": "it is a named pipe; drop an ordinary file",
    "socket": "it is a socket; drop an ordinary file",
    "device": "it is a device; drop an ordinary file",
}


def refusal(route: Route, path: str, kind: str) -> str | None:
    """Why a settled path fails at once; None when it may become a task."""
    if kind != "file":
        return _KINDS.get(kind, "it is no ordinary file")
    if not takes(route.accepts, path.rpartition("/")[2]):
        return f"this folder takes {wanted(route.accepts)}, and by its name this is none"
    return None
