"""Names of files as values: kept byte for byte, compared NFC and case-folded, shown harmless.

Owns: folding for comparison, the order in a list, cleaning of names that a server chose, showing names to people.
Paths inside the program are `str` with surrogateescape (what `os.fsdecode` gives), so that a
name that is not UTF-8 survives the journey unchanged.
"""

import json
import re
import unicodedata
from typing import Final

_RESERVED: Final = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in "123456789¹²³"), *(f"lpt{n}" for n in "123456789¹²³")]
)
"""Device names that Windows refuses, with any extension (Microsoft, "Naming Files, Paths, and Namespaces")."""

_FORBIDDEN: Final = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|]')
_DIGITS: Final = re.compile(r"[0-9]+")
_NOT_ASCII: Final = re.compile(r"[^\n\x20-\x7e]")
_EDGES: Final = re.compile(r"\A[\s.]+|(?<![\s.])[\s.]++\Z")
"""A run of dots in the middle is looked through once, however long a stranger made it."""
_LONGEST_EXT: Final = 64
"""Bytes: what comes after a dot and is longer is no extension that must survive a cut."""
MAX_NAME_BYTES: Final = 255
"""NAME_MAX of every file system that a share is likely to live on."""


def fold(name: str) -> str:
    """The form in which two names are the same name: NFC, case-folded."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def natural(path: str) -> str:
    """What sorts paths as people list them: without regard to case, and numbers by their value (f2 before f10)."""
    return _DIGITS.sub(_by_value, fold(path))


def _by_value(number: re.Match[str]) -> str:
    digits = number[0].lstrip("0")
    return f"{len(digits):03}{digits}"


def split_ext(name: str) -> tuple[str, str]:
    """Stem and extension (with its dot) of a bare name; a leading dot begins no extension."""
    dot = name.rfind(".")
    return (name[:dot], name[dot:]) if dot > 0 else (name, "")


def shown(name: str) -> str:
    """A name that cannot forge a line, turn the direction of a text or break an encoding."""
    if name.isprintable():  # which is less than plain; nearly all names are
        return name
    return "".join(c if _is_plain(c) else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in name)


def harmless(json_text: str) -> str:
    """JSON text that says the very same, with an escape for each character that `shown` would not show: whoever looks
    at it on a terminal sees no forged line and no turned text."""
    return _NOT_ASCII.sub(lambda m: m[0] if _is_plain(m[0]) else json.dumps(m[0])[1:-1], json_text)


def _is_plain(char: str) -> bool:
    # Cc control, Cf format (RTL marks, zero-width), Cs surrogate, Zl/Zp line and paragraph separators.
    # The zero-width joiner and variation selectors hold emoji together and forge nothing.
    return char in "\u200d" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def cut(stem: str, tail: str) -> str:
    """`stem + tail`, the stem shortened at a character so that the whole fits MAX_NAME_BYTES."""
    room = MAX_NAME_BYTES - len(tail.encode("utf-8", "surrogateescape"))
    kept = 0
    for at, char in enumerate(stem):
        # An undecodable byte is one of the name's own: it counts and stays like any other character.
        kept += len(char.encode("utf-8", "surrogateescape"))
        if kept > room:
            return stem[:at] + tail
    return stem + tail


def clean(name: str, fallback: str = "output") -> str:
    """A bare file name out of one that a stranger chose: no separators, control or format characters,
    leading dots, trailing dots and spaces, reserved or over-long names. Never empty."""
    name = _FORBIDDEN.sub("_", name)
    name = "".join(c for c in name if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} or c == "\u200d")
    name = _EDGES.sub("", name)
    if not name:
        return fallback
    name = _cut(name)
    # Only now: a cut can leave nothing but a device's name.
    return _cut("_" + name) if name.split(".")[0].rstrip().casefold() in _RESERVED else name


def _cut(name: str) -> str:
    return _EDGES.sub("", cut(*_stem_and_tail(name)))


NOTICE_TXT: Final = ".error.txt"
NOTICE_JSON: Final = ".error.json"


def notices(stored: str) -> tuple[str, str]:
    """The paths of the two notices beside a source in failed/: the sentence for people, the sidecar for programs.

    A name that would grow over the file system's limit is cut before the endings.
    """
    folder, slash, name = stored.rpartition("/")
    return folder + slash + cut(name, NOTICE_TXT), folder + slash + cut(name, NOTICE_JSON)


TICKETS: Final = (".job.toml", ".job.json")
"""How a ticket's name ends; before it stands the name of the file that it belongs to."""


def ticket_of(name: str) -> str | None:
    """The bare name that a ticket is for; None where it is no ticket's name."""
    folded = fold(name)
    return next((name[: -len(tail)] for tail in TICKETS if folded.endswith(tail) and len(name) > len(tail)), None)


def numbered(path: str, n: int) -> str:
    """`NAME.EXT` as `NAME-n.EXT`, a ticket `NAME.EXT.job.toml` as `NAME-n.EXT.job.toml`; the first is the name itself.
    The stem is cut where it must be."""
    if n < 2:
        return path
    folder, slash, name = path.rpartition("/")
    ours = ticket_of(name)
    stem, ext = _stem_and_tail(ours or name)
    return folder + slash + cut(stem, f"-{n}{ext}{name[len(ours) :] if ours else ''}")


def _stem_and_tail(name: str) -> tuple[str, str]:
    stem, ext = split_ext(name)
    return (stem, ext) if len(ext.encode("utf-8", "surrogateescape")) <= _LONGEST_EXT else (name, "")
