"""What we told goes again only as we wrote it: whatever else bears its name is somebody's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from renderdrop.model import sidecar
from renderdrop.model.errors import ShareOffline
from renderdrop.share.marker import Folders
from renderdrop.share.told import take_told, told

TXT = "a.png could not be rendered: no.\nWhen that is put right, move it.\nJob j1, route portrait.\n"
FAILURE: dict[str, object] = {
    "schema": sidecar.SCHEMA, "job_id": "j1", "route": "portrait", "kind": "app", "status": "fail", "sources": [],
    "workflow_id": "1", "version_id": None, "cluster": None, "task_id": None, "params": {}, "params_from": {},
    "tickets": [], "constants": [], "graph": None, "model": None, "outputs": [], "warnings": [], "errors": [],
    "times": dict.fromkeys(("seen", "queued", "submitted", "started", "finished", "delivered")), "submissions": [],
    "derived_from": None, "duplicate_of": None, "version": "1",
}  # fmt: skip


def written(failure: dict[str, object]) -> str:
    return json.dumps(failure, ensure_ascii=False, indent=2) + "\n"


@pytest.mark.parametrize(("name", "text"), [("a.png.error.txt", TXT), ("a.json", written(FAILURE))])
def test_only_what_is_as_we_wrote_it_and_of_that_job_goes(folders: Folders, name: str, text: str) -> None:
    root = folders.failed
    (root / "sub").mkdir()
    at = root / "sub" / name
    for theirs in (f"{text}Mended it. Bo\n", f"\n{text}", text[:-1], text.upper(), ""):
        at.write_text(theirs)
        take_told(root, f"sub/{name}", {"j1"})
        assert at.read_text() == theirs
    at.write_text(text)
    take_told(root, f"sub/{name}", {"j2", "j"})
    assert at.exists()
    take_told(root, f"sub/{name}", {"j2", "j1"})
    assert os.listdir(root / "sub") == []


def test_a_sidecar_of_results_stays(folders: Folders) -> None:
    (folders.outbox / "a.json").write_text(written({**FAILURE, "status": "success"}))
    assert told(folders.outbox, "a.json") is None


def test_what_is_longer_than_is_looked_at_stays_also_where_it_begins_like_ours(folders: Folders) -> None:
    text = written(FAILURE)
    longest = text.replace('"route": "portrait"', f'"route": "{"p" * (sidecar.LARGEST - len(text) + 8)}"')
    assert len(longest) == sidecar.LARGEST
    (folders.failed / "a.json").write_text(longest)
    found = told(folders.failed, "a.json")
    assert found is not None
    assert found.size == sidecar.LARGEST
    (folders.failed / "a.json").write_text(f"{longest}Mended it. Bo\n")
    assert told(folders.failed, "a.json") is None


def test_links_folders_and_what_is_missing_are_none_of_ours(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "theirs.error.txt").write_text(TXT)
    (folders.failed / "a.error.txt").symlink_to(tmp_path / "theirs.error.txt")
    (folders.failed / "b.error.txt").mkdir()
    (folders.failed / "link").symlink_to(tmp_path)
    for rel in ("a.error.txt", "b.error.txt", "c.error.txt", "none/c.error.txt", "link/theirs.error.txt"):
        take_told(folders.failed, rel, {"j1"})
    assert (tmp_path / "theirs.error.txt").read_text() == TXT
    assert {"a.error.txt", "b.error.txt", "link"} <= set(os.listdir(folders.failed))


def test_in_a_folder_that_is_missing_nothing_is_taken_and_nothing_made(tmp_path: Path) -> None:
    with pytest.raises(ShareOffline, match=r"nas.* cannot be reached"):
        take_told(tmp_path / "nas", "a.txt", {"j1"})
    assert not (tmp_path / "nas").exists()
