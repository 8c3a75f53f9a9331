"""`explain`: would it be taken, and what would be sent."""

import os
from typing import TYPE_CHECKING

import pytest

from renderdrop.ledger import moves
from renderdrop.model.lifecycle import State

if TYPE_CHECKING:
    from tests.cli.conftest import Call, Desk


async def test_a_good_file_is_told_with_all_that_would_be_sent(call: "Call", desk: "Desk") -> None:
    desk.write(route='params = { prompt = "oil painting" }\nversion_id = "7"')
    (desk.home / "inbox/sub").mkdir()
    (desk.home / "inbox/sub/肖像.PNG").write_bytes(b"x" * 2000)
    ended = await call("explain", "first/inbox/sub/肖像.PNG", "-c", desk.config, cwd=desk.folder)
    assert ended.code == 0
    for line in (
        "route: first", "path: sub/肖像.PNG", "workflow: 1234, version 7",
        "input: input_image = 肖像.PNG (image/png, 2.0 kB)",
        "param: prompt = oil painting (route)", "  field prompt: oil painting",
        "request: POST /openapi/v1/workflow/apps/run, multipart/form-data", "  field version_id: 7",
        "  file input_image: 肖像.PNG (image/png, 2.0 kB)",
    ):  # fmt: skip
        assert line in ended.out.splitlines()
    assert "clusters: GPU-4090, GPU-A800" in ended.out


async def test_a_file_that_is_not_there_yet_is_explained_all_the_same(call: "Call", desk: "Desk") -> None:
    ended = await call("explain", desk.home / "inbox/new.png", "-c", desk.config)
    assert ended.code == 0
    assert "no such file yet" in ended.out


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".hidden.png", "the rule .*"),
        ("a.png.part", "*.part"),
        ("@eaDir/a.png", "@eaDir"),
        ("a.psd", "*.psd"),
        ("film.mp4", "an image"),
        ("empty.png", "empty"),
        ("link.png", "symbolic link"),
        ("pipe.png", "named pipe"),
        ("folder", "one by one"),
    ],
)
async def test_what_is_not_taken_is_told_with_the_reason(name: str, why: str, call: "Call", desk: "Desk") -> None:
    desk.write(top='ignore = ["**/*.psd"]')
    inbox = desk.home / "inbox"
    (inbox / "empty.png").touch()
    (inbox / "link.png").symlink_to(inbox / "empty.png")
    (inbox / "folder").mkdir()
    os.mkfifo(inbox / "pipe.png")
    ended = await call("explain", inbox / name, "-c", desk.config)
    assert ended.code == 1
    assert why in ended.out


async def test_outside_every_inbox_the_inboxes_are_named(call: "Call", desk: "Desk") -> None:
    ended = await call("explain", "/somewhere/else.png", "-c", desk.config)
    assert ended.code == 1
    assert f"{desk.home / 'inbox'} (first)" in ended.out
    outbox = await call("explain", desk.home / "outbox/a.png", "-c", desk.config)
    assert "is in the outbox folder of route first" in outbox.out


async def test_an_open_job_is_named(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png")
    ended = await call("explain", desk.home / "inbox/a.png", "-c", desk.config)
    assert ended.code == 0
    assert "job 01a already, which is queued" in ended.out


async def test_a_kept_source_is_remembered_until_it_changes(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png", State.SUBMITTING, State.SUBMITTED, State.RENDERED, State.DELIVERED)
    file = desk.home / "inbox/a.png"
    ended = await call("explain", file, "-c", desk.config)
    assert ended.code == 1
    assert "renderdrop retry 01a" in ended.out
    file.write_bytes(b"another")
    assert (await call("explain", file, "-c", desk.config)).code == 0


async def test_an_inbox_reached_through_a_link_is_recognised(call: "Call", desk: "Desk") -> None:
    (desk.folder / "door").symlink_to(desk.home / "inbox")
    ended = await call("explain", desk.folder / "door/a.png", "-c", desk.config)
    assert ended.code == 0
    assert "path: a.png" in ended.out


async def test_what_makes_its_route_wait_is_told(call: "Call", desk: "Desk") -> None:
    with desk.ledger() as conn:
        moves.tell_trouble(conn, "route", "first", "the route is paused", desk.at())
        moves.tell_trouble(conn, "route", "other", "not this one", desk.at())
    ended = await call("explain", desk.home / "inbox/a.png", "-c", desk.config)
    assert "the route is paused" in ended.err
    assert "not this one" not in ended.err
