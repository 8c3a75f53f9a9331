"""The few questions that the settings ask of the machine, each one a tiny function.

Owns: looking. It must never create or change anything, and open only what it is asked to read: `check` may be run by
anybody, anywhere. And it must never wait for long: one share that hangs is no reason not to start with the others.
"""

import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

MISSING: Final = "does not exist"
SILENT: Final = "does not answer; its server or its mount hangs"
_PATIENCE: Final = 3.0
"""Seconds for one question."""
_ASKED_AGAIN: Final = 30.0
"""Seconds for which nothing is asked beside what did not answer: so a share costs the patience for one question."""
_silent: Final[dict[Path, float]] = {}
"""What did not answer, and when (monotonic): itself, not the folder that it lies in, which may hold other mounts."""


def folder_fault(path: Path) -> str | None:
    """None if a folder is there, else what is wrong as the end of a sentence; MISSING where nothing is there, SILENT
    where that cannot be told."""
    try:
        mode = _asked(path, path.stat).st_mode
    except FileNotFoundError:
        return MISSING
    except TimeoutError:
        return SILENT
    except (OSError, ValueError) as error:
        return f"cannot be reached ({getattr(error, 'strerror', None) or error})"
    return None if stat.S_ISDIR(mode) else "is not a folder"


def file_fault(path: Path) -> str | None:
    """None if a file with something in it is there and can be read, else what is wrong as the end of a sentence;
    MISSING and SILENT as with folders."""
    try:
        found = _asked(path, path.stat)
    except FileNotFoundError:
        return MISSING
    except TimeoutError:
        return SILENT
    except (OSError, ValueError) as error:
        return f"cannot be reached ({getattr(error, 'strerror', None) or error})"
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if not found.st_size:
        return "is empty"
    return None if os.access(path, os.R_OK) else "cannot be read by the user that runs renderdrop"


def read(path: Path, most: int) -> bytes:
    """The first `most` bytes of a regular file. Raises OSError."""

    def look() -> bytes:
        # Non-blocking: a pipe in its place must not hold us up.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(most)

    return _asked(path, look)


def resolved(path: Path) -> Path:
    """The path without links, as far as it exists; a loop of links is left as it stands, and so is what does not
    answer."""
    try:
        return Path(_asked(path, lambda: os.path.realpath(path)))
    except TimeoutError:
        return path


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


def _asked(path: Path, question: Callable[[], T]) -> T:
    """The answer to a question about a path. Raises what the question does, or TimeoutError with the word SILENT."""
    now = time.monotonic()
    if any(now - _silent.get(at, -_ASKED_AGAIN) < _ASKED_AGAIN for at in (path, *path.parents)):
        raise TimeoutError(errno.ETIMEDOUT, SILENT)
    answers: list[T] = []
    errors: list[Exception] = []
    at = path

    def ask() -> None:
        # From the top down: where this stays is where it hangs, and all that lies below hangs with it.
        nonlocal at
        try:
            for at in reversed(path.parents):
                with suppress(OSError, ValueError):
                    os.stat(at)
            at = path
            answers.append(question())
        except Exception as error:  # noqa: BLE001 - raised again where it was asked
            errors.append(error)

    asking = threading.Thread(target=ask, name="question", daemon=True)
    asking.start()
    asking.join(_PATIENCE)
    if errors:
        raise errors[0]
    if not answers:
        _silent[at] = time.monotonic()
        raise TimeoutError(errno.ETIMEDOUT, SILENT)
    return answers[0]
