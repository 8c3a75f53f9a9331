"""inotify's hints, by watchdog: they may start a look early and are never believed beyond that.

Owns the observer and its failings: an overflow of the kernel's queue shows only as a log line of watchdog's
own, so a log handler turns it into "sweep everything"; a dead emitter or an inbox that was made anew is
noticed at each sweep and watched again. Used on local file systems alone.
"""

import errno
import logging
import os
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog
from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import ObservedWatch
from watchdog.observers.inotify import InotifyObserver

from renderdrop.share.signs import sign_of_life

log = structlog.get_logger()

_WANTED: Final[list[type[FileSystemEvent]]] = [
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirMovedEvent,
]

_TURN: Final = 2.0
"""Seconds that an inbox waits for its turn: one that hangs while its folders are walked must hold up no other."""

_DEEPEST: Final = 300
"""Folders below each other that are watched: `os.walk`, which watchdog uses too, recurses before Python 3.12."""

Hint = Callable[[str | None], None]
"""Called from watchdog's thread with the absolute path that changed; None: anything may have changed."""


class Watcher:
    """All inotify watches of the daemon."""

    def __init__(self) -> None:
        self._observer: InotifyObserver | None = None
        self._watches: dict[Path, tuple[ObservedWatch, tuple[int, int]]] = {}
        self._hints: dict[Path, Hint] = {}
        self._overflow = _OverflowHandler(self._sweep_all)
        # Every inbox is visited in a thread of its own, and all of them share one observer.
        self._one_at_a_time = threading.RLock()

    def keep(self, inbox: Path, hint: Hint) -> None:
        """Watch an inbox, or make sure that it still is watched, with `hint` in the place of an earlier one. Whoever
        takes over in that way sweeps afterwards. Raises OSError where inotify refuses (its limits), and for a tree that
        is too deep."""
        if not self._one_at_a_time.acquire(timeout=_TURN):
            raise OSError(errno.EBUSY, "another inbox does not answer while its watch is set up")
        try:
            self._keep(inbox, hint)
        finally:
            self._one_at_a_time.release()

    def drop(self, inbox: Path) -> None:
        """Hint at an inbox no longer; unknown ones are fine. Never waits: what the kernel still watches of it is taken
        down when another inbox is kept."""
        self._hints.pop(inbox, None)

    def _keep(self, inbox: Path, hint: Hint) -> None:
        self._hints[inbox] = hint
        for dropped in [watched for watched in self._watches if watched not in self._hints]:
            self._unwatch(dropped)
        root = Path(os.path.realpath(inbox))
        stat = os.stat(root)
        identity = (stat.st_dev, stat.st_ino)
        if inbox in self._watches:
            watch, watched = self._watches[inbox]
            if watched == identity and self._is_alive(watch) and self._reads():
                return
            log.info("watch_renewed", path=str(inbox))
            self._unwatch(inbox)
        if not self._reads():
            self._start()
        assert self._observer is not None
        for folder, _, _ in os.walk(root):
            # The observer walks through it without a word; after this it does so in no time.
            sign_of_life()
            if folder.count("/") - str(root).count("/") > _DEEPEST:
                raise OSError(
                    errno.ELOOP, f"more than {_DEEPEST} folders lie one in the other; the sweep alone finds files"
                )
        handler = _Handler(inbox, self._hints)
        watch = self._observer.schedule(handler, str(root), recursive=True, event_filter=_WANTED)
        self._watches[inbox] = (watch, identity)
        hint(None)  # what came between the last sweep and this watch was seen by neither

    def _unwatch(self, inbox: Path) -> None:
        watch, _ = self._watches.pop(inbox, (None, None))
        if watch is not None and self._observer is not None:
            try:
                self._observer.unschedule(watch)
            except (KeyError, OSError):
                pass  # it died before

    def stop(self) -> None:
        """End the observer's threads."""
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self._overflow)
        self._end()

    def _end(self) -> None:
        if self._observer is not None and self._observer.is_alive():
            try:
                self._observer.stop()
            except (KeyError, OSError):
                pass  # folders that changed places too fast have left its books in disorder; its threads end with us
            self._observer.join(timeout=2.0)

    def _reads(self) -> bool:
        """Whether the thread lives that reads the kernel's events for all inboxes. It dies of a tree that is made too
        deep while it is watched, and no emitter tells."""
        return self._observer is not None and self._observer.is_alive() and self._observer._inotify_fd.is_alive()

    def _start(self) -> None:
        self._end()
        for name in _LOGGERS:
            logging.getLogger(name).addHandler(self._overflow)
            logging.getLogger(name).addFilter(_worth_telling)
        # A folder made inside a folder just made is met twice, by its event and by the walk: harmless, yet warned of.
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
        self._observer = InotifyObserver()
        self._observer.daemon = True
        self._observer.start()
        self._watches.clear()

    def _is_alive(self, watch: ObservedWatch) -> bool:
        assert self._observer is not None
        return any(emitter.watch == watch and emitter.is_alive() for emitter in self._observer.emitters)

    def _sweep_all(self) -> None:
        for hint in list(self._hints.values()):
            hint(None)


_LOGGERS: Final = ("watchdog.observers.inotify_c", "watchdog.observers.inotify")


def _worth_telling(record: logging.LogRecord) -> bool:
    """watchdog calls it an error when a watch is taken down while its thread waits: that is how we end one."""
    return "called when the thread is inactive" not in record.getMessage()


class _OverflowHandler(logging.Handler):
    """watchdog tells of lost events by a log warning and by nothing else."""

    def __init__(self, lost: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._lost = lost

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._lost()


class _Handler(FileSystemEventHandler):
    """Turns events into hints, as fast as it can: while it works, the kernel's queue fills. `hints` are looked into
    each time: who is told changes when settings are read again."""

    def __init__(self, inbox: Path, hints: Mapping[Path, Hint]) -> None:
        self._inbox = inbox
        self._hints = hints

    def on_any_event(self, event: FileSystemEvent) -> None:
        if (hint := self._hints.get(self._inbox)) is None:
            return
        path = event.dest_path if isinstance(event, (FileMovedEvent, DirMovedEvent)) else event.src_path
        # A new folder may hold files that came before its watch: only a sweep finds them.
        hint(None if event.is_directory else os.fsdecode(path))
