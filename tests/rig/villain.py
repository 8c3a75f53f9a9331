"""A hostile platform: it speaks the platform's API (platform-api.md) as far as a job needs it, and lies where told.

A raw server in a thread of its own, so that it can say what no well-behaved library would. It listens at several
loopback addresses: the first is the platform, the others are "other hosts". Every request is kept, each with the
bytes that could be sent as its answer. What a task says is decided by the name of the file that it was fed with.
"""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from tests.rig.platform import DEADLINE

CLUSTERS: Final = [
    {"name": "GPU-4090", "display_name": "GPU-4090-24GB", "curr_nodes": 2, "max_nodes": 22},
    {"name": "GPU-A800", "display_name": "GPU-A800-80GB", "curr_nodes": 2, "max_nodes": 21},
]
MEDIA: Final = b"\x89PNG\r\n\x1a\n what the villain rendered "
_FED: Final = re.compile(rb'filename="([^"]+)"')
_SEND_BUFFER: Final = 64 * 1024


@dataclass
class Call:
    """One request as it came, and how much of an answer its sender took."""

    at: str
    """Where it arrived: the netloc that was listened at."""
    method: str
    target: str
    headers: dict[str, str]
    raw: bytes
    """The whole request, head and body."""
    writer: asyncio.StreamWriter = field(repr=False)
    sent: int = 0
    """Bytes that the kernel took for the answer, its buffers included."""

    @property
    def host(self) -> str:
        """What the sender believed to talk to."""
        return self.headers.get("host", "")

    async def write(self, data: bytes) -> None:
        """Send, and count what could be sent. Raises ConnectionError when the other end has hung up."""
        self.writer.write(data)
        await self.writer.drain()
        self.sent += len(data)

    async def answer(self, body: bytes, status: int = 200, /, **headers: str) -> None:
        """An ordinary answer; a header given here replaces the usual one of that name."""
        told = {"Content-Length": str(len(body)), "Content-Type": "application/json"}
        told |= {name.replace("_", "-").title(): value for name, value in headers.items()}
        head = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in told.items()), "", ""]
        await self.write("\r\n".join(head).encode("utf-8", "surrogateescape") + body)


Lie = Callable[[Call], Awaitable[None]]


def said(body: bytes | str, status: int = 200, /, **headers: str) -> Lie:
    """A lie that is one ordinary answer."""

    async def lie(call: Call) -> None:
        await call.answer(
            body if isinstance(body, bytes) else body.encode("utf-8", "surrogateescape"), status, **headers
        )

    return lie


def endless(head: bytes, chunk: bytes) -> Lie:
    """A lie without end, as fast as the other side takes it."""

    async def lie(call: Call) -> None:
        await call.write(head)
        while True:
            await call.write(chunk)

    return lie


def envelope(data: Any, code: int = 0, msg: str = "success") -> bytes:
    """The platform's usual envelope."""
    return json.dumps({"code": code, "msg": msg, "data": data}).encode("ascii")


def row(output: Any, error_type: str = "info", id: Any = "81", title: Any = "Save") -> dict[str, Any]:
    """An output row."""
    return {"id": id, "title": title, "output": output, "error_type": error_type}


@dataclass
class Trick:
    """What is done to the job of one file."""

    outputs: Any = None
    """The rows of its success; None: one innocent output."""
    status: str = "success"
    run: Lie | None = None
    poll: Lie | None = None
    view: Lie | None = None
    """In place of the whole answer to that call; `view` is any GET that is none of the API's and names the stem."""


class Villain:
    """The hostile platform; `tricks` by the stem of the dropped file. To be used with `with`."""

    def __init__(self, *hosts: str) -> None:
        self.tricks: dict[str, Trick] = {}
        self.status: Lie = said(envelope(CLUSTERS))
        self.calls: list[Call] = []
        self.fed: list[str] = []
        """The stem of each submitted file, in the order of the tasks' ids, which begin at 1."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="villain", daemon=True)
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(self._listen(hosts or ("127.0.0.1",)), self._loop)
        self.netlocs = listening.result(DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(DEADLINE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def base_url(self) -> str:
        """Where the platform is."""
        return f"http://{self.netlocs[0]}"

    @property
    def port(self) -> str:
        """The platform's port."""
        return self.netlocs[0].rpartition(":")[2]

    def elsewhere(self) -> list[Call]:
        """What arrived that was not meant for the platform's own origin."""
        own = self.netlocs[0]
        return [call for call in list(self.calls) if (call.at, call.host) != (own, own)]

    def submitted(self, stem: str) -> int:
        """How many tasks were made of a file."""
        return self.fed.count(stem)

    async def _listen(self, hosts: tuple[str, ...]) -> list[str]:
        self._servers, found = [], []
        for host in hosts:
            server = await asyncio.start_server(lambda r, w: self._serve(r, w), host, 0, limit=2**20)
            name = f"[{host}]" if ":" in host else host
            found.append(f"{name}:{server.sockets[0].getsockname()[1]}")
            self._servers.append(server)
        return found

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        serving = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Small buffers: what is "sent" is to be near to what the other side has taken.
        raw_socket: socket.socket = writer.get_extra_info("socket")
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        writer.transport.set_write_buffer_limits(0)
        host, port = writer.get_extra_info("sockname")[:2]
        at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, *lines = head.decode("latin-1").rstrip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, target, _ = first.split(" ", 2)
                call = Call(at, method, target, headers, head + body, writer)
                self.calls.append(call)
                await self._answer(call, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, call: Call, body: bytes) -> None:
        if call.target.startswith("/openapi/v1/workflow/cluster/"):
            await self.status(call)
        elif call.method == "POST":
            found = _FED.search(body)
            stem = found[1].decode("utf-8", "replace").rpartition(".")[0] if found else "?"
            self.fed.append(stem)
            lie = self._trick(stem).run or said(envelope({"task_id": len(self.fed)}))
            await lie(call)
        elif call.target.startswith("/openapi/"):
            trick = self._trick(self.fed[int(call.target.rpartition("/")[2]) - 1])
            await (trick.poll or said(envelope(self._report(trick))))(call)
        else:
            stem = next((stem for stem in self.tricks if stem in call.target), "?")
            await (self._trick(stem).view or said(MEDIA + stem.encode(), content_type="image/png"))(call)

    def _trick(self, stem: str) -> Trick:
        return self.tricks.get(stem) or Trick()

    def _report(self, trick: Trick) -> Mapping[str, Any]:
        outputs = [row("innocent.png")] if trick.outputs is None else trick.outputs
        return {"status": trick.status, "progress": None, "outputs": outputs}
