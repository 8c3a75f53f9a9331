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

from renderdrop.model.job import Job, Source
from renderdrop.model.media import ACTIVE, extension
from renderdrop.model.names import NOTICE_JSON, clean, cut, fold, notices, numbered, split_ext

SIDECAR: Final = ".json"
_BEGIN: Final = 32
"""Characters: shorter than any stem is ever cut to."""
_EXTENSION: Final = re.compile(r"\.[A-Za-z0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Plan:
    """The names of one delivery, all bare. `number`: what its sources are numbered with in done/."""

    base: str
    files: tuple[str, ...]
    sidecar: str
    number: int


def base_name(
    pattern: str, *, stem: str, route: str, job: str, task: str, date: str, workflow: str, label: str = ""
) -> str:
    """`output_name` filled in. The stem is the dropped file's own and stays as it is; what others chose is cleaned.
    A label, which tells a matrix's combinations apart, comes behind it."""
    values = {
        "stem": stem, "route": clean(route), "job": job, "task": clean(task, "task"), "date": date,
        "workflow": clean(workflow, "workflow"),
    }  # fmt: skip
    base = re.sub(r"\{(\w+)\}", lambda m: values[m[1]], pattern).lstrip(".") or stem
    return f"{base}_{label}" if label else base


def output_extension(url: str, media_type: str | None) -> str:
    """An output's extension with its dot: from the name in its URL, else from its media type, else none. None that a
    desktop would run: a result is looked at by people who trust the share."""
    if url[:5].lower() == "data:":
        return extension(media_type or "")
    try:
        parts = urlsplit(url)
        names = [*parse_qs(parts.query).get("filename", []), unquote(parts.path)]
    except ValueError:
        names = []
    for name in names:
        ext = split_ext(re.split(r"[/\\]", name)[-1])[1]
        if _EXTENSION.fullmatch(ext) and fold(ext[1:]) not in ACTIVE:
            return ext
    return extension(media_type or "")


def plan(
    base: str,
    extensions: Sequence[str],
    *,
    sources: Sequence[str] = (),
    outbox: Collection[str],
    done: Collection[str],
    reserved: Collection[str] = (),
) -> Plan:
    """The first free names. `outbox` and `done` hold the names that are taken there, folded or not; `reserved` the
    base names that other deliveries have chosen already. `sources` are the names that are moved to done/ with it."""
    tails = _tails(extensions)
    longest = max([*tails, SIDECAR, ".error.json"], key=len)
    taken, stems = {fold(n) for n in outbox}, {fold(split_ext(n)[0]) for n in outbox if split_ext(n)[1]}
    taken_done, held = {fold(n) for n in done}, {fold(b) for b in reserved}
    for n in count(1):
        suffix = f"-{n}" if n > 1 else ""
        this = cut(base, suffix + longest).removesuffix(longest)
        files = tuple(this + tail for tail in tails)
        # By what we put together and not by a file's last dot: that may be the base's own, and then no number helps.
        bases = {fold(this), *(fold(this + split_ext(f"x{tail}")[0][1:]) for tail in tails)}
        if bases & (stems | held) or any(fold(f) in taken for f in (*files, this + SIDECAR)):
            continue
        if not any(fold(numbered(source, n)) in taken_done for source in sources):
            return Plan(this, files, this + SIDECAR, n)
    raise AssertionError("count() does not end")


def alike(name: str, taken: Collection[str]) -> list[str]:
    """Those of the taken names that could collide with any name made of `name`'s stem: they begin like it."""
    begin = fold(split_ext(name)[0])[:_BEGIN]
    return [other for other in taken if fold(other).startswith(begin)]


def free_to_store(sources: Sequence[str], taken: Collection[str]) -> list[str]:
    """The first names under which a job's sources and the notices of each are free in failed/, numbered alike."""
    folded = {fold(n) for n in taken}
    for n in count(1):
        names = [_noted(source, n) for source in sources]
        if not any(fold(f) in folded for name in names for f in (name, *notices(name))):
            return names
    raise AssertionError("count() does not end")


def moved_name(job: Job, source: Source) -> str:
    """The bare name of what is moved to done/ or failed/ with a source: itself, or its bundle's folder."""
    return job.name if job.in_folder else source.path.rpartition("/")[2]


def moved_names(job: Job) -> list[str]:
    """What of a job is moved to done/ or failed/, by its bare names: its files and tickets, or its one folder."""
    return list(dict.fromkeys(moved_name(job, source) for source in job.sources))


def names_on_the_way(paths: Collection[str], folder: str) -> list[str]:
    """The names that will be taken in a folder of done/ or failed/ by sources on their way there."""
    below = f"{folder}/" if folder else ""
    return [path[len(below) :].split("/")[0] for path in paths if path.startswith(below)]


def stored_path(job: Job, source: Source, name: str) -> str:
    """Where a source goes below done/ or failed/, when what is moved (`moved_names`) gets this name there."""
    inside = source.path[len(job.bundle or "") :] if job.in_folder else ""
    return f"{job.folder}/{name}{inside}" if job.folder else f"{name}{inside}"


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
