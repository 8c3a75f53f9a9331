"""`explain`: bundles, tickets, texts, matrices, graphs and models, and the request that would be sent."""

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from renderdrop.ledger import moves
from renderdrop.ledger.adopt import adopt
from renderdrop.model.arrival import Arrival
from renderdrop.model.job import Output, Place, Source
from renderdrop.model.lifecycle import State
from renderdrop.model.wishes import Wishes
from renderdrop.sandbox import GRAPHS

if TYPE_CHECKING:
    from tests.cli.conftest import Call, Desk

DANCE = (
    'workflow_id = "88"\nclusters = ["GPU-A800", "GPU-4090"]\nparams = { prompt = "oil" }\n'
    'matrix = { seed = [1, 2, 3] }\n%s\n[routes.first.inputs]\ninput_image = "image"\ninput_video = "video"\n'
    'mask = { media = "image", suffix = "_mask", optional = true }\nstyle = { file = "style.png" }\n'
)
GRAPH = (
    'kind = "graph"\ngraph = "up.json"\nclusters = ["GPU-4090"]\nparams = { "3.seed" = 42 }\n'
    'inputs = { "73.image" = "image" }\nparams_allowed = ["6.text", "3.seed"]\n'
)
MODEL = (
    'kind = "model"\nprovider = "google"\nmodel = "gemini"\ntype = "image2image"\n'
    'inputs = { prompt = "text", images = "image" }\nparams = { size = { w = 1 } }\n%s\n'
)
PUBLISH = 'publish = { bucket = "b", endpoint = "https://s3.example.com", expires = "1h" }'


def dance(desk: "Desk", more: str = "") -> None:
    (desk.folder / "style.png").write_bytes(b"s" * 50)
    desk.write(whole=DANCE % more)


async def told(call: "Call", desk: "Desk", path: str, code: int = 0) -> list[str]:
    ended = await call("explain", desk.home / "inbox" / path, "-c", desk.config)
    assert "Traceback" not in ended.err
    assert ended.code == code, ended.out + ended.err
    return ended.out.splitlines()


async def test_a_file_without_its_partner_waits_for_it_and_says_so(call: "Call", desk: "Desk") -> None:
    dance(desk)
    desk.drop("sub/clip.mp4")
    lines = await told(call, desk, "sub/clip.mp4")
    for line in (
        "bundle: sub/clip (stem)", "input: input_video = clip.mp4 (video/mp4, 1 B)", "missing: input_image: an image",
        "optional: mask: an image whose name ends in _mask",
        "taken: not yet: it waits for input_image, at most 30 min", "afterwards: its files go to done/",
    ):  # fmt: skip
        assert line in lines
    assert not [line for line in lines if line.startswith("request")]


async def test_a_bundle_is_told_with_its_tickets_its_matrix_and_its_request(call: "Call", desk: "Desk") -> None:
    dance(desk)
    for name in ("clip.mp4", "clip_mask.png", "CLIP.jpg", "other.png"):
        desk.drop(f"sub/{name}")
    desk.drop("sub/clip.mp4.job.toml", b'priority = 5\nclusters = ["GPU-4090"]\nversion_id = 3')
    desk.drop("_batch.job.json", b'{"params": {"prompt": "ink"}}')
    lines = await told(call, desk, "sub/CLIP.jpg")
    for line in (
        "input: input_image = CLIP.jpg (image/jpeg, 1 B)", "input: mask = clip_mask.png (image/png, 1 B)",
        "ticket: sub/clip.mp4.job.toml", "batch ticket: _batch.job.json", "workflow: 88, version 3",
        "param: prompt = ink (batch)", "param: seed = 1 (matrix)", "priority: 5 (ticket)", "constant style: style.png",
        "matrix: 3 jobs: seed-1, seed-2, seed-3; told here is the first",
        "request: POST /openapi/v1/workflow/apps/run, multipart/form-data", "  field workflow_id: 88",
        "  field cluster_name: GPU-4090", "  field version_id: 3", "  field prompt: ink", "  field seed: 1",
        "  file input_video: clip.mp4 (video/mp4, 1 B)", "  file style: style.png (image/png, 50 B)",
        "afterwards: its files go to done/",
    ):  # fmt: skip
        assert line in lines
    assert not [line for line in lines if "other.png" in line or "AI-sandbox" in line]


