"""A source on its way: read whole, hashed, proved unchanged, in constant memory."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from renderdrop.dispatch.upload import CHUNK, Stopping, Upload
from renderdrop.model.errors import SourceChanged
from renderdrop.model.route import Route
from renderdrop.runtime.disk import Disk
from renderdrop.share.source import open_source

DATA = os.urandom(2 * CHUNK + 17)


@contextmanager
def uploading(root: Path, name: str = "a.png", stopping: list[bool] | None = None) -> Iterator[Upload]:
    path = root / name
    if not path.exists():
        path.write_bytes(DATA)
    with open_source(root, name) as file:
        yield Upload("input_image", name.rpartition("/")[2], file, Disk(), lambda: bool(stopping))


async def sent(upload: Upload) -> bytes:
    return b"".join([chunk async for chunk in upload.part().chunks()])


async def test_the_bytes_their_hash_and_their_number_are_the_files(route: Route) -> None:
    with uploading(route.inbox) as upload:
        assert await sent(upload) == DATA
        await upload.check()
        assert upload.sha256 == hashlib.sha256(DATA).hexdigest()
        part = upload.part()
    assert (part.name, part.filename, part.media_type, part.size) == ("input_image", "a.png", "image/png", len(DATA))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("肖像 照片.JPG", "肖像 照片.JPG"),
        ("two\nlines.png", "two_lines.png"),
        ("caf\udce9.png", "caf.png"),
        ('a"b.png', "a_b.png"),
    ],
    ids=ascii,
)
async def test_the_name_sent_is_the_files_own_without_what_no_header_carries(
    name: str, told: str, route: Route
) -> None:
    with uploading(route.inbox, name) as upload:
        assert upload.part().filename == told


async def test_the_folders_of_a_source_are_nobodys_business(route: Route) -> None:
    (route.inbox / "secret project").mkdir()
    with uploading(route.inbox, "secret project/a.png") as upload:
        assert upload.part().filename == "a.png"


async def test_a_file_that_became_shorter_is_not_the_one_that_settled(route: Route) -> None:
    with uploading(route.inbox) as upload:
        os.truncate(route.inbox / "a.png", CHUNK + 1)
        with pytest.raises(SourceChanged, match="shorter"):
            await sent(upload)


@pytest.mark.parametrize("change", ["grown", "written over"])
async def test_a_file_that_changed_after_it_was_read_is_not_the_one_that_settled(change: str, route: Route) -> None:
    path = route.inbox / "a.png"
    with uploading(route.inbox) as upload:
        assert len(await sent(upload)) == len(DATA)
        if change == "grown":
            path.write_bytes(DATA + b"x")
        else:
            os.utime(path, ns=(1, 1))
        with pytest.raises(SourceChanged):
            await upload.check()


async def test_a_file_put_in_its_place_is_another_and_changes_nothing_of_this_upload(route: Route) -> None:
    with uploading(route.inbox) as upload:
        (route.inbox / "new.png").write_bytes(b"x" * len(DATA))
        os.replace(route.inbox / "new.png", route.inbox / "a.png")
        assert await sent(upload) == DATA
        await upload.check()


async def test_stopping_abandons_the_upload_before_its_last_byte(route: Route) -> None:
    stopping: list[bool] = []
    with uploading(route.inbox, stopping=stopping) as upload:
        chunks = upload.part().chunks()
        assert len(await anext(chunks)) == CHUNK
        stopping.append(True)
        with pytest.raises(Stopping):
            await anext(chunks)
        with pytest.raises(Stopping):
            await upload.check()


async def test_memory_stays_at_a_chunk_however_large_the_file(route: Route) -> None:
    size = 64 * 2**20
    with (route.inbox / "big.mp4").open("wb") as big:
        big.truncate(size)
    with uploading(route.inbox, "big.mp4") as upload:
        tracemalloc.start()
        got = 0
        async for chunk in upload.part().chunks():
            got += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert got == size
    assert peak < 16 * CHUNK
