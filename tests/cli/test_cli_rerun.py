"""`rerun`: a job once more, from what its sidecar says."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from renderdrop.ledger import engine, moves, queries
from renderdrop.model import sidecar
from renderdrop.model.job import Job, Place, Role
from renderdrop.model.lifecycle import OPEN, State
from renderdrop.model.wishes import Wishes

if TYPE_CHECKING:
    from tests.cli.conftest import Call, Desk

DELIVERED = (State.SUBMITTING, State.SUBMITTED, State.RENDERED, State.DELIVERED)
PARAMS: dict[str, Any] = {"prompt": "oil", "seed": 42, "strength": 0.5, "tiled": True}
TWO = (
    'workflow_id = "88"\nclusters = ["GPU-A800"]\nbundle = "{bundle}"\n'
    'inputs = {{ input_image = "image", input_video = "video" }}\n'
)
MODEL = (
    'kind = "model"\nprovider = "google"\nmodel = "gemini"\ntype = "text2image"\n'
    'inputs = { prompt = "text" }\nparams = { seed = 1 }\n'
)


def read(desk: "Desk", job_id: str) -> Job:
    with engine.view(engine.ledger_path(desk.folder / "state")) as conn:
        found = queries.job(conn, job_id)
    assert found is not None
    return found


def open_jobs(desk: "Desk") -> list[Job]:
    with engine.view(engine.ledger_path(desk.folder / "state")) as conn:
        return queries.listed(conn, states=OPEN)


def written(desk: "Desk", job_id: str, /, *, success: bool = True, **changes: Any) -> Path:
    """The job's sidecar in the outbox, with other values where `changes` say so."""
    told = json.loads(sidecar.write(read(desk, job_id), success=success)) | changes
    path = desk.home / "outbox" / f"{job_id}.json"
    path.write_text(json.dumps(told))
    return path


def end(desk: "Desk", job_id: str, state: State = State.DELIVERED, place: Place = Place.DONE, **changes: Any) -> None:
    """The job ends with these parameters, and its files are put away."""
    with desk.ledger() as conn:
        frm = State.QUEUED
        for to in DELIVERED if state is State.DELIVERED else (state,):
            assert moves.move(conn, job_id, frm, to, desk.at(), **({"params": PARAMS} | changes))
            frm = to
    for source in read(desk, job_id).sources:
        file = desk.home / "inbox" / source.path
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        goes = {} if place is Place.INBOX else {"place": place, "stored": source.path}
        with desk.ledger() as conn:
            moves.record_source(conn, job_id, source.path, filed=True, sha256=sha256, **goes)
        if place is not Place.INBOX:
            to_path = desk.home / place.value / source.path
            to_path.parent.mkdir(parents=True, exist_ok=True)
            file.rename(to_path)


def delivered(desk: "Desk", job_id: str = "01a", path: str = "sub/a.png") -> Path:
    """A job that was delivered, and its sidecar; its source lies in done/."""
    desk.drop(path, b"bytes of " + path.encode())
    desk.adopt((job_id, Wishes()), sources=(desk.source(path),))
    end(desk, job_id)
    return written(desk, job_id)


async def rerun(call: "Call", desk: "Desk", path: Path, *more: str) -> dict[str, Any]:
    ended = await call("rerun", path, *more, "--json", "-c", desk.config)
    assert ended.code == 0, ended.err
    told: dict[str, Any] = json.loads(ended.out)
    return told


async def test_a_job_is_repeated_with_what_its_sidecar_says(call: "Call", desk: "Desk") -> None:
    desk.write(route="priority = 7\nparams = { prompt = 'another by now' }")
    path = delivered(desk)
    told = await rerun(call, desk, path)
    job = read(desk, told["id"])
    assert (told["rerun_of"], told["changed"], job.state) == ("01a", {}, State.QUEUED)
    assert job.params == PARAMS
    assert job.wishes.whole
    assert set(job.wishes.origins.values()) == {"route"}
    assert (job.priority, job.arrival, job.workflow_id, job.bundle) == (7, job.id, "1234", None)
    [source] = job.sources
    assert (source.path, source.place, source.stored) == ("sub/a.png", Place.DONE, "sub/a.png")
    assert (source.input, source.role, source.filed) == ("input_image", Role.FILE, False)
    assert source.mtime_ns == (desk.home / "done/sub/a.png").stat().st_mtime_ns


