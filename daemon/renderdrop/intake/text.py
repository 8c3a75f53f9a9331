"""A dropped text, and the address in a dropped link, out of their bytes. Pure.

Owns that what is sent as a text is what somebody wrote: an encoding is recognised or refused, never guessed at. The
sentences are read by whoever dropped the file.
"""

import codecs
import re
import unicodedata
from typing import Final
from urllib.parse import urlsplit

from renderdrop.model.errors import Fault
from renderdrop.model.names import shown

MOST_BYTES: Final = 64 * 1024
"""Of a text, a link or a ticket."""
LONGEST_ADDRESS: Final = 2048

_GBK_NOTE: Final = "was read as GBK; save it as UTF-8"
_GBK_BESIDES: Final = frozenset("·×—‘’“”…‰′″℃￥¥§°±÷")
"""What Chinese text has besides ideographs, CJK punctuation and full-width forms."""
_URL_KEY: Final = re.compile(r"url\s*+=(.*)", re.IGNORECASE)


class BadText(Fault, ValueError):
    """A text or a link that cannot be used; one sentence that names the file."""


def read_text(name: str, data: bytes) -> tuple[str, str | None]:
    """The text of a dropped file, and what whoever dropped it should know. Raises BadText.

    UTF-8 with or without a byte order mark, UTF-16 with one; GBK where it is plainly Chinese. Line ends become "\\n",
    white space at the end goes.
    """
    if len(data) > MOST_BYTES:
        raise BadText(f"{shown(name)} is larger than 64 KiB; a text that is sent must be shorter")
    text, note = _decoded(name, data)
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip()
    if not text:
        raise BadText(f"{shown(name)} is empty; write the text into it and drop it again")
    if (found := unwritable(text)) is not None:
        raise BadText(f"{shown(name)} is no plain text: it holds {found}; save it as plain UTF-8 text")
    return text, note and f"{shown(name)} {note}"


def read_link(name: str, data: bytes) -> str:
    """The address in an internet shortcut (`[InternetShortcut]` with `URL=`), or in the first line. Raises BadText."""
    if len(data) > MOST_BYTES:
        raise BadText(f"{shown(name)} is larger than 64 KiB; a link holds one address and no more")
    try:
        text, _ = _decoded(name, data)
    except BadText:
        # Other entries of a shortcut are in whatever encoding its desktop has; an address is ASCII in all of them.
        text = data.decode("latin-1")
    # At line ends alone: at a form feed an address would be cut in two, and its beginning be taken for it.
    url = _address_in([line.strip() for line in re.split(r"\r\n|\r|\n", text)])
    if url is None:
        raise BadText(f"{shown(name)} holds no web address; it must begin with one, or be an internet shortcut")
    if (reason := not_public(url)) is not None:
        raise BadText(f"the address in {shown(name)} {reason}")
    return url


def not_public(url: str) -> str | None:
    """Why this is no web address that the platform could fetch; None when it may be one."""
    if len(url) > LONGEST_ADDRESS:
        return f"is longer than {LONGEST_ADDRESS:,} characters"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a web address"
    if parts.scheme not in ("http", "https"):
        return "does not begin with http:// or https://"
    if not host or any(c.isspace() or not c.isprintable() or c in '<>"\\' for c in url):
        return "is not a web address"
    if "@" in parts.netloc:
        return "holds a user name or a password; use one that needs neither"
    return None


def unwritable(text: str) -> str | None:
    """What a text holds that no text should, for people; None where it is clean. Tab and line ends are fine."""
    for char in text:
        if (char < " " and char not in "\t\n\r") or "\x7f" <= char <= "\x9f":
            return "a NUL byte" if char == "\0" else "control characters"
        if "\ud800" <= char <= "\udfff":
            return "half of a character"
    return None


def _decoded(name: str, data: bytes) -> tuple[str, str | None]:
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16"), None
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError:
        if (text := _chinese(data)) is not None:
            return text, _GBK_NOTE
        raise BadText(f"{shown(name)} is not UTF-8 text; save it as UTF-8") from None


def _chinese(data: bytes) -> str | None:
    """The text if its bytes are GBK beyond reasonable doubt. Any two bytes above 0x80 are some ideograph, so it must
    be made of the common ones: another encoding's text, read as GBK, is full of rare characters."""
    try:
        text = data.decode("gbk")
    except UnicodeDecodeError:
        return None
    foreign = [c for c in text if not c.isascii()]
    ideographs = [c for c in foreign if "\u4e00" <= c <= "\u9fff"]
    if not all(c in ideographs or _belongs_to_chinese(c) for c in set(foreign)) or unwritable(text) is not None:
        return None
    rows = [_row(c) for c in ideographs]
    common = sum(0xB0 <= row <= 0xD7 for row in rows)
    # Nothing beyond row C8 could as well be Korean.
    return text if common >= 0.8 * len(rows) and any(row > 0xC8 for row in rows) else None


def _belongs_to_chinese(char: str) -> bool:
    return (
        "\u3000" <= char <= "\u303f" or "\uff01" <= char <= "\uffee" or char in _GBK_BESIDES
    ) and unicodedata.category(char) != "Cn"  # fmt: skip


def _row(char: str) -> int:
    """Its row in GB 2312, B0 to D7 for the 3,755 common ideographs; 0 where it is not in there."""
    try:
        return char.encode("gb2312")[0]
    except UnicodeEncodeError:
        return 0


def _address_in(lines: list[str]) -> str | None:
    begins = next((n for n, line in enumerate(lines) if line.casefold() == "[internetshortcut]"), None)
    if begins is None:
        first = next((line for line in lines if line), "")
        return first if "://" in first else None
    for line in lines[begins + 1 :]:
        if line.startswith("["):
            break
        if found := _URL_KEY.fullmatch(line):
            return found[1].strip()
    return None
