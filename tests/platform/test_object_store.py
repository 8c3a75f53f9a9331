"""The object store, against moto's real server over real HTTP; and what its troubles are called."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from renderdrop.model.errors import SourceChanged, StoreDown
from renderdrop.platform import store as store_module
from renderdrop.platform.store import LONGEST, Store, installed

if TYPE_CHECKING:
    from tests.platform.conftest import Serve, Wire

KEY_ID, SECRET = "AKIDEXAMPLE7", "s3cr3t-of-the-test"
BUCKET = "pictures"
DATA = b"\x89PNG" + bytes(range(256)) * 2000


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours alone: nothing of the machine's own, and no look for an instance role."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def store(endpoint: str) -> Store:
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    client.close()
    return Store(BUCKET, endpoint, None, "path")


def refused(store: Store) -> str:
    """The sentence with which a put ends; it must hold nothing that is secret."""
    with pytest.raises(StoreDown) as caught:
        store.put("a.png", io.BytesIO(DATA), len(DATA), "image/png")
    sentence = caught.value.sentence
    for secret in (KEY_ID, SECRET, "Signature=", "X-Amz"):
        assert secret not in sentence
    assert caught.value.__cause__ is None
    assert "bucket" in sentence
    assert "\n" not in sentence
    return sentence


def test_what_is_put_can_be_fetched_by_anybody_with_the_url_and_removed(store: Store) -> None:
    key = "renderdrop/01h/猫 + 1.png"
    store.put(key, io.BytesIO(DATA), len(DATA), "image/png")
    url = store.url(key, 3600)
    answer = httpx.get(url, trust_env=False)
    assert answer.content == DATA
    assert answer.headers["content-type"] == "image/png"
    store.remove(key)
    assert httpx.get(url, trust_env=False).status_code == 404


def test_the_url_is_signed_and_lives_as_long_as_asked(store: Store) -> None:
    for asked, lives in ((90, 90), (0.2, 1), (89.5, 90), (10**9, LONGEST)):
        query = parse_qs(urlsplit(store.url("a.png", asked)).query)
        assert query["X-Amz-Expires"] == [str(lives)]
        assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
        assert "X-Amz-Signature" in query
        assert SECRET not in store.url("a.png", asked)


def test_what_is_not_there_may_be_removed(store: Store) -> None:
    store.remove("never/was.png")


@pytest.mark.parametrize(("addressing", "host"), [("virtual", "pictures.oss.example"), ("path", "oss.example")])
def test_the_bucket_stands_where_the_setting_says(addressing: store_module.Addressing, host: str) -> None:
    store = Store(BUCKET, "https://oss.example", "oss-cn-hangzhou", addressing)
    parts = urlsplit(store.url("a/b.png", 60))
    assert parts.hostname == host
    assert parts.path == ("/a/b.png" if addressing == "virtual" else "/pictures/a/b.png")
    assert "oss-cn-hangzhou" in parts.query


def test_a_file_is_sent_from_where_it_stands_and_without_new_fangled_checksums(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        store.put("file.png", file, len(DATA), "image/png")
    assert httpx.get(store.url("file.png", 60), trust_env=False).content == DATA


def test_several_threads_share_a_store(store: Store) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(
            *(asyncio.to_thread(store.put, f"{n}.png", io.BytesIO(DATA), len(DATA), "image/png") for n in range(6))
        )

    asyncio.run(all_at_once())
    assert [httpx.get(store.url(f"{n}.png", 60), trust_env=False).content == DATA for n in range(6)] == [True] * 6


def test_a_bucket_that_is_not_there_is_told(endpoint: str) -> None:
    store = Store("no-such-bucket", endpoint, None, "path")
    assert "there is no such bucket (NoSuchBucket)" in refused(store)
    with pytest.raises(StoreDown, match="no-such-bucket"):
        store.remove("a.png")


def test_an_endpoint_where_nobody_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "TRIES", 1)
    sentence = refused(Store(BUCKET, "http://user:secret@127.0.0.1:1", None, "path"))
    assert "127.0.0.1:1 cannot be reached" in sentence
    assert "user" not in sentence


def test_an_endpoint_that_is_no_address_is_told() -> None:
    assert "no address" in refused(Store(BUCKET, "oss example", None, "path"))


def test_missing_credentials_are_told_and_found_once_they_are_there(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "AWS_ACCESS_KEY_ID" in refused(store)
    with pytest.raises(StoreDown, match="no credentials"):
        store.url("a.png", 60)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    assert "there are no credentials" in refused(store)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    store.put("a.png", io.BytesIO(DATA), len(DATA), "image/png")


def test_a_profile_that_is_not_there_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "ProfileNotFound" in refused(store)


ANSWERS = [
    (403, "InvalidAccessKeyId", "does not know the access key"),
    (403, "SignatureDoesNotMatch", "secret key does not fit"),
    (403, "AccessDenied", "may not"),
    (404, "NoSuchBucket", "no such bucket"),
    (400, "EntityTooLarge", "EntityTooLarge (HTTP 400)"),
    (400, f"{KEY_ID} is wrong\n", "no code (HTTP 400)"),
]


@pytest.mark.parametrize(("status", "code", "words"), ANSWERS, ids=[a[1].strip() for a in ANSWERS])
async def test_what_the_store_refuses_is_told_in_words(status: int, code: str, words: str, serve: Serve) -> None:
    text = f"<Error><Code>{code}</Code><Message>{KEY_ID} X-Amz-Signature=1</Message></Error>"

    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(status, text.encode(), Content_Type="application/xml", Connection="close")

    raw = await serve(script)
    assert words in await asyncio.to_thread(refused, Store(BUCKET, raw.url, None, "path"))
    assert raw.seen[0].line == "PUT /pictures/a.png HTTP/1.1"
    assert raw.seen[0].headers["content-length"] == str(len(DATA))
    assert not [name for name in raw.seen[0].headers if "checksum" in name or name == "x-amz-trailer"]


async def test_a_store_that_says_that_nothing_was_there_to_remove_has_removed_it(serve: Serve) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(404, b"<Error><Code>NoSuchKey</Code></Error>", Connection="close")

    await asyncio.to_thread(Store(BUCKET, (await serve(script)).url, None, "path").remove, "a.png")


class Changing(io.BytesIO):
    """A file that changes between its first reading (for the signature) and its second (on the wire)."""

    ends = 0

    def read(self, size: int | None = -1, /) -> bytes:
        if self.ends:
            raise SourceChanged("it changed")
        found = super().read(size)
        self.ends += not found
        return found


async def test_the_files_own_trouble_comes_through_unchanged(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "TRIES", 1)

    async def script(wire: Wire) -> None:
        await wire.body()

    store = Store(BUCKET, (await serve(script)).url, None, "path")
    with pytest.raises(SourceChanged):
        await asyncio.to_thread(store.put, "a.png", Changing(DATA), len(DATA), "image/png")


def test_without_boto3_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed()
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    with pytest.raises(StoreDown, match=r'pip install "renderdrop\[publish\]"'):
        Store(BUCKET, "https://oss.example", None, "auto").remove("a.png")