async def test_a_parameter_that_a_ticket_pins_is_no_axis_of_the_matrix(call: "Call", desk: "Desk") -> None:
    dance(desk)
    desk.drop("clip.mp4")
    desk.drop("clip.jpg")
    desk.drop("clip.job.toml", b"params = { seed = 9 }")
    lines = await told(call, desk, "clip.job.toml")
    assert "ticket of: clip" in lines
    assert "param: seed = 9 (ticket)" in lines
    assert not [line for line in lines if line.startswith("matrix")]


@pytest.mark.parametrize(
    ("ticket", "why"),
    [
        (b"params = { sead = 1 }", "clip.mp4.job.toml: sead may not be set here"),
        (b"params = { seed = 'x' }", "seed must be a whole number"),
        (b"\xff", "is not UTF-8 text"),
        (b"[" * 10_000, "clip.mp4.job.toml"),
    ],
)
async def test_a_bad_ticket_is_told_as_it_would_be_on_the_share(
    ticket: bytes, why: str, call: "Call", desk: "Desk"
) -> None:
    dance(desk)
    for name in ("clip.mp4", "clip.jpg"):
        desk.drop(name)
    desk.drop("clip.mp4.job.toml", ticket)
    lines = await told(call, desk, "clip.jpg", 1)
    assert why in lines[-1]
    assert "It would go to failed/" in lines[-1]


async def test_two_files_for_one_input_are_no_guess(call: "Call", desk: "Desk") -> None:
    dance(desk)
    for name in ("clip.jpg", "clip.png", "clip.mp4"):
        desk.drop(name)
    lines = await told(call, desk, "clip.mp4", 1)
    assert "two files are for input_image, clip.jpg and clip.png" in lines[-1]


async def test_a_ticket_is_told_by_the_file_that_it_is_for(call: "Call", desk: "Desk") -> None:
    desk.write(route="params = { seed = 1 }")
    desk.drop("a.png.job.toml", b"params = { seed = 2 }")
    lines = await told(call, desk, "a.png.job.toml")
    assert "ticket of: a.png" in lines
    assert "taken: not yet: it waits for a.png" in lines
    desk.drop("a.png")
    lines = await told(call, desk, "a.png.job.toml")
    assert "taken: yes, once it has stopped changing" in lines
    assert "param: seed = 2 (ticket)" in lines
    assert "input: input_image = a.png (image/png, 1 B)" in lines


async def test_a_ticket_that_is_not_there_yet_is_explained_too(call: "Call", desk: "Desk") -> None:
    desk.drop("a.png")
    lines = await told(call, desk, "a.png.job.json")
    assert "There is no such file yet; if it were dropped:" in lines
    assert "ticket of: a.png" in lines


async def test_a_batch_ticket_is_for_everything_below_it(call: "Call", desk: "Desk") -> None:
    desk.write(route="params = { seed = 1 }")
    desk.drop("night/_batch.job.toml", b"params = { seed = 2 }\npriority = -3")
    lines = await told(call, desk, "night/_batch.job.toml")
    assert "ticket: for everything below night; it stays where it is" in lines
    assert "param: seed = 2 (batch)" in lines
    assert "priority: -3" in lines
    desk.drop("night/_batch.job.toml", b"params = { sead = 2 }")
    assert "sead may not be set here" in (await told(call, desk, "night/_batch.job.toml", 1))[-1]
    assert "There is no such file yet." in await told(call, desk, "_batch.job.toml")


async def test_a_bundle_folder_is_explained_by_itself_and_by_what_is_in_it(call: "Call", desk: "Desk") -> None:
    dance(desk, 'bundle = "folder"')
    desk.drop("shot1/a.png")
    desk.drop("shot1/deep/b.mp4")
    desk.drop("shot1/job.toml", b"params = { seed = 4 }")
    for path in ("shot1", "shot1/deep/b.mp4", "shot1/job.toml"):
        lines = await told(call, desk, path)
        assert "bundle: shot1 (folder)" in lines
        assert "param: seed = 4 (ticket)" in lines
        assert "  file input_video: b.mp4 (video/mp4, 1 B)" in lines
        assert "afterwards: its folder goes to done/" in lines
    assert "into a folder of their own" in (await told(call, desk, "loose.png", 1))[-1]


