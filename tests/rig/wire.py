"""A proxy of faults between the daemon and the platform: a real socket on which everything can go wrong.

It stands before the sandbox: `base_url` points to it, and so do the addresses of outputs. A request is read, forwarded
on a connection of its own, and answered; rules say on which calls what goes wrong (`harms.py`). What was forwarded
whole the platform has taken, whatever became of its answer; what was not, it has not seen. A second address
(`elsewhere`) is the other host of redirects: it counts every token that comes to it.
"""

import asyncio
import random
import re
import threading
from collections import Counter
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from tests.rig import harms
from tests.rig.platform import DEADLINE, Platform

TAKING: Final = ("run", "upload", "submit", "generate")
ASKING: Final = ("poll", "poll_native", "result", "status")
CALLS: Final = (*TAKING, *ASKING, "view")
_API: Final = "/openapi/v1"
_PATHS: Final = (
    ("POST", f"{_API}/workflow/apps/run", "run"),
    ("GET", f"{_API}/workflow/apps/task/", "poll"),
    ("GET", f"{_API}/workflow/cluster/", "status"),
    ("POST", f"{_API}/workflow/upload/file", "upload"),
    ("POST", f"{_API}/workflow/task/submit", "submit"),
    ("GET", f"{_API}/workflow/task/", "poll_native"),
    ("POST", f"{_API}/generate/", "generate"),
    ("GET", f"{_API}/generate/result/", "result"),
    ("GET", "/api/view", "view"),
)


@dataclass
class Rule:
    """What goes wrong, on which calls, and how often. The first rule that fires is the one."""

    do: str
    calls: tuple[str, ...]
    chance: float = 1.0
    count: int | None = None
    once: bool = False
    """Each file that is sent meets it once at most, by its name."""
    fired: int = 0
    met: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        # A rule that could never fire proves nothing.
        assert self.do in harms.HARMS, self.do
        assert set(self.calls) <= set(CALLS), self.calls


@dataclass
class Exchange:
    """One request under way. `body` and `answer` once they were read."""

    wire: "Wire"
    call: str
    method: str
    path: str
    head: bytes
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: bytes = b""
    status: int = 0
    fields: list[tuple[str, str]] = field(default_factory=list)
    answer: bytes = b""

    async def read_body(self) -> None:
        """Once or more often."""
        self.body = self.body or await self.reader.readexactly(int(self.headers.get("content-length", 0)))

    async def forward(self) -> None:
        """Carry it to the platform, which takes it; its answer is here then and nowhere else."""
        host, port = self.wire.behind
        reader, writer = await asyncio.open_connection(host, port)
        try:
            lines = [line for line in self.head.split(b"\r\n")[:-2] if not line.lower().startswith(b"connection:")]
            writer.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + self.body)
            head, _, answer = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.close()
        first, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in fields)]
        self.fields = [(n, v) for n, v in pairs if n.lower() not in ("connection", "content-length", "date", "server")]
        self.answer = self.wire.ours(answer) if self.call != "view" else answer

    async def send(
        self, status: int, body: bytes = b"", *fields: tuple[str, str], first: str = "HTTP/1.1", length: bool = True
    ) -> None:
        """An answer of this status line, these fields and this body."""
        lines = [f"{first} {status} Said", *(f"{name}: {value}" for name, value in fields)]
        lines += [f"Content-Length: {len(body)}"] if length else []
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        await self.writer.drain()

    async def right(self) -> None:
        """The platform's own answer, as it is."""
        await self.send(self.status, self.answer, *self.fields)

    def reset(self) -> None:
        """RST, and no orderly end."""
        harms.reset(self.writer)


