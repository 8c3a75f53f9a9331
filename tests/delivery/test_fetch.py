"""Whether a broken download has brought something, from the files in staging alone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from renderdrop.delivery.fetch import Fetch
from renderdrop.platform.results import CHUNK


def test_a_download_has_gained_when_it_holds_a_chunk_more_than_ever_before() -> None:
    fetch = Fetch(cast(Any, None), cast(Any, None))
    folder, file = Path("outbox/.renderdrop/job"), SimpleNamespace(size=0)
    fetch._begun[folder / "output-0"] = (cast(Any, None), cast(Any, file))
    seen = []
    for size in (0, CHUNK - 1, CHUNK, CHUNK + 5, 2 * CHUNK, 0, 2 * CHUNK, 3 * CHUNK):
        file.size = size
        seen.append(fetch.has_gained(folder))
    # What was thrown away and is fetched again brings nothing: a file that can only be had from its beginning, over a
    # line that always breaks, must not be fetched for ever.
    assert seen == [False, False, True, False, True, False, False, True]
    assert not fetch.has_gained(Path("outbox/.renderdrop/other"))
    fetch.forget(folder)
    assert not fetch._most
