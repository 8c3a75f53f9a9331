"""A tap on the wire between the daemon and the platform: it passes everything on, and looks for what must never pass.

Owns the bytes as they are sent, whatever becomes of the request: an upload that is abandoned in its middle leaks as
much as one that is accepted.
"""

import asyncio
import threading
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

_CHUNK: Final = 2**16


class Tap:
    """A relay before `base_url`; `leaked` counts the chunks of what the daemon sent that held one of `secrets`."""

    def __init__(self, base_url: str, secrets: Sequence[bytes]) -> None:
        self._secrets = secrets
        self._keep = max(map(len, secrets)) - 1
        self._to = urlsplit(base_url)
        self.leaked = 0
        self.sent = 0
        """Bytes that the daemon sent."""
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tap", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._relay, "127.0.0.1", 0), self._loop
        ).result(10)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        """End it, and its thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for writer in self._open:
            writer.close()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_reader, to_writer = await asyncio.open_connection(self._to.hostname, self._to.port)
        except OSError:
            writer.close()
            return
        self._open |= {writer, to_writer}
        await asyncio.gather(self._pass(reader, to_writer, True), self._pass(to_reader, writer, False))
        for one in (writer, to_writer):
            one.close()
            self._open.discard(one)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, watched: bool) -> None:
        tail = b""
        try:
            while data := await reader.read(_CHUNK):
                if watched:
                    self.sent += len(data)
                    text = tail + data
                    self.leaked += any(secret in text for secret in self._secrets)
                    tail = text[-self._keep :]
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.close()
