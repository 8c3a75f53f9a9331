"""Serves an output: streamed, with a strong ETag, Last-Modified, Range and If-Range (RFC 9110).

Owns: the download's wire form, the wrong ones of a fault included. aiohttp's own file response takes only
a date in If-Range, so that a stale ETag would get a piece of another file; hence this one.
"""

import asyncio
import mimetypes
import re
from email.utils import formatdate
from pathlib import Path
from typing import BinaryIO, Final

from aiohttp import web

from renderdrop.sandbox.faults import Rule
from renderdrop.sandbox.tasks import Output

PIECE: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


def span(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a Range header; None where there is none that counts (then all is sent).

    Raises ValueError where no byte of it exists (416).
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2]), size - 1) if match[2] else size - 1
        if match[2] and int(match[2]) < first:
            return None
    if first >= size or last < first:
        raise ValueError(f"bytes */{size}")
    return first, last


def _wants_range(request: web.Request, etag: str, modified: str) -> bool:
    """A Range counts where If-Range is absent or names exactly what lies here."""
    condition = request.headers.get("If-Range")
    return "Range" in request.headers and condition in (None, etag, modified)


async def send(request: web.Request, output: Output, fault: Rule | None = None) -> web.StreamResponse:
    """The file, or the piece of it that was asked for."""
    path = Path(output.path)
    stat = await asyncio.to_thread(path.stat)
    size = stat.st_size
    etag, modified = f'"{output.sha256[:32]}"', formatdate(stat.st_mtime, usegmt=True)
    do = fault.do if fault else ""
    first, last = 0, size - 1
    answer = web.StreamResponse(
        headers={
            "ETag": etag,
            "Last-Modified": modified,
            "Accept-Ranges": "bytes",
            "Content-Type": mimetypes.guess_type(output.filename)[0] or "application/octet-stream",
        }
    )
    if _wants_range(request, etag, modified) and do != "no_length":
        try:
            asked = span(request.headers["Range"], size)
        except ValueError as none:
            return web.Response(status=416, headers={"Content-Range": str(none), "ETag": etag})
        if asked is not None:
            first, last = asked
            if do == "wrong_range":
                first = first - 1 if first else min(1, last)
            answer.set_status(206)
            answer.headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    length = last - first + 1
    if do == "no_length":
        answer.enable_chunked_encoding()
    else:
        answer.content_length = length
    if do == "cut":
        length = min(length - 1, length // 2 if fault is None or fault.at is None else fault.at)
    file = await asyncio.to_thread(path.open, "rb")
    try:
        await answer.prepare(request)
        await _copy(file, first, length, answer)
    finally:
        await asyncio.to_thread(file.close)
    if do == "cut" and request.transport is not None:
        answer.force_close()
        request.transport.close()  # what was written still goes out, then an orderly end: too early
        return answer
    await answer.write_eof()
    return answer


async def _copy(file: BinaryIO, first: int, length: int, answer: web.StreamResponse) -> None:
    await asyncio.to_thread(file.seek, first)
    while length > 0:
        piece = await asyncio.to_thread(file.read, min(PIECE, length))
        if not piece:
            break
        await answer.write(piece)
        length -= len(piece)
