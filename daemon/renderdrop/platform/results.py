"""Fetching one rendered file: capped, resumed where the server lets us, and known to be whole.

Owns what a download's answer means. It writes through a sink and never learns where the bytes go; it takes
no name from the server. A broken transfer keeps its bytes and is taken up again only with a validator
(`If-Range`, RFC 9110 13.1.5), so that two versions of a file are never glued together.
"""

import asyncio
import re
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import urljoin, urlsplit

import httpx

from renderdrop.model.errors import Busy, PlatformDown, Temporary, Undeliverable
from renderdrop.model.units import spoken_size
from renderdrop.platform.answers import Nonsense, is_busy, retry_after
from renderdrop.platform.client import Client
from renderdrop.platform.data_uri import decoded, is_data_uri, media_type, named_type

CHUNK: Final = 2**20
"""Bytes gathered before they go to the disk: one trip to a thread each."""
SLOWEST: Final = 8_000
"""Bytes a second below which a download is broken off and taken up anew: no server may hold a place for ever."""
_REDIRECTS: Final = 5
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


class Missing(Temporary):
    """The platform says that the file is not there (404, 410). It may yet appear, but not for ever."""


class Sink(Protocol):
    """Where the bytes go. `size` is what it holds now."""

    @property
    def size(self) -> int: ...
    async def write(self, chunk: bytes) -> None: ...
    async def restart(self) -> None: ...


class Transfer:
    """One file on its way; `pull` may be called again after a fault and goes on where it can."""

    def __init__(self, url: str, cap: int) -> None:
        self.url = url
        self.media_type: str | None = None
        self._cap = cap
        self._validator: str | None = None
        self._total: int | None = None
        self._ended_at: int | None = None

    async def pull(self, client: Client, sink: Sink, now: datetime) -> None:
        """Fetch what is missing. Raises Temporary (Busy, Missing, Nonsense among them), PlatformDown, or
        Undeliverable when the file is larger than the cap or its URL is none that may be fetched."""
        if sink.size and self._validator is None:
            await sink.restart()
        if is_data_uri(self.url):
            await self._unpack(sink)
            return
        url = self.url
        for _ in range(_REDIRECTS + 1):
            if _scheme(url) not in ("http", "https"):
                raise Undeliverable("the platform's output is at an address that is neither http nor https")
            async with client.stream(url, self._range(sink)) as response:
                if 300 <= response.status_code < 400 and "location" in response.headers:
                    url = _joined(url, response.headers["location"])
                    continue
                await self._accept(response, sink, now)
                return
        raise Nonsense("the output's address leads from redirect to redirect")

    async def _unpack(self, sink: Sink) -> None:
        """A result that came inside the answer: nothing is fetched. Only the platform's own word may be one; a
        redirect that leads to a data: URI is refused like every other scheme."""
        self.media_type = media_type(self.url)
        chunks = decoded(self.url)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            self._check_cap(sink.size + len(chunk))
            if chunk:
                await sink.write(chunk)
        if sink.size == 0:
            raise Undeliverable("the platform gave an empty data: URI as the result")

    def _range(self, sink: Sink) -> dict[str, str]:
        if not sink.size or self._validator is None:
            return {}
        return {"Range": f"bytes={sink.size}-", "If-Range": self._validator}

    async def _accept(self, response: httpx.Response, sink: Sink, now: datetime) -> None:
        if response.status_code == 416:
            is_all = response.headers.get("content-range", "").strip() == f"bytes */{sink.size}"
            if is_all and sink.size and self._total in (None, sink.size):
                return  # all of it was here already: only its end had not been told
            self._validator = None  # we hold more than there is, or less than there was: next time from the beginning
        _judge(response, now)
        length = _length(response)
        if response.status_code == 206:
            self._check_range(response, sink)
            if self._total is None and length is not None:
                self._total = sink.size + length
        else:
            if sink.size:
                await sink.restart()
            self._total = length
            self.media_type = named_type(response.headers.get("content-type", ""))
            self._validator = _validator(response)
        self._check_cap(self._total or 0)
        await self._drain(response, sink)
        if self._total is not None and sink.size != self._total:
            if sink.size > self._total:
                self._validator = None
            raise Temporary(f"the download was cut at {sink.size} of {self._total} bytes")
        if sink.size == 0:
            raise Nonsense("the output is empty")
        if self._total is None and "transfer-encoding" not in response.headers:
            self._doubt_end(sink.size)

    def _doubt_end(self, size: int) -> None:
        """A body without a length ends when the connection does, so a cut looks like its end. It is believed when the
        next try, which asks for the rest or fetches all of it again, ends at the same place."""
        if self._ended_at != size:
            self._ended_at = size
            raise Temporary("the output came without its length; it is looked at again, to know that it is whole")

    def _check_range(self, response: httpx.Response, sink: Sink) -> None:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
        total = found[3] if found else "*"
        other = total != "*" and self._total not in (None, int(total))
        etag, known = response.headers.get("etag"), self._validator or ""
        if etag is not None and known.startswith('"') and etag != known:
            other = True  # another version than the one that was begun, whatever If-Range said
        if found is None or int(found[1]) != sink.size or other:
            self._validator = None  # next time from the beginning
            raise Nonsense("the platform answered with another part of the file than was asked for")
        if total != "*":
            self._total = int(total)

    async def _drain(self, response: httpx.Response, sink: Sink) -> None:
        gathered = bytearray()
        chunks = response.aiter_raw()
        try:
            while not gathered:
                async with asyncio.timeout(CHUNK / SLOWEST):
                    async for chunk in chunks:
                        gathered += chunk
                        self._check_cap(sink.size + len(gathered))
                        if len(gathered) >= CHUNK:
                            break
                    else:
                        return
                await sink.write(bytes(gathered))
                gathered.clear()
        except TimeoutError:
            raise Temporary(f"the download drips: less than {spoken_size(SLOWEST)} a second") from None
        finally:
            if gathered and sink.size + len(gathered) <= self._cap:
                await sink.write(bytes(gathered))

    def _check_cap(self, size: int) -> None:
        if size > self._cap:
            raise Undeliverable(
                f"the output is larger than {spoken_size(self._cap)}; raise max_output of the route, then retry the job"
            )


def _judge(response: httpx.Response, now: datetime) -> None:
    status = response.status_code
    if status in (200, 206):
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise Nonsense("the output came compressed although it was asked for as it is")
        if response.headers.get("content-type", "").lower().startswith("text/html"):
            raise Nonsense("a web page came instead of the output")
        return
    wait = retry_after(response.headers.get("retry-after"), now)
    if is_busy(status, response.headers):
        raise Busy(f"the platform is busy (HTTP {status})", wait)
    if status == 401:
        raise PlatformDown("the token is refused for the output (HTTP 401)")
    if status in (404, 410):
        raise Missing(f"the platform does not have the output any more (HTTP {status})")
    raise Temporary(f"the output could not be fetched (HTTP {status})", wait)


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise Nonsense("the output's address leads to one that cannot be read") from None


def _length(response: httpx.Response) -> int | None:
    """None where there is none, or none that counts: chunks tell their end themselves (RFC 9112, 6.3)."""
    if "transfer-encoding" in response.headers:
        return None
    value = response.headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None


def _validator(response: httpx.Response) -> str | None:
    """A strong ETag, else a date; a weak ETag never proves that bytes are the same."""
    etag, modified = response.headers.get("etag", ""), response.headers.get("last-modified", "")
    found = str(etag if etag.startswith('"') else modified)
    return found if found and found.isascii() and found.isprintable() else None  # it is sent back in a header
