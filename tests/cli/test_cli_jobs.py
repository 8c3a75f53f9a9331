"""`jobs` and `show`: what there is, for people, pipes and programs."""

import json
import os
from typing import TYPE_CHECKING

from renderdrop.ledger import moves
from renderdrop.model.job import Outcome, Output, Role
from renderdrop.model.lifecycle import State
from renderdrop.model.wishes import Wishes

if TYPE_CHECKING:
    from tests.cli.conftest import Call, Desk

KEYS = [
    "id", "route", "state", "source", "sources", "cluster", "task_id", "status", "progress", "error", "outputs",
    "created", "updated",
]  # fmt: skip


def three(desk: "Desk") -> None:
    desk.job("01aaaaaaaaaaaaaa", "a.png")
    desk.job("01aaaaaaaaaabbbb", "sub/肖像.png", State.FAILED, error="the platform could not render it")
    desk.job(
        "01cccccccccccccc", "c.png", State.SUBMITTING, State.SUBMITTED, cluster="GPU-4090", task_id="230",
        status="running", progress=41.5,
    )  # fmt: skip


async def test_rows_as_json_have_exactly_the_keys_of_the_contract_newest_first(call: "Call", desk: "Desk") -> None:
    three(desk)
    ended = await call("jobs", "--json", "-c", desk.config)
    found = json.loads(ended.out)
    assert (ended.code, ended.err) == (0, "")
    assert [list(row) for row in found] == [KEYS] * 3
    assert [row["source"] for row in found] == ["c.png", "sub/肖像.png", "a.png"]
    assert (found[0]["task_id"], found[0]["progress"], found[0]["status"]) == (230, 41.5, "running")
    assert found[1]["sources"] == ["sub/肖像.png"]


async def test_outputs_are_told_once_they_have_their_names(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "sub/a.png", State.SUBMITTING, State.SUBMITTED, State.RENDERED, task_id="1")
    with desk.ledger() as conn:
        moves.set_results(conn, "01a", [Output(0, "9", "Save", "http://x/a"), Output(1, "9", "Save", "http://x/b")], ())
        moves.record_output(conn, "01a", 0, file="a.png")
    [row] = json.loads((await call("jobs", "--json", "-c", desk.config)).out)
    assert row["outputs"] == ["sub/a.png"]


async def test_states_and_routes_narrow_them_down(call: "Call", desk: "Desk") -> None:
    three(desk)
    argv = ("jobs", "--state", "failed", "--state", "queued", "--route", "first", "-c", desk.config)
    ended = await call(*argv)
    assert [line.split("\t")[2] for line in ended.out.splitlines()] == ["failed", "queued"]
    assert len((await call("jobs", "--limit", "1", "-c", desk.config)).out.splitlines()) == 1
    assert (await call("jobs", "--state", "lost", "-c", desk.config)).code == 2
    assert (await call("jobs", "--route", "lost", "-c", desk.config)).code == 2


async def test_without_a_ledger_there_are_no_jobs_and_a_hint(call: "Call", desk: "Desk") -> None:
    ended = await call("jobs", "--json", "-c", desk.config)
    assert (ended.code, json.loads(ended.out)) == (0, [])
    assert "renderdrop run" in ended.err
    assert not (desk.folder / "state").exists()


async def test_a_name_of_a_file_forges_no_line_and_no_colour(call: "Call", desk: "Desk") -> None:
    bad = "a\n01x\tfirst\tdelivered\x1b[31m\u202e" + os.fsdecode(b"\xff") + ".png"
    desk.job("01a", bad, drop=False)
    ended = await call("jobs", "-c", desk.config)
    [line] = ended.out.splitlines()
    assert len(line.split("\t")) == 8
    assert "\x1b" not in ended.out
    assert "\u202e" not in ended.out
    shown = await call("show", "01a", "-c", desk.config)
    assert [line for line in shown.out.splitlines() if line.startswith("01x")] == []


