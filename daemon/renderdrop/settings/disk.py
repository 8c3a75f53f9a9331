"""The few questions that the settings ask of the machine, each one a tiny function.

Owns: looking. It must never create or change anything, and open only what it is asked to read: `check` may be run by
anybody, anywhere.
"""

import os
import stat
from pathlib import Path
from typing import Final

MISSING: Final = "does not exist"


def folder_fault(path: Path) -> str | None:
    """None if a folder is there, else what is wrong as the end of a sentence; MISSING where nothing is there."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return MISSING
    except (OSError, ValueError) as error:
        return f"cannot be reached ({getattr(error, 'strerror', None) or error})"
    return None if stat.S_ISDIR(mode) else "is not a folder"


def file_fault(path: Path) -> str | None:
    """None if a file with something in it is there and can be read, else what is wrong as the end of a sentence."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return MISSING
    except (OSError, ValueError) as error:
        return f"cannot be reached ({getattr(error, 'strerror', None) or error})"
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if not found.st_size:
        return "is empty"
    return None if os.access(path, os.R_OK) else "cannot be read by the user that runs renderdrop"


def read(path: Path, most: int) -> bytes:
    """The first `most` bytes of a regular file. Raises OSError."""
    # Non-blocking: a pipe in its place must not hold us up.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(most)


def resolved(path: Path) -> Path:
    """The path without links, as far as it exists; a loop of links is left as it stands."""
    return Path(os.path.realpath(path))


def nearest(path: Path) -> Path:
    """The path itself or the first of its parents that is there."""
    return next((p for p in (path, *path.parents) if folder_fault(p) != MISSING), path)


def write_fault(path: Path) -> str | None:
    """None if the folder can be written to, or made; else why not, as the end of a sentence."""
    there = nearest(path)
    if fault := folder_fault(there):
        return fault if there == path else f"cannot be made, because {there} {fault}"
    if os.access(there, os.W_OK | os.X_OK):
        return None
    return "cannot be written to" if there == path else f"cannot be made, because {there} cannot be written to"
