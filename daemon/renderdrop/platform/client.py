"""The wire: bounded HTTP calls to the platform, with the token kept to its origin.

Owns connections, deadlines, caps and the one rule about the token: it goes to `base_url`'s scheme,
host and port, request by request, and nowhere else. Redirects are never followed by a call.

One single-connection httpx client a slot: a shared httpx pool slows down badly from eight requests at
once and leaks slots when a request is cancelled, so a slot whose request did not end in peace is thrown
away with its client. Proxies and .netrc from the environment are not used: both could see the token.
"""

import asyncio
import select
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from http.cookiejar import CookieJar
from typing import Any, Final

import certifi
import httpcore
import httpx
from pydantic import SecretStr

from renderdrop.model.errors import Fault, PlatformDown, Temporary, Undeliverable
from renderdrop.model.mask import Mask
from renderdrop.model.names import shown
from renderdrop.platform.answers import Answer, Nonsense, Unsent
from renderdrop.platform.data_uri import is_data_uri
from renderdrop.platform.reach import Gate

BODY_CAP: Final = 4 * 2**20
"""Bytes of an answer to a call. A poll's answer with hundreds of outputs is far below 1 MiB."""
CONNECT: Final = 10.0
IDLE: Final = 60.0
"""Seconds: to connect; of silence while reading or writing. DESIGN leaves both to us."""
WRITE: Final = 120.0
"""Seconds for one piece of a body (1 MiB at most) to leave. This is an upload's deadline: it asks for progress, 8.7 kB
a second at least, and bounds no size. DESIGN leaves it to us; a download's floor is the same (`results.SLOWEST`)."""
ANSWER: Final = 120.0
"""Seconds from the last byte of a submission to the end of its answer, however slowly that drips. Long on purpose:
giving up too early may pay twice."""
HEADERS: Final = 60.0
"""Seconds until a download's headers are there, connecting included. Its body has a floor of its own (`results`)."""
CALL_DEADLINE: Final = 45.0
"""Seconds for a whole call with a small body, however slowly the answer drips."""
SLOWEST_ANSWER: Final = 256_000
"""Bytes a second that lengthen a call's deadline as they come, for an answer that is long; a drip gains nothing."""

CALLS: Final = 8
"""Small calls at once."""
TRANSFERS: Final = 64
"""Slots for uploads and for downloads; how many of them are used is the stages' business."""

_SHORT: Final = 2**16
"""Bytes of an answer that costs nobody any time worth speaking of, whatever is in it."""
_CAUSE: Final = 200
"""Characters of a library's words about a broken connection; they may quote the server."""
_NO_ADDRESS: Final = "the platform leads to an address that cannot be fetched"

_IDENTITY: Final = {"Accept-Encoding": "identity"}


class Slots:
    """A bounded set of single-connection clients; the one used last is used next, so that few stay warm."""

    def __init__(self, size: int, context: ssl.SSLContext, keepalive: bool = True) -> None:
        self._context = context
        self._kept = 1 if keepalive else 0
        self._idle: asyncio.LifoQueue[httpx.AsyncClient | None] = asyncio.LifoQueue()
        for _ in range(size):
            self._idle.put_nowait(None)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client for one request; returned when it ended in peace, thrown away when it did not."""
        client = await self._idle.get()
        try:
            if client is None:
                client = self._make()
            yield client
        except BaseException:
            dead, client = client, None
            if dead is not None:
                await asyncio.shield(dead.aclose())
            raise
        finally:
            self._idle.put_nowait(client)

    async def close(self) -> None:
        """Close the idle clients."""
        while not self._idle.empty():
            if client := self._idle.get_nowait():
                await client.aclose()

    def _make(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(
            verify=self._context,
            trust_env=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=self._kept, keepalive_expiry=60.0),
        )
        timeout = httpx.Timeout(IDLE, connect=CONNECT)
        return httpx.AsyncClient(
            transport=transport, timeout=timeout, trust_env=False, follow_redirects=False, cookies=_NoCookies()
        )  # fmt: skip


class _NoCookies(CookieJar):
    """Keeps none: a gateway that sets one a call would make every request longer, until none is taken."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Pass over what was set."""


