"""The wire: bounded HTTP calls to the platform, with the token kept to its origin.

Owns connections, deadlines, caps and the one rule about the token: it goes to `base_url`'s scheme,
host and port, request by request, and nowhere else. Redirects are never followed by a call.

One single-connection httpx client a slot: a shared httpx pool slows down badly from eight requests at
once and leaks slots when a request is cancelled, so a slot whose request did not end in peace is thrown
away with its client. Proxies and .netrc from the environment are not used: both could see the token.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import certifi
import httpx
from pydantic import SecretStr

from renderdrop.model.errors import Fault, PlatformDown, Temporary
from renderdrop.platform.answers import Answer, Nonsense
from renderdrop.platform.data_uri import is_data_uri

BODY_CAP: Final = 4 * 2**20
"""Bytes of an answer to a call. A poll's answer with hundreds of outputs is far below 1 MiB."""
CONNECT: Final = 10.0
IDLE: Final = 60.0
"""Seconds: to connect; of silence while reading or writing. DESIGN leaves both to us."""
ANSWER: Final = 120.0
"""Seconds to wait for the answer to a submission. Long on purpose: giving up too early may pay twice."""
CALL_DEADLINE: Final = 45.0
"""Seconds for a whole call with a small body, however slowly the answer drips."""
SLOWEST_ANSWER: Final = 256_000
"""Bytes a second on which the longer deadline of a longer answer is reckoned."""

CALLS: Final = 8
"""Small calls at once."""
TRANSFERS: Final = 64
"""Slots for uploads and for downloads; how many of them are used is the stages' business."""

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
        return httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False)


class Client:
    """All connections to the platform. `calls` serve polls and status, so that neither waits behind a big file."""

    def __init__(self, base_url: str, token: SecretStr) -> None:
        self.base_url = base_url.rstrip("/")
        self._token = token
        self._origin = origin(self.base_url)
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

    async def get(self, path: str, cap: int | None = None) -> Answer:
        """One small call; `cap`: bytes of an answer that may be longer than BODY_CAP, with the time that it needs.
        Raises PlatformDown when nobody can be reached, Temporary when the answer does not come."""
        cap = BODY_CAP if cap is None else cap
        deadline = CALL_DEADLINE + max(0, cap - BODY_CAP) / SLOWEST_ANSWER
        async with self._calls.one() as client:
            request = client.build_request("GET", self.base_url + path, headers=self._headers(self.base_url))
            return await self._exchange(client, request, deadline, cap)

    async def post(
        self, path: str, content: AsyncIterator[bytes], headers: Mapping[str, str], deadline: float
    ) -> Answer:
        """Send a streamed body. What the stream itself raises comes through unchanged."""
        async with self._uploads.one() as client:
            request = client.build_request(
                "POST",
                self.base_url + path,
                headers={**headers, **self._headers(self.base_url)},
                content=content,
                timeout=httpx.Timeout(IDLE, connect=CONNECT, read=ANSWER),
            )
            return await self._exchange(client, request, deadline)

    @asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """A download's response, its body unread. The token goes along only to the platform's own origin."""
        async with self._downloads.one() as client:
            response: httpx.Response | None = None
            try:
                request = client.build_request("GET", url, headers={**headers, **self._headers(url)})
                response = await client.send(request, stream=True)
                yield response
            except httpx.HTTPError as error:
                raise fault_of(error) from error
            except httpx.InvalidURL as error:
                raise Nonsense("the platform gave a URL that cannot be fetched") from error
            finally:
                if response is not None:
                    await response.aclose()

    async def close(self) -> None:
        """Close every idle connection."""
        for slots in (self._calls, self._uploads, self._downloads):
            await slots.close()

    def _headers(self, url: str) -> dict[str, str]:
        if origin(url) != self._origin:
            return dict(_IDENTITY)
        return {**_IDENTITY, "Authorization": f"Bearer {self._token.get_secret_value()}"}

    async def _exchange(
        self, client: httpx.AsyncClient, request: httpx.Request, deadline: float, cap: int = BODY_CAP
    ) -> Answer:
        try:
            async with asyncio.timeout(deadline):
                response = await client.send(request, stream=True)
                try:
                    return Answer(response.status_code, _lower(response.headers), await _capped(response, cap))
                finally:
                    await response.aclose()
        except TimeoutError:
            raise Temporary(f"the platform did not answer within {deadline:.0f} s") from None
        except httpx.HTTPError as error:
            raise fault_of(error) from error


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what must be equal for the token to go along. Raises Nonsense for no URL at all.
    A data: URI has none; it is not taken apart, for it may be huge and `urlsplit` remembers what it saw."""
    if is_data_uri(url):
        return "data", "", None
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        return parts.scheme, (parts.hostname or "").lower(), port
    except ValueError:
        raise Nonsense("the platform gave a URL that cannot be read") from None


def fault_of(error: httpx.HTTPError) -> Fault:
    """One of ours for one of httpx's: whether anybody was reached at all decides how far it reaches."""
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return PlatformDown(f"the platform cannot be reached ({_cause(error)})")
    if isinstance(error, httpx.TimeoutException):
        return Temporary("the connection to the platform went silent")
    return Temporary(f"the connection to the platform broke ({_cause(error)})")


def _cause(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__


def _lower(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


async def _capped(response: httpx.Response, cap: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > cap:
            raise Nonsense(f"the platform's answer is longer than {cap // 2**20} MiB")
    return bytes(body)