async def test_a_name_that_is_no_utf8_comes_out_of_the_json_unchanged(call: "Call", desk: "Desk") -> None:
    name = os.fsdecode(b"\xff\xe9.png")
    desk.job("01a", name, drop=False)
    [row] = json.loads((await call("jobs", "--json", "-c", desk.config)).out)
    assert row["source"] == name


async def test_an_encoding_that_lacks_letters_breaks_nothing(call: "Call", desk: "Desk") -> None:
    three(desk)
    ended = await call("jobs", "-c", desk.config, PYTHONIOENCODING="ascii")
    assert ended.code == 0
    assert "sub/\\u8096\\u50cf.png" in ended.out
    found = json.loads((await call("jobs", "--json", "-c", desk.config, PYTHONIOENCODING="ascii")).out)
    assert found[1]["source"] == "sub/肖像.png"


async def test_what_makes_work_wait_is_told_beside_the_rows(call: "Call", desk: "Desk") -> None:
    three(desk)
    with desk.ledger() as conn:
        moves.tell_trouble(conn, "platform", "platform", "the platform refuses the token (HTTP 401)", desk.at())
        moves.tell_trouble(conn, "share", "first", "first/inbox cannot be reached", desk.at())
    ended = await call("jobs", "-c", desk.config)
    assert len(ended.out.splitlines()) == 3
    assert "The platform waits since" in ended.err
    assert "HTTP 401" in ended.err
    assert "Route first waits since" in ended.err


async def test_a_job_is_shown_by_the_beginning_of_its_id(call: "Call", desk: "Desk") -> None:
    three(desk)
    ended = await call("show", "01C", "-c", desk.config)
    assert ended.code == 0
    assert "job: 01cccccccccccccc" in ended.out
    assert "submitting → submitted" in ended.out
    assert "next: " in ended.out


async def test_an_ambiguous_beginning_lists_what_it_may_mean(call: "Call", desk: "Desk") -> None:
    three(desk)
    ended = await call("show", "01aaaaaaaaaa", "-c", desk.config)
    assert ended.code == 2
    assert "01aaaaaaaaaaaaaa" in ended.err
    assert "01aaaaaaaaaabbbb" in ended.err
    assert "01cccccccccccccc" not in ended.err


async def test_an_unknown_job_is_a_usage_error_with_and_without_a_ledger(call: "Call", desk: "Desk") -> None:
    assert (await call("show", "nope", "-c", desk.config)).code == 2
    three(desk)
    assert (await call("show", "nope", "-c", desk.config)).code == 2
    assert (await call("show", "", "-c", desk.config)).code == 2
    assert (await call("cancel", "01a%", "-c", desk.config)).code == 2