class _Line:
    """The connection of one request, seen beside httpx: has the other end hung up yet?"""

    def __init__(self) -> None:
        self._socket: Any = None

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore's own extension, by which it names the connection that it made."""
        if event == "connection.connect_tcp.complete":
            self._socket = info["return_value"].get_extra_info("socket")

    @property
    def hung_up(self) -> bool:
        """Whether it was closed or reset. An answer that came early on an open line is none: httpx will read it."""
        if self._socket is None or self._socket.fileno() < 0:
            return False
        look = select.poll()
        look.register(self._socket.fileno(), select.POLLRDHUP)
        return bool(look.poll(0))


class Client:
    """All connections to the platform. `calls` serve polls and status, so that neither waits behind a big file."""

    def __init__(self, base_url: str, token: SecretStr) -> None:
        self.base_url = base_url.rstrip("/")
        self._token = token
        self._mask = Mask(token.get_secret_value())
        self._origin = origin(self.base_url)
        self._gate = Gate(self._origin[1], self._origin[2])
        context = ssl.create_default_context()  # the system's authorities, and $SSL_CERT_FILE
        context.load_verify_locations(certifi.where())
        self._calls = Slots(CALLS, context)
        # A connection that the server is just closing for idleness would swallow a whole small request and leave it
        # unknown whether it was taken: a submission always has a new one.
        self._uploads = Slots(TRANSFERS, context, keepalive=False)
        self._downloads = Slots(TRANSFERS, context)

    def use_token(self, token: SecretStr) -> None:
        """From the next request on, another token (it was renewed and the settings were read again)."""
        self._token = token
        self._mask.add(token.get_secret_value())

    async def get(self, path: str, cap: int | None = None) -> Answer:
        """One small call; `cap`: bytes of an answer that may be longer than BODY_CAP, with the time that it needs.
        Raises PlatformDown when nobody can be reached, Temporary when the answer does not come."""
        cap = BODY_CAP if cap is None else cap
        async with self._calls.one() as client:
            request = client.build_request("GET", self.base_url + path, headers=self._headers(self.base_url))
            return await self._exchange(client, request, CALL_DEADLINE, cap)

    async def post(self, path: str, content: AsyncIterator[bytes], headers: Mapping[str, str]) -> Answer:
        """Send a streamed body, in pieces of 1 MiB at most. What the stream itself raises comes through unchanged.
        Raises as `get` does, and Unsent where the body certainly did not leave whole."""
        line, patience, cut = _Line(), asyncio.timeout(CALL_DEADLINE + ANSWER), False

        async def paced() -> AsyncIterator[bytes]:
            nonlocal cut
            clock = asyncio.get_running_loop().time
            patience.reschedule(None)  # the stream takes its own time
            async for piece in content:
                if line.hung_up:
                    cut = True
                    # What httpcore itself meets when it writes to a closed line: it goes on to read an early answer.
                    raise httpcore.WriteError("the platform hung up before the request was whole")
                patience.reschedule(clock() + WRITE + ANSWER)
                yield piece
                patience.reschedule(None)
            patience.reschedule(clock() + ANSWER)

        async with self._uploads.one() as client:
            request = client.build_request(
                "POST",
                self.base_url + path,
                headers={**headers, **self._headers(self.base_url)},
                content=paced(),
                timeout=httpx.Timeout(IDLE, connect=CONNECT, write=WRITE, read=ANSWER),
                extensions={"trace": line.trace},
            )
            try:
                answer = await self._exchange(client, request, ANSWER, patience=patience)
            except Temporary as fault:
                if cut:
                    raise Unsent("the platform hung up before the request was whole") from fault
                raise
            return replace(answer, whole=not cut)

    @asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """A download's response, its body unread. The token goes along only to the platform's own origin; what is
        elsewhere must not be nearer to us than the platform (`reach`). Raises Undeliverable for such an address."""
        address = _parsed(url)
        if not address.host:
            raise Undeliverable("the platform gave an address without a host")
        async with self._downloads.one() as client:
            response: httpx.Response | None = None
            try:
                request = client.build_request(
                    "GET", address, headers={**headers, **self._headers(address)}, extensions=self._watched(address)
                )
                try:
                    async with asyncio.timeout(HEADERS):
                        response = await client.send(request, stream=True)
                except TimeoutError:
                    raise Temporary(f"the download did not begin within {HEADERS:.0f} s") from None
                response.headers = httpx.Headers(self._masked(response.headers), encoding="utf-8")
                yield response
            except httpx.HTTPError as error:
                raise self._fault(error) from None
            except httpx.InvalidURL:
                raise Nonsense(_NO_ADDRESS) from None
            finally:
                if response is not None:
                    await response.aclose()

    async def close(self) -> None:
        """Close every idle connection."""
        for slots in (self._calls, self._uploads, self._downloads):
            await slots.close()

    def _headers(self, url: str | httpx.URL) -> dict[str, str]:
        if origin(url) != self._origin:
            return dict(_IDENTITY)
        return {**_IDENTITY, "Authorization": f"Bearer {self._token.get_secret_value()}"}

    async def _exchange(
        self,
        client: httpx.AsyncClient,
        request: httpx.Request,
        deadline: float,
        cap: int = BODY_CAP,
        patience: asyncio.Timeout | None = None,
    ) -> Answer:
        """`patience`: a deadline that somebody else moves; without one it is moved by what comes of the answer."""
        until = asyncio.get_running_loop().time() + deadline
        moving = patience or asyncio.timeout(deadline)

        def moved(size: int) -> None:
            if patience is None:
                moving.reschedule(until + size / SLOWEST_ANSWER)

        try:
            async with moving:
                response = await client.send(request, stream=True)
                try:
                    body = await _capped(response, cap, moved)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise Temporary(f"the platform did not answer within {deadline:.0f} s") from None
        except httpx.HTTPError as error:
            raise self._fault(error) from None
        except httpx.InvalidURL:  # httpx reads the address of a redirect that it does not follow
            raise Nonsense(_NO_ADDRESS) from None
        return Answer(response.status_code, dict(self._masked(response.headers)), await self._struck(body))

    async def _struck(self, body: bytes) -> bytes:
        """Without the token. A long answer is searched beside the loop: it may take seconds, if it is made for that."""
        return self._mask.body(body) if len(body) <= _SHORT else await asyncio.to_thread(self._mask.body, body)

    def _watched(self, url: httpx.URL) -> dict[str, Any]:
        return {} if origin(url) == self._origin else {"trace": self._gate.watch}

    def _masked(self, headers: httpx.Headers) -> list[tuple[str, str]]:
        return [(name.lower(), self._mask.text(value)) for name, value in headers.items()]

    def _fault(self, error: httpx.HTTPError) -> Fault:
        """Its words may be the server's own (a status line that is none)."""
        fault = fault_of(error)
        return type(fault)(self._mask.text(fault.sentence))


