"""A raw server on loopback that does to a connection exactly what a test says, and a client that talks to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from pydantic import SecretStr

from renderdrop.platform.client import Client

TOKEN = "AI-0123456789abcdef"


@dataclass
class Seen:
    """A request as it came: its first line, its headers in lower case and, when it was read, its body."""

    line: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Wire:
    """One connection with the head of one request read."""

    seen: Seen
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def body(self) -> bytes:
        self.seen.body = await self.reader.readexactly(int(self.seen.headers.get("content-length", 0)))
        return self.seen.body

    async def answer(self, status: int, body: bytes = b"", length: int | None = None, /, **headers: str) -> None:
        """An answer; `length` where Content-Length shall not be the body's."""
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body) if length is None else length}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()

    def reset(self) -> None:
        """RST instead of FIN."""
        self.writer.transport.abort()


Script: TypeAlias = "Callable[[Wire], Awaitable[None]]"


@dataclass
class Raw:
    """A listening server; `script` deals with each request, and the connection is closed after it."""

    script: Script
    url: str = ""
    seen: list[Seen] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            self.seen.append(Seen(head[0], headers))
            await self.script(Wire(self.seen[-1], reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


Serve: TypeAlias = "Callable[[Script], Awaitable[Raw]]"


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts raw servers; all of them end with the test."""
    servers: list[asyncio.Server] = []

    async def start(script: Script) -> Raw:
        raw = Raw(script)
        server = await asyncio.start_server(raw.serve, "127.0.0.1", 0, limit=2**20)
        servers.append(server)
        raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return raw

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


@pytest.fixture
def talking() -> Callable[[str], object]:
    """A client of a base URL, closed afterwards: `async with talking(url) as client`."""

    @asynccontextmanager
    async def talk(url: str) -> AsyncIterator[Client]:
        client = Client(url, SecretStr(TOKEN))
        try:
            yield client
        finally:
            await client.close()

    return talk
