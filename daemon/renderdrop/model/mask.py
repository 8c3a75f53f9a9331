"""The token struck out of what a stranger says, before anybody can write it down. Pure.

Owns the spellings in which a text can carry the token: as it is, with some or all of its characters
percent-encoded (once or more often) or escaped as in JSON, and in base64 or hex, at whatever place. A platform that
echoes our own request must not get the token into the ledger, a sidecar or a log (DESIGN 7). It cannot know
spellings that nobody uses, and it never looks into media files.
"""

import base64
import re
from collections.abc import Iterator
from typing import Final

MASKED: Final = "[token]"
_SHORTEST: Final = 8
"""Characters: what is shorter is no secret, and striking it out of JSON would strike out half of JSON."""
_STRETCH: Final = 2**14
"""Bytes searched for escaped spellings in one go. That search is a hundred times slower than the others, and lets no
other thread run: a few milliseconds a stretch, whatever is in it."""
_MOST: Final = 16
"""Bytes that one escaped character may take, and more."""


class Mask:
    """Strikes out one token, and those that were in force before it."""

    def __init__(self, secret: str) -> None:
        self._secrets: list[str] = []
        self._literals: list[bytes] = []
        self._escaped: list[tuple[re.Pattern[bytes], int]] = []
        self.add(secret)

    def add(self, secret: str) -> None:
        """From now on this one too: after a renewal both may be echoed."""
        if len(secret) < _SHORTEST or secret in self._secrets:
            return
        self._secrets.append(secret)
        self._literals += [secret.encode(), *_encoded(secret.encode())]
        self._escaped.append((re.compile("".join(map(_escapes, secret)).encode()), _MOST * len(secret)))

    def body(self, data: bytes) -> bytes:
        """An answer's bytes without it. What holds none comes back itself, at the price of a few fast searches, and of
        slow ones where there are escapes: of a hostile megabyte perhaps a third of a second."""
        for literal in self._literals:
            if literal in data:
                data = data.replace(literal, MASKED.encode())
        for pattern, longest in self._escaped:
            data = _without(pattern, longest, data)
        return data

    def text(self, text: str) -> str:
        """A text without it."""
        if not self._secrets:
            return text
        raw = text.encode("utf-8", "surrogatepass")
        found = self.body(raw)
        return text if found is raw else found.decode("utf-8", "surrogatepass")


def stretches(data: bytes, longest: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each stretch in which a spelling of at most `longest` bytes may begin that has an escape in it.
    The stretches overlap by as much, so that each has such a spelling whole."""
    for begin in range(0, len(data), _STRETCH):
        end = begin + _STRETCH + longest
        if data.find(b"%", begin, end) >= 0 or data.find(b"\\", begin, end) >= 0:
            yield begin, end


def _without(pattern: re.Pattern[bytes], longest: int, data: bytes) -> bytes:
    kept: list[bytes] = []
    done = 0
    for begin, end in stretches(data, longest):
        for found in pattern.finditer(data, max(begin, done), end):
            kept += data[done : found.start()], MASKED.encode()
            done = found.end()
    return b"".join((*kept, data[done:])) if kept else data


def _encoded(secret: bytes) -> set[bytes]:
    """Hex, and what of its base64 is the same whatever stands before and behind it, in each of the three phases."""
    found = {secret.hex().encode(), secret.hex().upper().encode()}
    for before, skipped in enumerate((0, 2, 3)):
        whole = (before + len(secret)) * 8 // 6
        for spelled in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(spelled(b"\0" * before + secret)[skipped:whole])
    return found


def _escapes(char: str) -> str:
    """A pattern for one character: itself, percent-encoded, or as JSON escapes it. Every repeat is bounded, so that
    no text can make the search slow; every branch begins with a byte of its own, by which `re` finds its place fast."""
    itself, digits = re.escape(char), "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in f"{ord(char):02x}")
    return rf"(?:{itself}|%(?:25){{0,4}}{digits}|\\\\{{0,3}}(?:u00{digits}|{itself}))"
