"""Results that come inside the answer, as data: URIs: unpacked whole, without any network, or refused."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model.errors import Undeliverable
from renderdrop.platform import data_uri
from renderdrop.platform.answers import Nonsense
from renderdrop.platform.client import Client, origin
from renderdrop.platform.data_uri import decoded, is_data_uri, media_type
from renderdrop.platform.reports import output_url
from renderdrop.platform.results import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.platform.conftest import Serve, Wire

    Talking = Callable[[str], AbstractAsyncContextManager[Client]]

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NO_CLIENT = cast(Client, None)
"""Whoever unpacks a data: URI has no use for one."""
DATA = bytes(range(256)) * 3 + b"\xff"
TEXT = base64.b64encode(DATA).decode()


class Kept:
    """A sink in memory."""

    def __init__(self) -> None:
        self.data = b""

    @property
    def size(self) -> int:
        return len(self.data)

    async def write(self, chunk: bytes) -> None:
        self.data += chunk

    async def restart(self) -> None:
        self.data = b""


async def unpacked(uri: str, cap: int = 10**9) -> tuple[bytes, str | None]:
    transfer, sink = Transfer(uri, cap), Kept()
    await transfer.pull(NO_CLIENT, sink, NOW)
    return sink.data, transfer.media_type


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.rstrip("="),
        "\r\n".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76)),
        TEXT.replace("+", "-").replace("/", "_"),
        quote(TEXT, safe=""),
        f" {TEXT}\n",
    ],
    ids=["plain", "no padding", "lines", "url-safe", "percent", "spaces"],
)
async def test_base64_is_read_as_encoders_write_it(text: str) -> None:
    assert await unpacked(f"data:image/png;base64,{text}") == (DATA, "image/png")


async def test_percent_encoded_content_is_read() -> None:
    assert await unpacked(f"data:image/svg+xml,{quote('<svg>猫</svg>')}") == ("<svg>猫</svg>".encode(), "image/svg+xml")
    assert await unpacked("data:text/plain;charset=utf-8,100%25%20ok") == (b"100% ok", "text/plain")


@pytest.mark.parametrize(
    ("uri", "media"),
    [
        ("data:image/png;base64,QQ==", "image/png"),
        ("DATA:Image/WEBP;BASE64,QQ==", "image/webp"),
        ("data:video/mp4;codecs=avc1;base64,QQ==", "video/mp4"),
        ("data:;base64,QQ==", None),
        ("data:,A", None),
        ("data:../../x;base64,QQ==", None),
        ("data:image/p\nng;base64,QQ==", None),
    ],
)
async def test_the_media_type_is_the_one_it_names(uri: str, media: str | None) -> None:
    assert await unpacked(uri) == (b"A", media)
    assert media_type(uri) == media


@pytest.mark.parametrize(
    "uri",
    [
        "data:",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:,",
        "data:image/png;base64,Q",
        "data:image/png;base64,QUJDR",
        "data:image/png;base64,QQ==QQ==",
        "data:image/png;base64,Q=Q=",
        "data:image/png;base64,<svg>",
        "data:image/png;base64,猫猫",
        "data:text/plain,\ud800",
        "data:" + "x" * 2000 + ",A",
    ],
)
async def test_what_cannot_be_read_can_never_be_delivered(uri: str) -> None:
    with pytest.raises(Undeliverable, match="data: URI"):
        await unpacked(uri)


async def test_the_cap_holds_before_anything_too_much_is_kept() -> None:
    assert (await unpacked(f"data:image/png;base64,{TEXT}", len(DATA)))[0] == DATA
    sink = Kept()
    with pytest.raises(Undeliverable, match="max_output"):
        await Transfer(f"data:image/png;base64,{TEXT}", len(DATA) - 1).pull(NO_CLIENT, sink, NOW)
    assert sink.size < len(DATA)


async def test_a_second_pull_begins_anew() -> None:
    transfer, sink = Transfer(f"data:image/png;base64,{TEXT}", 10**6), Kept()
    sink.data = b"of an earlier try"
    for _ in range(2):
        await transfer.pull(NO_CLIENT, sink, NOW)
        assert sink.data == DATA


async def test_a_redirect_to_a_data_uri_is_refused(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(302, Location="data:image/png;base64,QQ==")

    raw = await serve(script)
    async with talking(raw.url) as client:
        sink = Kept()
        with pytest.raises((Undeliverable, Nonsense)):
            await Transfer(raw.url, 10**6).pull(client, sink, NOW)
    assert sink.data == b""


def test_it_passes_through_where_urls_are_made_and_compared() -> None:
    uri = "data:image/png;base64,//A?=="
    assert output_url(uri, "https://platform.example") == uri
    assert origin(uri) != origin("https://platform.example")
    assert is_data_uri("Data:,x")
    assert not is_data_uri("https://a.example/data:")


@given(st.binary(max_size=300), st.integers(4, 60), st.booleans())
def test_pieces_of_any_length_give_the_same_bytes(data: bytes, length: int, percent: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_uri, "_PIECE", length)
        text = quote(base64.b64encode(data).decode(), safe="") if percent else base64.b64encode(data).decode()
        assert b"".join(decoded(f"data:image/png;base64,{text}")) == data
        assert b"".join(decoded(f"data:,{quote(data, safe='')}")) == data


@given(st.text(st.characters()))
def test_any_data_uri_is_bytes_or_one_of_our_faults(rest: str) -> None:
    for uri in (f"data:{rest}", f"data:image/png;base64,{rest}"):
        with suppress(Undeliverable):
            b"".join(decoded(uri))
        with suppress(Undeliverable):
            media_type(uri)
