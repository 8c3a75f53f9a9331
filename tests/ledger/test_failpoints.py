"""Failpoints: what may be asked for, when it falls, and that a killed process leaves what the moment says."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from renderdrop.ledger.failpoints import POINTS, VARIABLE, Failpoint, armed
from renderdrop.ledger.store import Ledger
from renderdrop.model.errors import BrokenSettings
from renderdrop.settings.source import written

AT = "2026-11-22T14:18:00.000Z"
SCRIPT = f"""
import asyncio, os, sys
from pathlib import Path
from renderdrop.ledger import moves
from renderdrop.ledger.failpoints import armed
from renderdrop.ledger.store import Ledger

async def main() -> None:
    ledger = Ledger(Path(sys.argv[1]), failpoint=armed(os.environ))
    write = lambda name, point: ledger.write(lambda c: moves.see_folder(c, name, "{AT}"), point=point)
    await write("/first", "share_seen")
    print("first", flush=True)
    await asyncio.gather(write("/beside", "adopted"), write("/second", "share_seen"))
    print("second", flush=True)
    await write("/third", None)
    ledger.close()

asyncio.run(main())
"""


def test_nothing_is_armed_unless_it_is_asked_for() -> None:
    assert armed({}) is None
    assert armed({VARIABLE: ""}) is None


@pytest.mark.parametrize(("text", "after", "nth"), [
    ("complete:before", False, 1), ("complete:after", True, 1), ("complete:after:3", True, 3),
])  # fmt: skip
def test_a_point_is_armed_by_its_name(text: str, after: bool, nth: int) -> None:
    point = armed({VARIABLE: text})
    assert point is not None
    assert (point.point, point.after) == ("complete", after)
    assert [point.falls(["complete"]) for _ in range(nth + 1)] == [*[False] * (nth - 1), True, False]


@pytest.mark.parametrize(
    "text",
    ["complete", "complete:", "complete:during", "nowhere:before", "complete:after:0", "complete:after:x",
     "complete:after:1:1", " complete:after", "complete:after\n", "COMPLETE:after", "complete:after:٣"],
)  # fmt: skip
def test_an_unknown_name_or_form_is_refused_with_the_names_there_are(text: str) -> None:
    with pytest.raises(BrokenSettings) as refused:
        armed({VARIABLE: text})
    [problem] = refused.value.problems
    assert problem.key == VARIABLE
    assert "NAME:before" in problem.message
    assert all(point in problem.message for point in POINTS)


def test_with_several_deeds_in_one_transaction_any_of_them_is_enough() -> None:
    point = Failpoint("complete", after=True, nth=3)
    assert not point.falls([None, "submitting"])
    assert not point.falls(["complete", "submitting", "complete"])
    assert point.falls(["adopted", "complete", "complete"])
    assert not point.falls(["complete"])


def test_the_settings_pass_over_the_variable(tmp_path: Path) -> None:
    file = tmp_path / "renderdrop.toml"
    file.write_text("[platform]\n")
    assert written(file, {VARIABLE: "complete:after"}).tree == {"platform": {}}


@pytest.mark.parametrize(("text", "seen", "said"), [
    ("share_seen:before", set(), ""),
    ("share_seen:after", {"/first"}, ""),
    ("share_seen:before:2", {"/first"}, "first\n"),
    ("share_seen:after:2", {"/first", "/beside", "/second"}, "first\n"),
    ("adopted:before", {"/first"}, "first\n"),
    ("filed:after", {"/first", "/beside", "/second", "/third"}, "first\nsecond\n"),
])  # fmt: skip
def test_the_process_dies_at_the_commit_and_nobody_has_been_told(
    ledger_file: Path, text: str, seen: set[str], said: str
) -> None:
    environ = {**os.environ, VARIABLE: text}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(ledger_file)], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == (0 if text.startswith("filed") else -signal.SIGKILL), done.stderr
    assert done.stdout == said
    raw = sqlite3.connect(ledger_file)
    assert {bytes(row[0]).decode() for row in raw.execute("SELECT inbox FROM shares")} == seen
    raw.close()


async def test_an_open_ledger_writes_as_ever_while_its_failpoint_is_far(ledger_file: Path) -> None:
    ledger = Ledger(ledger_file, failpoint=Failpoint("filed", after=False))
    assert await ledger.write(lambda _: 7, point="adopted") == 7
    ledger.close()
