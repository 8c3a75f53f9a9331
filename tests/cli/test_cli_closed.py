"""A state folder that whoever asks may not enter: said in words, and never taken for an empty one."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from renderdrop.cli.opening import has_ledger, read
from renderdrop.ledger import engine
from renderdrop.model.errors import LedgerBroken

if TYPE_CHECKING:
    from tests.cli.conftest import Desk


@pytest.fixture
def closed(desk: "Desk", tmp_path: Path) -> Iterator[Path]:
    """A ledger in a folder that is closed to whoever runs this test."""
    desk.job("01a", "a.png")
    state = desk.folder / "state"
    state.chmod(0)
    me, ways = os.geteuid(), [tmp_path, *tmp_path.parents]
    bits = {way: way.stat().st_mode for way in ways if way.stat().st_uid == me and not way.stat().st_mode & 0o001}
    if me == 0:  # whom nothing is closed to
        for way in bits:
            way.chmod(bits[way] | 0o011)
        os.seteuid(65534)
    yield engine.ledger_path(state)
    os.seteuid(me)
    state.chmod(0o700)
    for way, mode in bits.items():
        way.chmod(mode)


def test_a_state_folder_that_is_closed_is_told_in_words(closed: Path, desk: "Desk") -> None:
    read(desk.config, platform=False)
    assert has_ledger(closed)  # as far as anybody can tell: whoever opens it says why it cannot be read
    for door in (engine.view, engine.transaction):
        with pytest.raises(LedgerBroken, match="Permission denied"), door(closed):
            pass
    with pytest.raises(LedgerBroken, match="Permission denied"):
        engine.check(closed)


def test_where_the_state_folder_is_not_there_there_is_no_ledger(desk: "Desk") -> None:
    assert not has_ledger(desk.folder / "nowhere" / "ledger.sqlite")
    desk.config.with_name("file").touch()
    assert not has_ledger(desk.folder / "file" / "ledger.sqlite")
