"""Fetches the pictures that a model task names by URL, as the platform would from its side of the internet.

Owns: those requests and their bounds. A URL that cannot be had is told without its query: a presigned one carries
its signature there. Must never send a token, nor follow a proxy of this machine.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import aiohttp
from yarl import URL

from renderdrop.sandbox.tasks import Upload

SECONDS: Final = 20.0
MAX_SIZE: Final = 64 << 20
PIECE: Final = 1 << 20
INPUT: Final = "images"
"""The parameter that the fetched pictures belong to."""


class Unfetched(Exception):
    """A picture cannot be had; the message is for whoever polls the task."""

    def __init__(self, url: str, why: str) -> None:
        parts = urlsplit(url)
        super().__init__(
            f"无法下载图片 {parts.scheme}://{parts.netloc}{parts.path} (the image cannot be fetched: {why})"
        )


async def fetched(urls: Sequence[str], folder: Path) -> tuple[Upload, ...]:
    """Each URL's file, below the new `folder`. Raises Unfetched, OSError."""
    await asyncio.to_thread(folder.mkdir)
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        return tuple([await _one(session, url, folder / f"{place:02d}") for place, url in enumerate(urls)])


async def _one(session: aiohttp.ClientSession, url: str, path: Path) -> Upload:
    try:
        # A signature counts every byte of the URL: it goes out as it came.
        async with session.get(URL(url, encoded=True), max_redirects=3, headers={"Accept-Encoding": "identity"}) as got:
            if got.status != 200:
                raise Unfetched(url, f"HTTP {got.status}")
            size, sha256 = await _kept(got.content, path, url)
            content_type = got.headers.get("Content-Type", "application/octet-stream")
    except TimeoutError:
        raise Unfetched(url, f"no answer within {SECONDS:.0f} s") from None
    except (aiohttp.ClientError, ValueError) as error:
        # Never the whole text: some of these quote the URL.
        raise Unfetched(url, getattr(error, "strerror", None) or type(error).__name__) from None
    name = unquote(urlsplit(url).path.rsplit("/", 1)[-1]) or "image"
    return Upload(INPUT, name, content_type, size, sha256, str(path))


async def _kept(stream: aiohttp.StreamReader, path: Path, url: str) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    with path.open("xb") as file:
        async for piece in stream.iter_chunked(PIECE):
            size += len(piece)
            if size > MAX_SIZE:
                raise Unfetched(url, f"it is larger than {MAX_SIZE} bytes")
            await asyncio.to_thread(file.write, piece)
            digest.update(piece)
    if size == 0:
        raise Unfetched(url, "it is empty")
    return size, digest.hexdigest()