async def test_everything_of_a_job_as_json(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png")
    with desk.ledger() as conn:
        number = moves.begin_submission(
            conn, "01a", desk.at(), cluster="GPU-4090", note="chosen", workflow_id="1234", version_id=None,
            params={"seed": 1}, priority=0,
        )  # fmt: skip
        assert number is not None
        moves.end_submission(conn, number, desk.at(), Outcome.UNKNOWN, "no answer")
    told = json.loads((await call("show", "01a", "--json", "-c", desk.config)).out)
    assert set(KEYS) <= set(told)
    assert told["sources"][0]["place"] == "inbox"
    assert told["params"] == {"seed": 1}
    assert [s["outcome"] for s in told["submissions"]] == ["unknown"]
    assert [(h["from"], h["to"]) for h in told["history"]] == [(None, "queued"), ("queued", "submitting")]
    assert (told["outputs_detail"], told["remarks"]) == ([], [])
    assert told["times"]["queued"] is not None


async def test_a_ledger_of_a_newer_program_is_told_without_a_traceback(call: "Call", desk: "Desk") -> None:
    with desk.ledger() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    ended = await call("jobs", "-c", desk.config)
    assert ended.code == 1
    assert "newer renderdrop" in ended.err
    assert "Traceback" not in ended.err


TWO = (
    'workflow_id = "88"\nclusters = ["GPU-A800"]\ninputs = { input_image = "image", input_video = "video" }\n'
    "params = { seed = 1 }\n"
)


async def test_what_a_job_waits_for_is_seen_at_once(call: "Call", desk: "Desk") -> None:
    desk.write(whole=TWO)
    desk.drop("sub/clip.jpg")
    desk.adopt(("01a", Wishes()), sources=(desk.source("sub/clip.jpg"),), bundle="sub/clip", waiting_for="input_video")
    table = await call("jobs", "-c", desk.config)
    assert table.out.rstrip("\n").split("\t")[-1] == "waiting for input_video"
    [row] = json.loads((await call("jobs", "--json", "-c", desk.config)).out)
    assert list(row) == KEYS
    assert (row["state"], row["error"]) == ("queued", "waiting for input_video")
    lines = (await call("show", "01a", "-c", desk.config)).out.splitlines()
    assert "note: waiting for input_video" in lines
    assert "bundle: sub/clip" in lines
    assert [line for line in lines if line.startswith("next: Once that is there it goes on by itself.")]
    told = json.loads((await call("show", "01a", "--json", "-c", desk.config)).out)
    assert (told["bundle"], told["waiting_for"]) == ("sub/clip", "input_video")


async def test_tickets_are_no_sources_of_a_row(call: "Call", desk: "Desk") -> None:
    desk.write(whole=TWO)
    for name in ("clip.jpg", "clip.mp4", "clip.job.toml"):
        desk.drop(name)
    sources = (
        desk.source("clip.jpg"), desk.source("clip.mp4", "input_video"), desk.source("clip.job.toml", "", Role.TICKET),
    )  # fmt: skip
    first = Wishes({"seed": 1, "style": "oil"}, {"seed": "matrix", "style": "ticket"}, label="seed-1", notes=("GBK",))
    second = Wishes({"seed": 2}, {"seed": "matrix"}, label="seed-2")
    desk.adopt(("01a", first), ("01b", second), sources=sources, bundle="clip", derived_from="before.json")
    with desk.ledger() as conn:
        moves.change(
            conn, "01a", State.QUEUED, desk.at(), duplicate_of="00x",
            sent={"graph_sha256": "0" * 64, "constants": [{"input": "s", "name": "s.png", "size": 9, "sha256": "1"}]},
        )  # fmt: skip
    rows = json.loads((await call("jobs", "--json", "-c", desk.config)).out)
    assert [row["sources"] for row in rows] == [["clip.jpg", "clip.mp4"]] * 2
    lines = (await call("show", "01a", "-c", desk.config)).out.splitlines()
    for line in (
        "param: seed = 1 (matrix)", "param: style = oil (ticket)", "combination: seed-1", "same files: 01b",
        "derived from: before.json", "duplicate of: 00x", "ticket: clip.job.toml (1 B; now: inbox)",
        "source input_video: clip.mp4 (1 B; now: inbox)", "constant s: s.png (9 B)", "warning: GBK",
        f"graph sha256: {'0' * 64}",
    ):  # fmt: skip
        assert line in lines
    told = json.loads((await call("show", "01a", "--json", "-c", desk.config)).out)
    assert [source["path"] for source in told["sources"]] == ["clip.jpg", "clip.mp4"]
    assert [ticket["path"] for ticket in told["tickets"]] == ["clip.job.toml"]
    assert told["params_from"] == {"seed": "matrix", "style": "ticket"}
    assert (told["label"], told["same_files"], told["derived_from"]) == ("seed-1", ["01b"], "before.json")
    assert (told["duplicate_of"], told["graph_sha256"], told["notes"]) == ("00x", "0" * 64, ["GBK"])
    assert told["constants"][0]["name"] == "s.png"
