"""Wishes for single files: what a ticket asks for reaches the platform, what it may not ask for fails its own file."""

import json
import time
from typing import Any

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State

RESTYLE: dict[str, Any] = {
    "params": {"prompt": "oil painting", "strength": 0.5, "seed": 1},
    "params_allowed": ["prompt", "strength", "seed"],
}


@pytest.fixture
def restyle(daemon: Daemon) -> Daemon:
    """The daemon, whose one route has parameters of each type."""
    daemon.route(**RESTYLE)
    return daemon


def test_tickets_that_come_before_or_seconds_after_their_files_reach_the_platform_and_go_along_to_done(
    platform: Platform, restyle: Daemon, share: Share
) -> None:
    restyle.configure("intake", ticket_wait="5s")
    restyle.start()
    toml = 'clusters = ["GPU-A800"]\nversion_id = 7\n[params]\nprompt = "ink drawing"\nseed = 42\n'
    share.drop("sub/before.png.job.toml", toml.encode())
    after, before = share.drop("after.png"), share.drop("sub/before.png")
    time.sleep(1)  # a person who writes the ticket when the file is there already
    ticket = {"params": {"prompt": "水墨", "strength": 1}, "clusters": ["GPU-4090"], "version_id": "v8"}
    share.drop("after.png.job.json", json.dumps(ticket).encode())
    restyle.wait_at_rest(done=4)
    share.check_whole(platform)
    task = platform.task(before)
    assert (task["cluster"], task["version_id"]) == ("GPU-A800", "7")
    assert task["fields"] == {"prompt": "ink drawing", "strength": "0.5", "seed": "42"}
    task = platform.task(after)
    assert (task["cluster"], task["version_id"]) == ("GPU-4090", "v8")
    assert task["fields"] == {"prompt": "水墨", "strength": "1", "seed": "1"}
    assert share.files(share.done).keys() == {
        "after.png", "after.png.job.json", "sub/before.png", "sub/before.png.job.toml",
    }  # fmt: skip
    assert (share.done / "sub" / "before.png.job.toml").read_text() == toml
    sidecar = share.sidecar("sub/before.png")
    assert sidecar["params"] == {"prompt": "ink drawing", "strength": 0.5, "seed": 42}
    assert sidecar["params_from"] == {"prompt": "ticket", "strength": "route", "seed": "ticket"}
    assert [ticket["path"] for ticket in sidecar["tickets"]] == ["sub/before.png.job.toml"]
    assert (sidecar["version_id"], sidecar["cluster"]) == ("7", "GPU-A800")


def test_a_ticket_goes_before_a_batch_ticket_the_nearest_batch_before_the_others_and_all_before_the_route(
    platform: Platform, restyle: Daemon, share: Share
) -> None:
    share.drop("night/_batch.job.toml", b'version_id = "6"\n[params]\nprompt = "watercolour"\nseed = 7\n')
    share.drop("night/deep/_batch.job.json", b'{"params": {"seed": 8}}')
    share.drop("night/deep/own.png.job.toml", b'[params]\nprompt = "ink"\n')
    route = {"prompt": ("oil painting", "route"), "strength": (0.5, "route"), "seed": (1, "route")}
    wanted = {
        "night/deep/own.png": ("6", {**route, "prompt": ("ink", "ticket"), "seed": (8, "batch")}),
        "night/below.png": ("6", {**route, "prompt": ("watercolour", "batch"), "seed": (7, "batch")}),
        "above.png": ("", route),
    }
    dropped = {path: share.drop(path) for path in wanted}
    assert restyle.once() == 0
    for path, (version, params) in wanted.items():
        sidecar, task = share.sidecar(path), platform.task(dropped[path])
        assert sidecar["params"] == {key: value for key, (value, _) in params.items()}
        assert sidecar["params_from"] == {key: origin for key, (_, origin) in params.items()}
        assert task["fields"] == {key: str(value) for key, (value, _) in params.items()}
        assert task["version_id"] == version
    assert share.files(share.inbox).keys() == {"night/_batch.job.toml", "night/deep/_batch.job.json"}
    assert share.files(share.done).keys() == {*wanted, "night/deep/own.png.job.toml"}


def test_files_are_sent_in_the_order_of_their_priority(platform: Platform, restyle: Daemon, share: Share) -> None:
    restyle.configure("daemon", uploads=1)
    share.drop("late/_batch.job.toml", b"priority = -10\n")
    share.drop("urgent.png.job.toml", b"priority = 10\n")
    paths = ["late/a.png", "b.png", "late/c.png", "urgent.png"]
    dropped = {path: share.drop(path) for path in paths}
    assert restyle.once() == 0
    digests = {share.digest(data): path for path, data in dropped.items()}
    sent = [digests[task["files"][0]["sha256"]] for task in platform.tasks()]
    assert (sent[:2], set(sent[2:])) == (["urgent.png", "b.png"], {"late/a.png", "late/c.png"})