class Wire:
    """The proxy, in a thread with a loop of its own."""

    def __init__(self, platform: Platform, seed: int = 4) -> None:
        self.random: random.Random = random.Random(seed)
        self.fired: Counter[tuple[str, str]] = Counter()
        """(call, harm) → how often."""
        self.asked: Counter[str] = Counter()
        self.leaks = 0
        """Requests to the other host that bore a token."""
        self.gone: frozenset[str] = frozenset()
        """Tasks that the platform does not know any more; "*" is all."""
        self._rules: tuple[Rule, ...] = ()
        behind = urlsplit(platform.base_url)
        self.behind = behind.hostname or "", behind.port or 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._thread.start()
        self._servers: list[asyncio.Server] = []
        self._talks: set[asyncio.Task[None]] = set()
        self.base_url, self.elsewhere = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(DEADLINE)

    def rules(self, *rules: Rule) -> None:
        """These rules from now on, and no others."""
        self._rules = rules

    def times(self, *harms_of: str, calls: Iterable[str] = CALLS) -> int:
        """How often these harms have been done to these calls."""
        return sum(self.fired[call, do] for call in calls for do in harms_of)

    def stop(self) -> None:
        """End it, whoever still waits for an answer."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(DEADLINE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ours(self, answer: bytes) -> bytes:
        """With every address of the platform turned into this one."""
        return answer.replace(f"{self.behind[0]}:{self.behind[1]}".encode(), urlsplit(self.base_url).netloc.encode())

    async def _start(self) -> tuple[str, str]:
        urls = []
        for talk in (self._talk, self._talk_elsewhere):
            server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=2**20)
            self._servers.append(server)
            urls.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        return urls[0], urls[1]

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._kept(self._serve(reader, writer), writer)

    async def _talk_elsewhere(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._kept(self._serve_elsewhere(reader, writer), writer)

    async def _kept(self, work: Coroutine[Any, Any, None], writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(work)
        self._talks.add(task)
        try:
            await task
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self._talks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while exchange := await self._next(reader, writer):
            self.asked[exchange.call] += 1
            if self._is_gone(exchange):
                self.fired[exchange.call, "gone"] += 1
                await exchange.read_body()
                told = self.fired[exchange.call, "gone"] % 2
                body = b'{"code": 40400, "msg": "no such task", "data": null}' if told else b"<html>404</html>"
                await exchange.send(404, body)
            elif exchange.path.startswith("/loop/"):
                await exchange.send(302, b"", ("Location", "/loop/" + ("b" if exchange.path.endswith("a") else "a")))
            elif rule := await self._pick(exchange):
                rule.fired += 1
                self.fired[exchange.call, rule.do] += 1
                await harms.HARMS[rule.do](exchange)
                return  # who was harmed begins anew
            else:
                await exchange.read_body()
                await exchange.forward()
                await exchange.right()

    async def _serve_elsewhere(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The other host: it has the outputs too."""
        while exchange := await self._next(reader, writer):
            self.leaks += "authorization" in exchange.headers or b"AI-sandbox" in exchange.head
            if exchange.call != "view":
                self.leaks += 1  # no call may come here at all
                return
            await exchange.forward()
            await exchange.right()

    async def _next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        call = next((name for m, begin, name in _PATHS if m == method and path.startswith(begin)), "")
        return Exchange(self, call, method, path, head, headers, reader, writer)

    def _is_gone(self, exchange: Exchange) -> bool:
        if "*" in self.gone:
            return True
        return exchange.call in ("poll", "poll_native", "result") and exchange.path.rpartition("/")[2] in self.gone

    async def _pick(self, exchange: Exchange) -> Rule | None:
        ranged = re.fullmatch(r"bytes=[0-9]+-", exchange.headers.get("range", "")) is not None
        for rule in self._rules:
            if exchange.call not in rule.calls or (rule.count is not None and rule.fired >= rule.count):
                continue
            if rule.do.startswith("range_") and not ranged:
                continue
            if self.random.random() >= rule.chance:
                continue
            if rule.once:
                await exchange.read_body()
                name = exchange.body.partition(b'filename="')[2].partition(b'"')[0]
                if name in rule.met:
                    continue
                rule.met.add(name)
            return rule
        return None
