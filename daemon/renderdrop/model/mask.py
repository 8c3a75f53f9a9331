"""The token struck out of what a stranger says, before anybody can write it down. Pure.

Owns the spellings in which a text can carry the token: as it is, with some or all of its characters
percent-encoded (once or more often) or escaped as in JSON, and in base64 or hex, at whatever place. A platform that
echoes our own request must not get the token into the ledger, a sidecar or a log (DESIGN 7). It cannot know
spellings that nobody uses, and it never looks into media files.
"""

import base64
import re
from typing import Final

MASKED: Final = "[token]"
_SHORTEST: Final = 8
"""Characters: what is shorter is no secret, and striking it out of JSON would strike out half of JSON."""


class Mask:
    """Strikes out one token, and those that were in force before it."""

    def __init__(self, secret: str) -> None:
        self._secrets: list[str] = []
        self._literals: list[bytes] = []
        self._escaped: list[re.Pattern[bytes]] = []
        self.add(secret)

    def add(self, secret: str) -> None:
        """From now on this one too: after a renewal both may be echoed."""
        if len(secret) < _SHORTEST or secret in self._secrets:
            return
        self._secrets.append(secret)
        self._literals += [secret.encode(), *_encoded(secret.encode())]
        self._escaped.append(re.compile("".join(map(_escapes, secret)).encode()))

    def body(self, data: bytes) -> bytes:
        """An answer's bytes without it. What holds none comes back itself, at the price of a few fast searches."""
        for literal in self._literals:
            if literal in data:
                data = data.replace(literal, MASKED.encode())
        if b"%" in data or b"\\" in data:
            for pattern in self._escaped:
                data = pattern.sub(MASKED.encode(), data)
        return data

    def text(self, text: str) -> str:
        """A text without it."""
        if not self._secrets:
            return text
        raw = text.encode("utf-8", "surrogatepass")
        found = self.body(raw)
        return text if found is raw else found.decode("utf-8", "surrogatepass")


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
    no text can make the search slow."""
    itself, digits = re.escape(char), "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in f"{ord(char):02x}")
    return rf"(?:{itself}|%(?:25){{0,4}}{digits}|\\{{1,4}}u00{digits}|\\{{1,4}}{itself})"
