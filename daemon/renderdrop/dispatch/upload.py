"""A file on its way to the platform: streamed, hashed on the way, and proved unchanged before the last byte.

Owns the reading. Memory stays at a chunk, however large the file; the disk and the hash are waited for in a
thread, never on the event loop. A file that is not the one that settled abandons the upload before the body
is whole, so that no task can come of it.
"""

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from renderdrop.model.errors import Fault, SourceChanged
from renderdrop.model.media import media_type
from renderdrop.model.names import clean
from renderdrop.platform.multipart import FilePart
from renderdrop.runtime.disk import Disk
from renderdrop.share.source import SourceFile

CHUNK: Final = 2**20
"""Bytes read at once."""
_LOOKS: Final = 3
"""How often a file is read through once more because something was done to it under the last reading."""


class Stopping(Fault):
    """The daemon is asked to end: the upload is abandoned before its last byte."""


class Upload:
    """One open file for one input. `sha256` is known once the last chunk was given out, or after `digest`."""

    def __init__(
        self,
        input_name: str,
        name: str,
        file: SourceFile,
        disk: Disk,
        stopping: Callable[[], bool],
        changed: Callable[[str], Fault] = SourceChanged,
    ) -> None:
        """`changed` makes what is raised when the file is not the one that was opened."""
        self.input = input_name
        self.name = name
        self.size = file.size
        self.file = file
        self.disk = disk
        self._stopping = stopping
        self._changed = changed
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    @property
    def filename(self) -> str:
        """The name that is sent: the file's own, without its folders and what no header can carry."""
        return clean(self.name, "input")

    def part(self) -> FilePart:
        """The request's part."""
        return FilePart(self.input, self.filename, media_type(self.name), self.size, self.chunks)

    async def check(self) -> None:
        """The last look before the request is complete. Raises SourceChanged, ShareOffline or Stopping."""
        if self._stopping():
            raise Stopping("the daemon was stopped before the request had left; it is submitted again")
        if not await self.disk(self.file.unchanged):
            raise self._changed(f"{self.filename} changed while it was uploaded")
        for _ in range(_LOOKS):
            if not await self.disk(self.file.touched):
                return
            # Written to with its times set back, or merely renamed: only its bytes tell.
            sent = self.sha256
            async for _ in self.chunks():
                pass
            if self.sha256 != sent:
                break
        raise self._changed(f"{self.filename} changed while it was uploaded")

    async def digest(self) -> str:
        """Read it through for its SHA-256 alone. Raises as `chunks` does."""
        async for _ in self.chunks():
            pass
        await self.check()
        return self.sha256

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its bytes, from the beginning. Raises SourceChanged, ShareOffline or Stopping."""
        self._hash = hashlib.sha256()
        offset = 0
        while offset < self.size:
            if self._stopping():
                raise Stopping("the daemon was stopped before the request had left; it is submitted again")
            chunk = await self.disk(self._read, offset, min(CHUNK, self.size - offset))
            if not chunk:
                raise self._changed(f"{self.filename} became shorter while it was uploaded")
            offset += len(chunk)
            yield chunk

    def _read(self, offset: int, count: int) -> bytes:
        chunk = self.file.read(offset, count)
        self._hash.update(chunk)
        return chunk