async def test_a_changed_parameter_says_that_a_rerun_changed_it(call: "Call", desk: "Desk") -> None:
    path = delivered(desk)
    ended = await call("rerun", path, "--set", "seed=7", "--set", "prompt=12", "--set", "new=1.5", "-c", desk.config)
    assert ended.code == 0
    assert "changed: seed = 7 (was 42)" in ended.out
    assert "source input_image: sub/a.png (found in done/; it is brought back into the inbox)" in ended.out
    assert "paid for again" in ended.out
    assert "renderdrop run" in ended.err
    [job] = open_jobs(desk)
    assert job.params == PARAMS | {"seed": 7, "prompt": "12", "new": 1.5}
    assert {key for key, origin in job.wishes.origins.items() if origin == "rerun"} == {"seed", "prompt", "new"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("seed", "write KEY=VALUE"),
        ("=7", "write KEY=VALUE"),
        ("seed=7.5", "a whole number"),
        ("seed=seven", "a whole number"),
        ("seed=true", "a whole number"),
        ("strength=true", "a number"),
        ("tiled=1", "true or false"),
        ("input_image=/etc/passwd", "dropped file"),
        ("workflow_id=2", "belongs to the route"),
        ("prompt=a\x07b", "control characters"),
    ],
)
async def test_a_change_that_cannot_be_made_is_a_usage_error(
    change: str, why: str, call: "Call", desk: "Desk"
) -> None:  # fmt: skip
    path = delivered(desk)
    ended = await call("rerun", path, "--set", change, "-c", desk.config)
    assert ended.code == 2
    assert why in " ".join(ended.err.replace("│", " ").split())
    assert open_jobs(desk) == []


async def test_a_source_is_found_by_its_content_wherever_it_lies(call: "Call", desk: "Desk") -> None:
    path = delivered(desk)
    done = desk.home / "done"
    desk.drop("sub/a.png", b"other sub/a.png!!", place="done/x")
    (done / "sub/a.png").rename(done / "elsewhere.png")
    desk.drop("sub/a.png", b"BYTES OF sub/a.png", place="done")
    [source] = read(desk, (await rerun(call, desk, path))["id"]).sources
    assert (source.place, source.stored, source.path) == (Place.DONE, "elsewhere.png", "sub/a.png")


async def test_a_source_found_in_the_inbox_has_the_name_that_it_has_there(call: "Call", desk: "Desk") -> None:
    path = delivered(desk)
    (desk.home / "done/sub/a.png").rename(desk.home / "inbox/b.png")
    [source] = read(desk, (await rerun(call, desk, path))["id"]).sources
    assert (source.place, source.stored, source.path) == (Place.INBOX, None, "b.png")


async def test_without_the_job_in_the_ledger_its_sources_are_found_all_the_same(call: "Call", desk: "Desk") -> None:
    delivered(desk)
    path = written(desk, "01a", job_id="0never")
    told = await rerun(call, desk, path)
    assert told["sources"] == [
        {"input": "input_image", "path": "sub/a.png", "place": "done", "found": "sub/a.png"}
    ]  # fmt: skip


