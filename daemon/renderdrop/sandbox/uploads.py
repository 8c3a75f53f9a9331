"""The files that were uploaded for graphs, by the names that the platform gave them.

Owns: those names, and what was forgotten since: a platform clears its input folder when it likes, and says so
only when a graph names what is gone. Must never take a caller's name for its own.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from renderdrop.sandbox.tasks import Upload


@dataclass(slots=True)
class _Kept:
    upload: Upload
    """`filename` is the platform's name for it."""
    sent_as: str
    at: float
    forgotten: bool = False


class Uploads:
    """All uploads; `late_missing` says how a graph is met that names a forgotten one, see `graphs.py`."""

    def __init__(self, *, late_missing: bool = False) -> None:
        self._kept: dict[str, _Kept] = {}
        self.late_missing = late_missing

    def keep(self, upload: Upload, at: float) -> str:
        """Its new name, like no other's even where the same file comes twice; `at` is seconds since 1970."""
        name = f"{uuid.uuid4().hex[:12]}_{_cleaned(upload.filename)}"
        self._kept[name] = _Kept(replace(upload, filename=name), upload.filename, at)
        return name

    def here(self) -> Mapping[str, Upload]:
        """What a graph may name."""
        return {name: kept.upload for name, kept in self._kept.items() if not kept.forgotten}

    def lost(self) -> Mapping[str, Upload]:
        """What was there and is forgotten."""
        return {name: kept.upload for name, kept in self._kept.items() if kept.forgotten}

    def forget(self, name: str | None = None) -> list[str]:
        """Forget one, or (None) all; returns the names. Raises KeyError for one that never was."""
        names = list(self.here()) if name is None else [name]
        for each in names:
            self._kept[each].forgotten = True
        return names

    def told(self) -> list[dict[str, Any]]:
        """All of them as plain JSON values, in the order in which they came."""
        return [
            {
                "filename": name,
                "size": kept.upload.size,
                "sha256": kept.upload.sha256,
                "at": kept.at,
                "sent_as": kept.sent_as,
                "content_type": kept.upload.content_type,
                "forgotten": kept.forgotten,
            }
            for name, kept in self._kept.items()
        ]


def _cleaned(filename: str) -> str:
    stem, suffix = Path(filename).stem, Path(filename).suffix
    stem = re.sub(r"[^\w.-]+", "_", stem).encode()[:120].decode(errors="ignore")
    return stem + re.sub(r"[^\w.]+", "_", suffix)[:16]
