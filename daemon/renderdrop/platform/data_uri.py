"""data: URIs (RFC 2397): a result that travels inside the answer itself. Pure.

Owns their reading, chunk by chunk, so that a picture of 40 MB is never held twice more. It must never touch the
network or a disk. Tolerant where encoders differ (line breaks, missing padding, the URL-safe alphabet, percent
signs before base64 digits), strict where bytes would be made up.
"""

import binascii
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from renderdrop.model.errors import Undeliverable

_SCHEME: Final = "data:"
_HEAD: Final = 1024
"""Characters within which the comma must come: no media type is longer."""
_PIECE: Final = 4 * 2**18
"""Characters decoded at once."""
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][\w!#$&^.+-]*/[a-z0-9][\w!#$&^.+-]*", re.ASCII)
_LONGEST_TYPE: Final = 127
"""Characters (RFC 6838, 4.2)."""
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_SPACE: Final = b" \t\r\n\f\v"


def is_data_uri(url: str) -> bool:
    """Whether a URL is its own content. Looks at the first characters only, however long the URL is."""
    return url[: len(_SCHEME)].lower() == _SCHEME


def media_type(uri: str) -> str | None:
    """The media type that the URI names, in lower case; None where it names none (RFC 2397 would have it
    text/plain, which no result is that forgot to say so). Raises Undeliverable."""
    return named_type(unquote(_head(uri).split(";")[0]))


def named_type(value: str) -> str | None:
    """A media type as a stranger names it, in lower case and without its parameters; None for what is none."""
    name = value.split(";")[0].strip().lower()
    return name if len(name) <= _LONGEST_TYPE and _MEDIA_TYPE.fullmatch(name) else None


def decoded(uri: str) -> Iterator[bytes]:
    """The content, chunk by chunk. Raises Undeliverable when it cannot be read; what came before is no file then."""
    head = _head(uri)
    pieces = _pieces(uri, len(_SCHEME) + len(head) + 1)
    is_base64 = head.rpartition(";")[2].strip().lower() == "base64"
    try:
        yield from _from_base64(pieces) if is_base64 else pieces
    except ValueError:  # binascii.Error and UnicodeError among them
        raise Undeliverable(_BAD) from None


_BAD: Final = "the platform gave a result as a data: URI that cannot be read"


def _head(uri: str) -> str:
    comma = uri.find(",", 0, _HEAD)
    if comma < 0 or not is_data_uri(uri):
        raise Undeliverable(_BAD)
    return uri[len(_SCHEME) : comma]


def _pieces(uri: str, at: int) -> Iterator[bytes]:
    """What follows the comma, percent-decoded; no piece ends within an escape."""
    while at < len(uri):
        end = at + _PIECE
        if end < len(uri) and (percent := uri.rfind("%", end - 2, end)) >= 0:
            end = percent
        yield unquote_to_bytes(uri[at:end])
        at = end


def _from_base64(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """RFC 4648, sections 4 and 5. Raises ValueError for what is none."""
    digits, padded = b"", False
    for piece in pieces:
        text = piece.translate(_URL_SAFE, _SPACE)
        body = text.rstrip(b"=")
        if body and (padded or b"=" in body):
            raise ValueError("something follows the padding")
        padded = padded or len(body) < len(text)
        digits += body
        whole = len(digits) - len(digits) % 4
        yield binascii.a2b_base64(digits[:whole], strict_mode=True)
        digits = digits[whole:]
    if len(digits) == 1:
        raise ValueError("a digit is missing")
    yield binascii.a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True)
