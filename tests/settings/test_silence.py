"""A share that hangs is no reason not to start: what lies elsewhere is asked all the same, and what
cannot be told waits.

The hanging is played: a look at what lies on such a share comes back when the test is over.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from renderdrop.settings import disk

if TYPE_CHECKING:
    from tests.settings.conftest import Place

Hang = Callable[[Path], list[Path]]


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hang]:
    """Has everything at and below a path hang; returns a list that tells who asked."""
    over, look = threading.Event(), os.stat
    mounts: list[Path] = []
    asked: list[Path] = []

    def stat(path: Any, *args: Any, **more: Any) -> os.stat_result:
        at = Path(os.fsdecode(path)) if not isinstance(path, int) else Path()
        if any(at == mount or mount in at.parents for mount in mounts):
            asked.append(at)
            over.wait(30)
        return look(path, *args, **more)

    def begin(mount: Path) -> list[Path]:
        mounts.append(mount)
        return asked

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os, "lstat", stat)
    monkeypatch.setattr(disk, "_PATIENCE", 0.3)
    yield begin
    over.set()


def route(name: str, folder: str) -> str:
    return f"""
[routes.{name}]
folder = "{folder}"
workflow_id = "1"
clusters = ["GPU-4090"]
inputs = {{ input_image = "image" }}
"""


def known(*inboxes: Path) -> Callable[[Path], Collection[Path]]:
    return lambda _: inboxes


def test_neighbours_of_a_mount_point_that_hangs_are_asked_all_the_same(place: Place, hang: Hang) -> None:
    mounts = place.root / "mnt"
    for name in ("hung", "well"):
        (mounts / name).mkdir(parents=True)
    hang(mounts / "hung")
    parts = {"inbox": "mnt/hung", "outbox": "home/outbox", "done": "home/done", "failed": "home/failed"}
    own = "\n".join(f'{role} = "{path}"' for role, path in parts.items())
    hung = route("b", "home").replace('folder = "home"', own)
    loaded = place.load(hung + route("c", "mnt/well"), known_inboxes=known(mounts / "hung"))
    assert [r.name for r in loaded.routes] == ["b", "c"]
    assert loaded.warnings == ()


def test_all_that_lies_on_a_share_that_hangs_costs_one_patience(place: Place, hang: Hang) -> None:
    (place.root / "nas").mkdir()
    asked = hang(place.root / "nas")
    folders = [place.root / "nas" / name / role for name in "abcdef" for role in ("inbox", "outbox")]
    assert {disk.folder_fault(folder) for folder in folders} == {disk.SILENT}
    assert asked == [place.root / "nas"]


def test_a_graph_and_a_constant_that_do_not_answer_are_told_and_keep_no_daemon_from_starting(
    place: Place, hang: Hang
) -> None:
    (place.root / "refs").mkdir()
    hang(place.root / "refs")
    graph = place.GRAPH.replace("upscale_api.json", "refs/graph.json")
    styled = route("styled", "dance").replace('"image" }', '"image", style = { file = "refs/style.png" } }')
    loaded = place.load(graph + styled)
    assert [(w.key, w.message.endswith("the route's jobs wait until it answers")) for w in loaded.warnings] == [
        ("routes.upscale.graph", True), ("routes.styled.inputs.style.file", True),
    ]  # fmt: skip


def test_a_new_route_on_a_share_that_hangs_is_a_problem_of_its_own(place: Place, hang: Hang) -> None:
    (place.root / "nas").mkdir()
    hang(place.root / "nas")
    problems = place.problems(place.ROUTE + route("b", "nas/b"))
    assert set(problems) == {"routes.b.folder"}
    assert disk.SILENT in problems["routes.b.folder"]
