"""What is never taken from an inbox: the list of DESIGN 2 and the operator's own patterns. Pure.

Owns: the rules and how a name is held against them, before anything is opened or descended into. Comparison ignores
case and Unicode form, because Windows and macOS write `THUMBS.DB` and `desktop.ini` as they please.
"""

import fnmatch
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from renderdrop.model.names import fold

NAMES: Final = (
    ".*", "~$*", "*~", "*.tmp", "*.temp", "*.part", "*.partial", "*.filepart", "*.crdownload", "*.download",
    "*.uploading", "*.swp", "Thumbs.db", "desktop.ini",
)  # fmt: skip
"""Files and folders of these names: hidden ones (`._*`, `.smbdelete*`, `.nfs*`, `.fuse_hidden*`, rsync's
`.NAME.` with six letters behind it and our own `.renderdrop*` among them) and what programs call a file that is not
finished."""

FOLDERS: Final = (
    "@eaDir", "#recycle", "@Recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information", "lost+found",
    "__MACOSX",
)  # fmt: skip
"""Folders that systems and NAS makers put beside people's files; those that begin with a dot are in NAMES."""


class _Rules:
    """Patterns of bare names; `rule` gives back the pattern that matched, as it was written."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._each = [(pattern, re.compile(fnmatch.translate(fold(pattern)))) for pattern in patterns]
        # One expression for the common answer, "none": a sweep asks it for every file.
        self._any = re.compile("|".join(rule.pattern for _, rule in self._each) or r"(?!)")

    def rule(self, folded: str) -> str | None:
        if not self._any.match(folded):
            return None
        return next(pattern for pattern, rule in self._each if rule.match(folded))


class Ignore:
    """The ignore list with the operator's patterns added.

    A pattern without a slash is held against every bare name, of a file or a folder (`*.psd`; `**/*.psd` is the same);
    one with a slash against the path below the inbox, `**` standing for any number of folders (`raw/**`, `a/**/*.png`);
    a slash at the end means folders only (`old/`). An ignored folder is ignored with all that is in it.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        bare: list[str] = []
        bare_folders: list[str] = []
        self._paths: list[tuple[str, list[str], bool]] = []
        for pattern in patterns:
            core, only_folders = pattern.strip("/"), pattern.endswith("/")
            if core.startswith("**/") and "/" not in core[3:]:
                core = core[3:]
            if not core:
                continue
            if "/" in core or pattern.startswith("/"):
                self._paths.append((pattern, fold(core).split("/"), only_folders))
            else:
                (bare_folders if only_folders else bare).append(core)
        self._names = _Rules([*NAMES, *bare])
        self._folders = _Rules([*FOLDERS, *bare_folders])

    def name(self, name: str) -> bool:
        """Whether a file of that bare name is ignored wherever it lies."""
        return self._names.rule(fold(name)) is not None

    def folder(self, name: str) -> bool:
        """Whether a folder of that bare name is ignored wherever it lies, with all that is in it."""
        folded = fold(name)
        return self._names.rule(folded) is not None or self._folders.rule(folded) is not None

    def here(self, rel: str, is_folder: bool) -> str | None:
        """The rule that ignores this path by itself, its folders being known as not ignored."""
        name = fold(rel.rpartition("/")[2])
        found = self._names.rule(name) or (self._folders.rule(name) if is_folder else None)
        if found is None and self._paths:
            names = fold(rel).split("/")
            for pattern, globs, only_folders in self._paths:
                if (is_folder or not only_folders) and _along(names, globs):
                    return pattern
        return found

    def path(self, rel: str, is_folder: bool) -> str | None:
        """The rule that ignores this path or a folder above it; None where it would be looked at."""
        ways = list(accumulate(rel.split("/"), lambda above, name: f"{above}/{name}"))
        for way in ways:
            if rule := self.here(way, is_folder or way != rel):
                return rule
        return None


def _along(names: Sequence[str], globs: Sequence[str]) -> bool:
    if not globs:
        return not names
    if globs[0] == "**":
        if len(globs) == 1:
            return bool(names)
        return any(_along(names[skip:], globs[1:]) for skip in range(len(names)))
    return bool(names) and fnmatch.fnmatchcase(names[0], globs[0]) and _along(names[1:], globs[1:])
