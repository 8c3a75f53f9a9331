"""What files are called in outbox, done and failed. Pure: the names that are taken are passed in.

Owns the rule that nothing is ever overwritten and that one job's files share one base name: a taken NAME
becomes NAME-2, NAME-3, … for the whole job. Names are compared NFC and case-folded, and kept byte for byte.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from renderdrop.model.media import extension
from renderdrop.model.names import NOTICE_JSON, clean, cut, fold, notices, numbered, split_ext

SIDECAR: Final = ".json"
_BEGIN: Final = 32
"""Characters: shorter than any stem is ever cut to."""
_EXTENSION: Final = re.compile(r"\.[A-Za-z0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Plan:
    """The names of one delivery, all bare. `source`: the source's name in done/ (None: it is not moved there)."""

    base: str
    files: tuple[str, ...]
    sidecar: str
    source: str | None


def base_name(pattern: str, *, stem: str, route: str, job: str, task: str, date: str, workflow: str) -> str:
    """`output_name` filled in. The stem is the dropped file's own and stays as it is; what others chose is cleaned."""
    values = {
        "stem": stem, "route": clean(route), "job": job, "task": clean(task, "task"), "date": date,
        "workflow": clean(workflow, "workflow"),
    }  # fmt: skip
    base = re.sub(r"\{(\w+)\}", lambda m: values[m[1]], pattern).lstrip(".")
    return base or stem


def output_extension(url: str, media_type: str | None) -> str:
    """An output's extension with its dot: from the name in its URL, else from its media type, else none."""
    try:
        parts = urlsplit(url)
        names = [*parse_qs(parts.query).get("filename", []), unquote(parts.path)]
    except ValueError:
        names = []
    for name in names:
        ext = split_ext(re.split(r"[/\\]", name)[-1])[1]
        if _EXTENSION.fullmatch(ext):
            return ext
    return extension(media_type or "")


def plan(
    base: str,
    extensions: Sequence[str],
    *,
    source: str | None,
    outbox: Collection[str],
    done: Collection[str],
    reserved: Collection[str] = (),
) -> Plan:
    """The first free names. `outbox` and `done` hold the names that are taken there, folded or not; `reserved` the
    base names that other deliveries have chosen already. `source` is None where the source is not moved."""
    tails = _tails(extensions)
    longest = max([*tails, SIDECAR, ".error.json"], key=len)
    taken, stems = {fold(n) for n in outbox}, {fold(split_ext(n)[0]) for n in outbox if split_ext(n)[1]}
    taken_done, held = {fold(n) for n in done}, {fold(b) for b in reserved}
    for n in count(1):
        suffix = f"-{n}" if n > 1 else ""
        this = cut(base, suffix + longest).removesuffix(longest)
        files = tuple(this + tail for tail in tails)
        stored = None if source is None else numbered(source, n)
        # By what we put together and not by a file's last dot: that may be the base's own, and then no number helps.
        bases = {fold(this), *(fold(this + split_ext(f"x{tail}")[0][1:]) for tail in tails)}
        if bases & (stems | held) or any(fold(f) in taken for f in (*files, this + SIDECAR)):
            continue
        if stored is None or fold(stored) not in taken_done:
            return Plan(this, files, this + SIDECAR, stored)
    raise AssertionError("count() does not end")


def alike(name: str, taken: Collection[str]) -> list[str]:
    """Those of the taken names that could collide with any name made of `name`'s stem: they begin like it."""
    begin = fold(split_ext(name)[0])[:_BEGIN]
    return [other for other in taken if fold(other).startswith(begin)]


def free_to_store(source: str, taken: Collection[str]) -> str:
    """The first name under which a source and both of its notices are free in failed/."""
    folded = {fold(n) for n in taken}
    for n in count(1):
        name = _noted(source, n)
        if not any(fold(f) in folded for f in (name, *notices(name))):
            return name
    raise AssertionError("count() does not end")


def _noted(source: str, n: int) -> str:
    """As `numbered`, but so short that its notices' names hold the number too: else no number would ever be free."""
    if n < 2:
        return source
    name = numbered(source, n)
    while cut(name, NOTICE_JSON) != name + NOTICE_JSON:
        stem, ext = split_ext(source)
        source = stem[:-1] + ext if len(stem) > 1 else source[:-1]
        name = numbered(source, n)
    return name


def _tails(extensions: Sequence[str]) -> list[str]:
    """One output takes the base name itself; several are numbered, and so is one that would be the sidecar."""
    if len(extensions) == 1 and fold(extensions[0]) != SIDECAR:
        return list(extensions)
    return [f"_{i}{ext}" for i, ext in enumerate(extensions, 1)]