BAD: dict[str, tuple[bytes, list[str]]] = {
    "unknown key.png.job.toml": (b'promt = "x"', ["promt", "is no key of a ticket"]),
    "parameter.png.job.toml": (b"[params]\nsteps = 5", ["steps", "may not be set here"]),
    "type.png.job.toml": (b'[params]\nseed = "many"', ["seed", "must be a whole number"]),
    "type.json.png.job.json": (b'{"priority": "high"}', ["priority", "must be a whole number"]),
    "cluster.png.job.toml": (b'clusters = ["GPU-A800x8"]', ["clusters", "may not hold GPU-A800x8"]),
    "size.png.job.toml": (b'[params]\nprompt = "' + b"x" * (64 << 10) + b'"', ["is larger than 64 KiB"]),
    "nested.png.job.json": (b'{"params": {"prompt": ' + b"[" * 5000 + b"]" * 5000 + b"}}", ["nested too deeply"]),
    "deep.png.job.json": (b'{"params": ' + b"[" * 30000 + b"]" * 30000 + b"}", ["nested too deeply"]),
    "path.png.job.toml": (b'[params]\nseed = 3\nfile = "/etc/passwd"', ["file", "may not be set here"]),
    "broken.png.job.toml": (b"[params\n", ["is not TOML"]),
}


def test_a_wrong_ticket_fails_its_own_file_with_the_key_named_and_lies_beside_it(
    platform: Platform, restyle: Daemon, share: Share
) -> None:
    sources = {ticket: ticket.rpartition(".job.")[0] for ticket in BAD}
    for ticket, (data, _) in BAD.items():
        share.drop(ticket, data)
        share.drop(sources[ticket])
    good = share.drop("good.png")
    restyle.start()
    restyle.wait_at_rest(done=1, failed=len(BAD))
    assert [task["files"][0]["sha256"] for task in platform.tasks()] == [share.digest(good)]
    for ticket, (data, words) in BAD.items():
        text, _ = share.told(sources[ticket])
        assert all(word in text for word in (ticket, *words)), text
        assert (share.failed / ticket).read_bytes() == data
        assert (share.failed / sources[ticket]).exists()

    # Both moved back, the ticket mended: a fresh try.
    (share.failed / "type.png.job.toml").unlink()
    share.drop("type.png.job.toml", b"[params]\nseed = 5")
    (share.failed / "type.png").rename(share.inbox / "type.png")
    restyle.wait_at_rest(done=3, failed=len(BAD) - 1)
    assert share.sidecar("type.png")["params"]["seed"] == 5


@pytest.mark.parametrize("platform", [{"render_seconds": (5.0, 5.0)}], indirect=True)
def test_a_ticket_that_comes_too_late_or_has_no_file_is_told_in_failed(
    platform: Platform, restyle: Daemon, share: Share
) -> None:
    restyle.route(bundle_timeout="2s")
    restyle.start()
    data = share.drop("a.png")
    [job] = restyle.wait_for(State.SUBMITTED)
    share.drop("a.png.job.toml", b"[params]\nseed = 9")
    share.drop("nobody.png.job.toml", b"[params]\nseed = 9")
    restyle.wait_at_rest(done=1, failed=2)
    text, _ = share.told("a.png.job.toml")
    assert "came too late" in text
    assert job.id in text
    text, _ = share.told("nobody.png.job.toml")
    assert "there is no nobody.png for this ticket" in text
    assert platform.task(data)["fields"]["seed"] == "1"
    assert len(platform.tasks()) == 1


def test_a_ticket_inside_a_folder_bundle_counts_for_it_and_moves_with_the_folder(
    platform: Platform, restyle: Daemon, share: Share
) -> None:
    inputs = {"input_image": "image", "style": {"media": "image", "suffix": "_style"}}
    restyle.route(bundle="folder", workflow_id="styled", inputs=inputs)
    files = {"shot/face.png": share.drop("shot/face.png"), "shot/oil_style.png": share.drop("shot/oil_style.png")}
    share.drop("shot/job.toml", b'clusters = ["GPU-A800"]\n[params]\nprompt = "ink"\n')
    assert restyle.once() == 0
    [task] = platform.tasks()
    assert (task["cluster"], task["fields"]["prompt"]) == ("GPU-A800", "ink")
    assert share.files(share.done).keys() == {*files, "shot/job.toml"}
    assert not share.files(share.inbox)
    assert share.sidecar("shot/face.png")["params_from"]["prompt"] == "ticket"
