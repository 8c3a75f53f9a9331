"""Files of the operator's own, which the settings name: constant inputs and graphs. Read, and nothing else.

They lie where the operator wants, links included; what people drop can never name one.
"""

import os
import stat
from pathlib import Path

from renderdrop.model.errors import RouteDown
from renderdrop.model.names import shown
from renderdrop.share.source import SourceFile
from renderdrop.share.trouble import reason

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_LARGEFILE


def open_own(path: Path) -> SourceFile:
    """Open a file that the settings name. Raises RouteDown."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError as exc:
        raise RouteDown(f"the file {shown(str(path))} of the settings cannot be read: {reason(exc)}") from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise RouteDown(f"{shown(str(path))} of the settings is no ordinary file")
    return SourceFile(fd, shown(path.name))


def read_own(path: Path, cap: int) -> bytes:
    """The whole of such a file. Raises RouteDown, also for one of more than `cap` bytes."""
    with open_own(path) as file:
        data = file.read(0, cap + 1)
        if len(data) > cap:
            raise RouteDown(f"the file {shown(str(path))} of the settings is larger than {cap} bytes")
        return data
