"""A multipart/form-data body that is streamed, with its length known beforehand (RFC 7578).

httpx's own `files=` reads on the event loop and cannot stop before the last byte; this can. The closing
boundary is the commit point of a submission: `before_last` runs after every file was read whole and found
unchanged, and only when it returned does the last byte leave. Whatever it or a file raises abandons the
body unfinished, which no server can take for a request.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FilePart:
    """One file. `chunks` must yield exactly `size` bytes, or raise."""

    name: str
    filename: str
    media_type: str
    size: int
    chunks: Callable[[], AsyncIterator[bytes]]


class Multipart:
    """A body to be sent once. `complete` tells whether the last byte was handed over."""

    def __init__(
        self, fields: Mapping[str, str], files: Sequence[FilePart], before_last: Callable[[], Awaitable[None]]
    ) -> None:
        self._boundary = f"renderdrop-{secrets.token_hex(16)}"
        self._fields = b"".join(self._field(name, value) for name, value in fields.items())
        self._files = [(self._head(part), part) for part in files]
        self._end = f"--{self._boundary}--\r\n".encode()
        self._before_last = before_last
        self.complete = False

    @property
    def headers(self) -> dict[str, str]:
        """Content-Type and Content-Length."""
        length = len(self._fields) + sum(len(head) + part.size + 2 for head, part in self._files) + len(self._end)
        return {
            "Content-Type": f"multipart/form-data; boundary={self._boundary}",
            "Content-Length": str(length),
        }

    async def body(self) -> AsyncIterator[bytes]:
        """The bytes, in order; to be iterated once."""
        if self._fields:
            yield self._fields
        for head, part in self._files:
            yield head
            async for chunk in part.chunks():
                yield chunk
            yield b"\r\n"
        await self._before_last()
        self.complete = True
        yield self._end

    def _field(self, name: str, value: str) -> bytes:
        head = f'--{self._boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'
        return head.encode() + value.encode() + b"\r\n"

    def _head(self, part: FilePart) -> bytes:
        return (
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="{_quoted(part.name)}"; '
            f'filename="{_quoted(part.filename)}"\r\nContent-Type: {part.media_type}\r\n\r\n'
        ).encode()


def _quoted(name: str) -> str:
    """As browsers do it: UTF-8, with the three characters that would end the value percent-encoded
    (WHATWG HTML, "Multipart form data"). Bytes of a name that are no UTF-8 become U+FFFD."""
    plain = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return plain.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