async def test_a_job_that_waits_for_partners_is_told_with_its_id(call: "Call", desk: "Desk") -> None:
    dance(desk)
    desk.drop("clip.jpg")
    desk.adopt(("01a", Wishes()), sources=(desk.source("clip.jpg"),), bundle="clip", waiting_for="input_video")
    for path in ("clip.jpg", "clip.mp4"):
        lines = await told(call, desk, path)
        assert "job: 01a waits for input_video; see `renderdrop show 01a`" in lines
    assert "taken: yes, once it has stopped changing, at the earliest 10 s after its last change" in lines


async def test_a_ticket_that_comes_too_late_names_the_job_that_began_without_it(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png")
    desk.drop("a.png.job.toml", b"priority = 1")
    assert "job 01a has begun without it" in (await told(call, desk, "a.png.job.toml", 1))[-1]


async def test_a_kept_partner_belongs_to_a_new_file(call: "Call", desk: "Desk") -> None:
    dance(desk, 'after = "keep"')
    for name in ("clip.jpg", "clip.mp4"):
        desk.drop(name)
    sources = (desk.source("clip.jpg"), desk.source("clip.mp4", "input_video"))
    desk.adopt(("01a", Wishes()), sources=sources, bundle="clip")
    with desk.ledger() as conn:
        moves.cancel(conn, "01a", State.QUEUED, desk.at(), "no")
        for path in ("clip.jpg", "clip.mp4"):
            moves.record_source(conn, "01a", path, place=Place.INBOX, filed=True)
    assert "unchanged since job 01a" in (await told(call, desk, "clip.jpg", 1))[-1]
    desk.drop("clip.mp4", b"another")
    lines = await told(call, desk, "clip.mp4")
    assert "input: input_image = clip.jpg (image/jpeg, 1 B)" in lines
    assert "  file input_image: clip.jpg (image/jpeg, 1 B)" in lines


async def test_a_graph_is_told_with_its_uploads_and_the_values_that_are_set(call: "Call", desk: "Desk") -> None:
    (desk.folder / "up.json").write_text(json.dumps(GRAPHS["upscale"]))
    desk.write(whole=GRAPH)
    desk.drop("肖像.png", b"x" * 2000)
    desk.drop("肖像.png.job.toml", b'[params]\n"6.text" = "a cat"')
    lines = await told(call, desk, "肖像.png")
    for line in (
        "graph: up.json", "param: 3.seed = 42 (route)", "param: 6.text = a cat (ticket)",
        "upload: POST /openapi/v1/workflow/upload/file, multipart/form-data, file = 肖像.png (image/png, 2.0 kB)",
        "request: POST /openapi/v1/workflow/task/submit, JSON: the graph up.json, in which is set", "  3.seed: 42",
        "  6.text: a cat", "  73.image: uploaded name of 肖像.png", "  cluster_name: GPU-4090",
    ):  # fmt: skip
        assert line in lines


def wish(lines: list[str]) -> Any:
    """The JSON of the request."""
    begins = next(n for n, line in enumerate(lines) if line.startswith("request: "))
    return json.loads("\n".join(line for line in lines[begins + 1 :] if line.startswith("  ")))


async def test_a_model_is_told_as_the_json_that_would_be_sent(call: "Call", desk: "Desk") -> None:
    desk.write(whole=MODEL % PUBLISH)
    desk.drop("a.png")
    desk.drop("a.txt", "a cat, 一只可爱的猫\n".encode("gbk"))
    lines = await told(call, desk, "a.png")
    assert "param: prompt = a cat, 一只可爱的猫 (text)" in lines
    assert "warning: a.txt was read as GBK; save it as UTF-8" in lines
    assert "request: POST /openapi/v1/generate/image, JSON" in lines
    assert wish(lines) == {
        "model": {"provider": "google", "model": "gemini", "type": "image2image"},
        "parameters": {"prompt": "a cat, 一只可爱的猫", "images": ["presigned address of a.png"], "size": {"w": 1}},
    }


async def test_links_and_tickets_name_public_pictures(call: "Call", desk: "Desk") -> None:
    desk.write(whole=MODEL % "")
    desk.drop("a.url", b"[InternetShortcut]\r\nURL=https://example.com/a.png\r\n")
    desk.drop("a.txt", b"a cat")
    assert wish(await told(call, desk, "a.url"))["parameters"]["images"] == ["https://example.com/a.png"]
    assert wish(await told(call, desk, "a.txt"))["parameters"]["prompt"] == "a cat"
    desk.drop("b.job.toml", b'params = { images = ["https://example.com/b.png"] }')
    lines = await told(call, desk, "b.txt")
    assert "input: images = what the ticket says" in lines
    assert wish(lines)["parameters"] == {
        "size": {"w": 1}, "images": ["https://example.com/b.png"], "prompt": "(the text of b.txt)",
    }  # fmt: skip
    desk.drop("a.url", b"[InternetShortcut]\r\nURL=file:///etc/passwd\r\n")
    assert "does not begin with http:// or https://" in (await told(call, desk, "a.url", 1))[-1]


async def test_pictures_without_a_store_would_make_the_route_wait(call: "Call", desk: "Desk") -> None:
    desk.write(whole=MODEL % "")
    desk.drop("a.txt", b"a cat")
    assert [line for line in await told(call, desk, "a.png") if "has no `publish`" in line]


async def test_a_text_that_cannot_be_read_is_refused(call: "Call", desk: "Desk") -> None:
    desk.write(whole=MODEL % PUBLISH)
    desk.drop("a.png")
    desk.drop("a.txt", b"a\0b")
    assert "NUL byte" in (await told(call, desk, "a.txt", 1))[-1]


async def test_nothing_is_read_through_a_link(call: "Call", desk: "Desk") -> None:
    desk.write(whole=MODEL % PUBLISH)
    desk.drop("a.png")
    (desk.folder / "secret.txt").write_text("the secret")
    (desk.home / "inbox/a.txt").symlink_to(desk.folder / "secret.txt")
    lines = await told(call, desk, "a.png", 1)
    assert "symbolic link" in lines[-1]
    assert "the secret" not in "".join(lines)


async def test_a_pipe_in_a_tickets_place_holds_up_nobody(call: "Call", desk: "Desk") -> None:
    desk.drop("a.png")
    os.mkfifo(desk.home / "inbox/a.png.job.toml")
    assert "named pipe" in (await told(call, desk, "a.png", 1))[-1]


async def test_sidecars_of_ours_are_never_work(call: "Call", desk: "Desk") -> None:
    desk.write(whole='workflow_id = "1"\nclusters = ["x"]\ninputs = { a = "any" }\n')
    desk.drop("a.json", b'{"schema": "renderdrop/sidecar/1", "job_id": "01a"}')
    assert "a sidecar of renderdrop, of job 01a" in (await told(call, desk, "a.json", 1))[-1]
    desk.drop("b.json", b"{}")
    await told(call, desk, "b.json")


async def test_an_output_of_another_route_is_told_by_the_job_that_makes_it(call: "Call", desk: "Desk") -> None:
    desk.write(
        route='[routes.before]\nfolder = "before"\noutbox = "first/inbox"\nworkflow_id = "1"\nclusters = ["x"]\n'
        'inputs = { a = "image" }\n'
    )
    (desk.folder / "before/inbox").mkdir(parents=True)
    desk.drop("sub/a.png")
    before = next(route for route in desk.loaded.routes if route.name == "before")
    with desk.ledger() as conn:
        arrival = Arrival((("01a", Wishes()),), (Source("a", "sub/a.jpg", 1, 1),), desk.at())
        adopt(conn, desk.at(), before, [arrival])
        frm = State.QUEUED
        for to in (State.SUBMITTING, State.SUBMITTED, State.RENDERED):
            moves.move(conn, "01a", frm, to, desk.at())
            frm = to
        moves.set_results(conn, "01a", [Output(0, "9", "Save", "http://x/a.png")], ())
        moves.record_output(conn, "01a", 0, file="a.png")
        moves.change(conn, "01a", State.RENDERED, desk.at(), base="a")
    assert "made by: job 01a of route before, which has not delivered all of it yet" in await told(
        call, desk, "sub/a.png"
    )
    with desk.ledger() as conn:
        moves.move(conn, "01a", State.RENDERED, State.DELIVERED, desk.at())
    assert "derived from: sub/a.json" in await told(call, desk, "sub/a.png")


async def test_a_ticket_that_lies_there_counts_for_a_file_that_is_not_there_yet(call: "Call", desk: "Desk") -> None:
    desk.write(route='params = { prompt = "oil" }')
    desk.drop("new.png.job.toml", b'[params]\nprompt = "ink"\n')
    lines = await told(call, desk, "new.png")
    assert "ticket: new.png.job.toml" in lines
    assert "param: prompt = ink (ticket)" in lines
