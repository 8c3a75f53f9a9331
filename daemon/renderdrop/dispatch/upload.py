"""A source on its way to the platform: streamed, hashed on the way, and proved unchanged before the last byte.

Owns the reading. Memory stays at a chunk, however large the file; the disk and the hash are waited for in a
thread, never on the event loop. A file that is not the one that settled abandons the upload before the body
is whole, so that no task can come of it.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from renderdrop.model.errors import Fault, SourceChanged
from renderdrop.model.job import Source
from renderdrop.model.media import media_type
from renderdrop.model.names import clean
from renderdrop.platform.multipart import FilePart
from renderdrop.share.source import SourceFile

CHUNK: Final = 2**20
"""Bytes read at once."""


class Stopping(Fault):
    """The daemon is asked to end: the upload is abandoned before its last byte."""


class Upload:
    """One open source as a part of a request. `sha256` is known once the last chunk was given out."""

    def __init__(self, source: Source, file: SourceFile, stopping: Callable[[], bool]) -> None:
        self._source = source
        self._file = file
        self._stopping = stopping
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def part(self) -> FilePart:
        """The request's part. The name sent is the file's own, without its folders and what no header can carry."""
        name = clean(self._source.path.rpartition("/")[2], "input")
        return FilePart(self._source.input, name, media_type(name), self._source.size, self._chunks)

    async def check(self) -> None:
        """The last look before the request is complete. Raises SourceChanged or Stopping."""
        if self._stopping():
            raise Stopping("the daemon was stopped before the request had left; it is submitted again")
        if not await asyncio.to_thread(self._file.unchanged):
            raise SourceChanged("the file changed while it was uploaded")

    async def _chunks(self) -> AsyncIterator[bytes]:
        offset = 0
        while offset < self._source.size:
            if self._stopping():
                raise Stopping("the daemon was stopped before the request had left; it is submitted again")
            chunk = await asyncio.to_thread(self._read, offset, min(CHUNK, self._source.size - offset))
            if not chunk:
                raise SourceChanged("the file became shorter while it was uploaded")
            offset += len(chunk)
            yield chunk

    def _read(self, offset: int, count: int) -> bytes:
        chunk = self._file.read(offset, count)
        self._hash.update(chunk)
        return chunk