async def test_a_source_of_unknown_content_is_found_by_its_path_and_size(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png")
    end(desk, "01a", State.FAILED, Place.FAILED, error="no")
    with desk.ledger() as conn:
        moves.record_source(conn, "01a", "a.png", sha256=None, told="a.png")
    path = written(desk, "01a", success=False)
    [source] = read(desk, (await rerun(call, desk, path))["id"]).sources
    assert (source.place, source.stored, source.sha256) == (Place.FAILED, "a.png", None)
    (desk.home / "failed/a.png").rename(desk.home / "failed/b.png")
    ended = await call("rerun", path, "-c", desk.config)
    assert ended.code == 1
    assert "a.png was not found" in ended.err


async def test_a_source_that_is_nowhere_is_refused_by_its_name(call: "Call", desk: "Desk") -> None:
    path = delivered(desk)
    (desk.home / "done/sub/a.png").write_bytes(b"BYTES OF sub/a.png")
    ended = await call("rerun", path, "-c", desk.config)
    assert ended.code == 1
    assert "a.png was not found by its content" in ended.err
    assert open_jobs(desk) == []


async def test_a_link_in_done_is_never_followed(call: "Call", desk: "Desk", tmp_path: Path) -> None:
    path = delivered(desk)
    file = desk.home / "done/sub/a.png"
    (tmp_path / "secret").write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(tmp_path / "secret")
    assert (await call("rerun", path, "-c", desk.config)).code == 1


@pytest.mark.parametrize("outside", ["../../outside.png", "/etc/passwd", "a/../b.png", "."])
async def test_a_forged_path_leads_nowhere(outside: str, call: "Call", desk: "Desk") -> None:
    delivered(desk)
    said = json.loads((desk.home / "outbox/01a.json").read_text())["sources"][0]
    path = written(desk, "01a", job_id="0never", sources=[said | {"path": outside}])
    ended = await call("rerun", path, "-c", desk.config)
    assert ended.code == 1
    assert "no path of a file below an inbox" in ended.err
    assert open_jobs(desk) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "no sidecar of renderdrop"),
        ('{"schema": "renderdrop/sidecar/1"}', "look at its job_id"),
        ("no json", "is no JSON"),
        ("[" * 100_000, "nested too deeply"),
        (" " * (4 * 2**20 + 1), "larger than 4 MiB"),
        ('{"schema": NaN}', "is no JSON"),
    ],
)
async def test_what_is_no_sidecar_of_ours_is_refused(text: str, why: str, call: "Call", desk: "Desk") -> None:
    path = desk.home / "outbox/x.json"
    path.write_text(text)
    ended = await call("rerun", path, "-c", desk.config)
    assert ended.code == 1
    assert why in ended.err
    assert "Traceback" not in ended.err


async def test_a_sidecar_that_is_not_there_is_told(call: "Call", desk: "Desk") -> None:
    ended = await call("rerun", "nowhere.json", "-c", desk.config)
    assert (ended.code, "cannot be read" in ended.err) == (1, True)
    ended = await call("rerun", desk.home, "-c", desk.config)
    assert ended.code == 1
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"route": "other"}, "is not in the settings"),
        ({"kind": "graph"}, "is of kind app now"),
        ({"sources": []}, "names no sources"),
        ({"params": {"n": 10**400}}, "too large a number"),
        ({"params": {"p": "\ud800"}}, "half of a character"),
    ],
)
async def test_a_job_that_the_settings_do_not_fit_is_refused(
    changes: dict[str, Any], why: str, call: "Call", desk: "Desk"
) -> None:
    delivered(desk)
    ended = await call("rerun", written(desk, "01a", **changes), "-c", desk.config)
    assert ended.code == 1
    assert why in ended.err


async def test_a_disabled_route_is_told_as_such(call: "Call", desk: "Desk") -> None:
    path = delivered(desk)
    more = '[routes.more]\nfolder = "more"\nworkflow_id = "1"\nclusters = ["x"]\ninputs = { a = "image" }'
    (desk.folder / "more/inbox").mkdir(parents=True)
    desk.write(route=f"enabled = false\n{more}")
    ended = await call("rerun", path, "-c", desk.config)
    assert "is disabled in the settings" in ended.err


async def test_without_a_ledger_there_is_a_hint(call: "Call", desk: "Desk", tmp_path: Path) -> None:
    path = delivered(desk)
    (desk.folder / "state").rename(tmp_path / "away")
    ended = await call("rerun", path, "-c", desk.config)
    assert ended.code == 1
    assert "renderdrop run" in ended.err


async def test_a_job_that_never_had_all_its_files_is_not_repeated(call: "Call", desk: "Desk") -> None:
    desk.write(whole=TWO.format(bundle="stem"))
    desk.drop("a.png")
    desk.adopt(("01a", Wishes()), sources=(desk.source("a.png"),), refusal="input_video is missing", bundle="a")
    ended = await call("rerun", written(desk, "01a", success=False), "-c", desk.config)
    assert ended.code == 1
    assert "input_video is missing" in ended.err


@pytest.mark.parametrize(("bundle", "folder", "name"), [("stem", "sub/", "sub/a"), ("folder", "shot1/", "shot1")])
async def test_a_bundle_is_repeated_with_all_its_files(
    bundle: str, folder: str, name: str, call: "Call", desk: "Desk"
) -> None:
    desk.write(whole=TWO.format(bundle=bundle))
    for path in ("a.png", "a.mp4", "a.png.job.toml"):
        desk.drop(folder + path, path.encode())
    sources = (
        desk.source(f"{folder}a.png"), desk.source(f"{folder}a.mp4", "input_video"),
        desk.source(f"{folder}a.png.job.toml", "", Role.TICKET),
    )  # fmt: skip
    desk.adopt(("01a", Wishes()), sources=sources, bundle=name)
    end(desk, "01a", derived_from="x.json")
    (desk.home / f"done/{folder}a.mp4").rename(desk.home / f"inbox/{folder}a.mp4")
    job = read(desk, (await rerun(call, desk, written(desk, "01a")))["id"])
    assert (job.bundle, job.derived_from) == (name, "x.json")
    assert [(s.input, s.path, s.place) for s in job.sources] == [
        ("input_image", f"{folder}a.png", Place.DONE),
        ("input_video", f"{folder}a.mp4", Place.INBOX),
    ]