def origin(url: str | httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port: what must be equal for the token to go along, as the one reader of URLs sees them that
    also connects. Raises Undeliverable for no URL at all. A data: URI has none; it may be huge, and is not read."""
    if isinstance(url, str):
        if is_data_uri(url):
            return "data", "", None
        url = _parsed(url)
    return url.scheme, url.host.lower(), url.port or {"http": 80, "https": 443}.get(url.scheme)


def _parsed(url: str) -> httpx.URL:
    """Without a name and password in it: they would take the token's place in the request."""
    try:
        found = httpx.URL(url)
        return found.copy_with(userinfo=b"") if found.userinfo else found
    except (httpx.InvalidURL, ValueError):
        raise Undeliverable("the platform gave an address that cannot be read") from None


def fault_of(error: httpx.HTTPError) -> Fault:
    """One of ours for one of httpx's: whether anybody was reached at all decides how far it reaches."""
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return PlatformDown(f"the platform cannot be reached ({_cause(error)})")
    if isinstance(error, httpx.TimeoutException):
        return Temporary("the connection to the platform went silent")
    return Temporary(f"the connection to the platform broke ({_cause(error)})")


def _cause(error: httpx.HTTPError) -> str:
    return shown(str(error))[:_CAUSE] or type(error).__name__


async def _capped(response: httpx.Response, cap: int, moved: Callable[[int], None]) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > cap:
            raise Nonsense(f"the platform's answer is longer than {cap // 2**20} MiB")
        moved(len(body))
    return bytes(body)
