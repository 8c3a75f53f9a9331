"""The body of a submission: what an independent parser reads out of it is what was put in."""

import email
import email.policy
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderdrop.platform.multipart import FilePart, Multipart


def part(data: bytes, name: str = "input_image", filename: str = "a.png", media: str = "image/png") -> FilePart:
    async def chunks() -> AsyncIterator[bytes]:
        for i in range(0, len(data), 7):
            yield data[i : i + 7]

    return FilePart(name, filename, media, len(data), chunks)


async def nothing() -> None:
    pass


async def whole(body: Multipart) -> bytes:
    return b"".join([chunk async for chunk in body.body()])


def parsed(headers: dict[str, str], body: bytes) -> list[EmailMessage]:
    head = f"MIME-Version: 1.0\r\nContent-Type: {headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert not message.defects
    return [found for found in message.iter_parts() if isinstance(found, EmailMessage)]


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from(["workflow_id", "prompt", "seed", "文本"]), st.text(st.characters(exclude_categories=["Cs"]))
    ),
    st.lists(st.binary(max_size=200), max_size=3),
)
async def test_the_length_is_exact_and_the_bytes_come_back(fields: dict[str, str], datas: list[bytes]) -> None:
    body = Multipart(fields, [part(data, f"input_{i}") for i, data in enumerate(datas)], nothing)
    raw = await whole(body)
    assert len(raw) == int(body.headers["Content-Length"])
    boundary = body.headers["Content-Type"].partition("boundary=")[2].encode()
    # Taken apart by hand: e-mail's parser mends line ends, and files must not be mended.
    pieces = raw.split(b"--" + boundary)
    assert pieces[0] == b""
    assert pieces[-1] == b"--\r\n"
    contents = [piece.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for piece in pieces[1:-1]]
    assert contents == [*(value.encode() for value in fields.values()), *datas]


async def test_an_independent_parser_reads_names_types_and_order() -> None:
    body = Multipart(
        {"workflow_id": "1234", "prompt": "油画"}, [part(b"\x89PNG\r\n\x1a\n\x00", filename="肖像.png")], nothing
    )
    found = parsed(body.headers, await whole(body))
    names = [p.get_param("name", header="content-disposition") for p in found]
    assert names == ["workflow_id", "prompt", "input_image"]
    assert found[2].get_content_type() == "image/png"
    assert found[2].get_payload(decode=True) == b"\x89PNG\r\n\x1a\n\x00"
    assert 'filename="肖像.png"'.encode() in await whole(body)


async def test_a_file_name_cannot_end_its_header() -> None:
    body = Multipart({'a"b': "x"}, [part(b"x", filename='q".png"\r\nX-Forged: 1\r\n\r\n\udcff')], nothing)
    raw = await whole(body)
    assert b"\r\nX-Forged" not in raw
    assert b'name="a%22b"' in raw
    assert b'filename="q%22.png%22%0D%0AX-Forged: 1%0D%0A%0D%0A' in raw
    assert len(parsed(body.headers, raw)) == 2


async def test_the_last_bytes_leave_only_after_before_last_returned() -> None:
    order: list[str] = []

    async def before_last() -> None:
        order.append("before last")

    body = Multipart({"a": "b"}, [part(b"0123456789")], before_last)
    chunks: list[bytes] = []
    async for chunk in body.body():
        assert body.complete == ("before last" in order)
        chunks.append(chunk)
    assert body.complete
    assert chunks[-1].endswith(b"--\r\n")
    assert not b"".join(chunks[:-1]).endswith(b"--\r\n")


def _breaking(at: int) -> Callable[[], AsyncIterator[bytes]]:
    async def chunks() -> AsyncIterator[bytes]:
        for i in range(5):
            if i == at:
                raise RuntimeError("the disk went")
            yield b"x"

    return chunks


@pytest.mark.parametrize("at", range(5))
async def test_a_file_that_breaks_leaves_the_body_unfinished(at: int) -> None:
    called: list[str] = []

    async def before_last() -> None:
        called.append("")

    body = Multipart({"a": "b"}, [FilePart("f", "f.png", "image/png", 5, _breaking(at))], before_last)
    raw = b""

    async def send() -> None:
        nonlocal raw
        async for chunk in body.body():
            raw += chunk

    with pytest.raises(RuntimeError, match="the disk went"):
        await send()
    assert not body.complete
    assert not called
    assert not raw.endswith(b"--\r\n")
    assert len(raw) < int(body.headers["Content-Length"])


async def test_a_doubt_at_the_last_moment_leaves_the_body_unfinished() -> None:
    async def before_last() -> None:
        raise RuntimeError("it changed")

    body = Multipart({}, [part(b"abc")], before_last)
    with pytest.raises(RuntimeError, match="it changed"):
        await whole(body)
    assert not body.complete


def test_two_bodies_have_two_boundaries() -> None:
    assert Multipart({}, [], nothing).headers["Content-Type"] != Multipart({}, [], nothing).headers["Content-Type"]