async def test_a_text_is_sent_as_it_was_and_its_file_comes_along(call: "Call", desk: "Desk") -> None:
    desk.write(whole=MODEL)
    desk.drop("p.txt", b"a cat")
    desk.adopt(("01a", Wishes({"prompt": "a cat"}, {"prompt": "text"})),
               sources=(desk.source("p.txt", "prompt", Role.TEXT),))  # fmt: skip
    end(desk, "01a", params={"seed": 1, "prompt": "a cat"})
    path = written(desk, "01a")
    job = read(desk, (await rerun(call, desk, path, "--set", "seed=2"))["id"])
    assert job.sources[0].role is Role.TEXT
    assert job.wishes.origins == {"seed": "rerun", "prompt": "text"}
    refused = await call("rerun", path, "--set", "prompt=a dog", "-c", desk.config)
    assert refused.code == 2
    unsent = await call("rerun", written(desk, "01a", params={"seed": 1}), "-c", desk.config)
    assert "what p.txt says was never sent" in unsent.err


async def test_a_file_of_an_open_job_is_shared_with_it_and_put_away_once(call: "Call", desk: "Desk") -> None:
    path = delivered(desk)
    first = read(desk, (await rerun(call, desk, path))["id"])
    second = read(desk, (await rerun(call, desk, path))["id"])
    assert (first.arrival, second.arrival) == (first.id, first.id)
    (desk.home / "done/sub/a.png").rename(desk.home / "inbox/sub/a-2.png")
    with desk.ledger() as conn:
        moves.relocate(conn, first, first.source, path="sub/a-2.png", place=Place.INBOX, stored=None)
    third = read(desk, (await rerun(call, desk, path))["id"])
    assert (third.arrival, third.source.path, third.source.place) == (first.id, "sub/a-2.png", Place.INBOX)


async def test_a_source_that_is_on_its_way_to_done_is_waited_for(call: "Call", desk: "Desk") -> None:
    delivered(desk)
    path = written(desk, "01a")
    desk.drop("sub/a.png", b"bytes of sub/a.png")
    desk.adopt(("01b", Wishes()), sources=(desk.source("sub/a.png"),))
    (desk.home / "done/sub/a.png").unlink()
    with desk.ledger() as conn:
        frm = State.QUEUED
        for to in DELIVERED:
            moves.move(conn, "01b", frm, to, desk.at())
            frm = to
    ended = await call("rerun", path, "-c", desk.config)
    assert ended.code == 1
    assert "still being put away after job 01b" in ended.err


async def test_a_file_that_waits_for_its_partners_is_left_to_them(call: "Call", desk: "Desk") -> None:
    desk.write(whole=TWO.format(bundle="stem"))
    for name in ("a.png", "a.mp4"):
        desk.drop(name, name.encode())
    sources = (desk.source("a.png"), desk.source("a.mp4", "input_video"))
    desk.adopt(("01a", Wishes()), sources=sources, bundle="a")
    end(desk, "01a")
    path = written(desk, "01a")
    (desk.home / "done/a.png").rename(desk.home / "inbox/a.png")
    desk.adopt(("01b", Wishes()), sources=(desk.source("a.png"),), bundle="a", waiting_for="input_video")
    ended = await call("rerun", path, "-c", desk.config)
    assert ended.code == 1
    assert "belongs to job 01b, which waits for input_video" in ended.err


async def test_a_share_that_is_offline_is_told_and_nothing_is_made(call: "Call", desk: "Desk") -> None:
    path = delivered(desk)
    with desk.ledger() as conn:
        moves.see_folder(conn, str(desk.home / "inbox"), desk.at())
    ended = await call("rerun", path, "-c", desk.config)
    assert ended.code == 1
    assert "inbox" in ended.err
    assert open_jobs(desk) == []
