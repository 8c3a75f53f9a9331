"""`check`, and how every command refuses broken settings."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from renderdrop.cli.check import _hardlinks
from renderdrop.ledger import moves
from renderdrop.sandbox import GRAPHS, Sandbox

if TYPE_CHECKING:
    from tests.cli.conftest import Call, Desk


@pytest.mark.parametrize("command", [["check"], ["run", "--once"], ["jobs", "--json"], ["clusters"], ["retry", "x"]])
async def test_every_problem_is_told_with_its_key_and_the_exit_code_is_78(
    command: list[str], call: "Call", desk: "Desk"
) -> None:
    desk.config.write_text('[daemon]\nuploads = 0\n[routes.a]\nfolder = "gone/x"\nclusters = []\ninput = 1\n')
    ended = await call(*command, "-c", desk.config)
    told, beside = (ended.out, ended.err) if command == ["check"] else (ended.err, ended.out)
    first, *problems = told.splitlines()
    assert ended.code == 78
    assert first.startswith(str(desk.config))
    keys = {problem.split(": ")[0] for problem in problems}
    assert {"daemon.uploads", "routes.a.clusters", "routes.a.workflow_id", "routes.a.input"} <= keys
    assert beside == ""


async def test_without_a_settings_file_the_places_looked_at_are_named(call: "Call", tmp_path: Path) -> None:
    ended = await call("jobs")
    assert (ended.code, ended.out) == (78, "")
    assert "init" in ended.err
    assert str(tmp_path) in ended.err


async def test_good_settings_and_a_platform_that_answers_are_ok(call: "Call", desk: "Desk", sandbox: Sandbox) -> None:
    desk.write(sandbox.base_url)
    ended = await call("check", "-c", desk.config)
    assert ended.code == 0
    assert f"platform: {sandbox.base_url} answers, 5 clusters active" in ended.out
    assert "result: OK" in ended.out
    assert "\x1b" not in ended.out


async def test_check_as_json_tells_all(call: "Call", desk: "Desk", sandbox: Sandbox) -> None:
    desk.write(sandbox.base_url)
    ended = await call("check", "--json", "-c", desk.config)
    told = json.loads(ended.out)
    assert ended.code == 0
    assert list(told) == ["ok", "settings", "problems", "warnings", "routes", "platform"]
    assert (told["ok"], told["settings"], told["problems"]) == (True, str(desk.config), [])
    assert [route["name"] for route in told["routes"]] == ["first"]
    assert told["routes"][0]["watch"] in ("events", "sweep")
    assert "GPU-A800" in told["platform"]["clusters"]


async def test_broken_settings_as_json_are_json_all_the_same(call: "Call", desk: "Desk") -> None:
    desk.config.write_text("[daemon]\nuploads = 0\n")
    ended = await call("check", "--json", "-c", desk.config)
    told = json.loads(ended.out)
    assert ended.code == 78
    assert told["ok"] is False
    assert "daemon.uploads" in [problem["key"] for problem in told["problems"]]
    assert (told["routes"], told["platform"]) == ([], None)


async def test_a_refused_token_is_a_problem_and_never_shown(call: "Call", desk: "Desk", sandbox: Sandbox) -> None:
    desk.write(sandbox.base_url)
    ended = await call("check", "-c", desk.config, RENDERDROP_TOKEN="AI-wrong-and-secret")
    assert ended.code == 1
    assert "platform: the platform refuses the token" in ended.out
    assert "AI-wrong-and-secret" not in ended.out + ended.err


async def test_nobody_at_the_platforms_address_is_a_problem_but_not_offline(call: "Call", desk: "Desk") -> None:
    online = await call("check", "-c", desk.config, "--json")
    offline = await call("check", "-c", desk.config, "--offline")
    assert online.code == 1
    assert [problem["key"] for problem in json.loads(online.out)["problems"]] == ["platform"]
    assert offline.code == 0


async def test_a_cluster_that_is_not_active_is_a_warning(call: "Call", desk: "Desk", sandbox: Sandbox) -> None:
    desk.write(sandbox.base_url)
    sandbox.change_cluster("GPU-A800", active=False)
    ended = await call("check", "--json", "-c", desk.config)
    told = json.loads(ended.out)
    assert (ended.code, told["ok"]) == (0, True)
    assert [w for w in told["warnings"] if w["key"] == "routes.first.clusters" and "GPU-A800" in w["message"]]


async def test_without_a_token_nothing_runs_but_jobs_are_shown(call: "Call", desk: "Desk") -> None:
    assert (await call("run", "--once", "-c", desk.config, RENDERDROP_TOKEN=None)).code == 78
    assert (await call("check", "--offline", "-c", desk.config, RENDERDROP_TOKEN=None)).code == 78
    assert (await call("jobs", "--json", "-c", desk.config, RENDERDROP_TOKEN=None)).code == 0


async def test_a_missing_folder_is_no_fault_where_the_share_was_seen_before(call: "Call", desk: "Desk") -> None:
    desk.write(top="")
    inbox = desk.home / "inbox"
    with desk.ledger() as conn:
        moves.see_folder(conn, str(inbox), desk.at())
    desk.home.rename(desk.folder / "unmounted")
    assert (await call("check", "--offline", "-c", desk.config)).code == 0
    explained = await call("explain", inbox / "a.png", "-c", desk.config)
    assert explained.code == 1
    assert "offline" in explained.out


async def test_settings_are_found_in_the_working_directory_and_by_the_variable(call: "Call", desk: "Desk") -> None:
    assert (await call("jobs", cwd=desk.folder)).code == 0
    assert (await call("jobs", RENDERDROP_CONFIG=str(desk.config))).code == 0


KINDS = """workflow_id = "1234"
clusters = ["GPU-4090"]
inputs = { input_image = "image" }
outbox = "up/inbox"
[routes.up]
kind = "graph"
graph = "up.json"
folder = "up"
clusters = ["GPU-4090"]
inputs = { "73.image" = "image" }
params = { "3.seed" = 42 }
[routes.imagine]
kind = "model"
provider = "google"
model = "gemini"
type = "text2image"
folder = "imagine"
inputs = { prompt = "text" }
"""


def kinds(desk: "Desk", graph: object = GRAPHS["upscale"]) -> None:
    for name in ("up", "imagine"):
        (desk.folder / name / "inbox").mkdir(parents=True)
    (desk.folder / "up.json").write_text(json.dumps(graph))
    desk.write(whole=KINDS)


async def test_routes_of_every_kind_are_told_with_what_they_feed(call: "Call", desk: "Desk") -> None:
    kinds(desk)
    lines = (await call("check", "--offline", "-c", desk.config)).out.splitlines()
    for line in (
        "route first: workflow 1234 on GPU-4090", "  chain: feeds route up",
        f"route up: graph {desk.folder / 'up.json'} on GPU-4090",
        "route imagine: text2image by the model google/gemini", "result: OK",
    ):  # fmt: skip
        assert line in lines
    told = json.loads((await call("check", "--offline", "--json", "-c", desk.config)).out)
    first, up, imagine = told["routes"]
    assert [route["kind"] for route in told["routes"]] == ["app", "graph", "model"]
    assert (first["graph"], first["model"], first["feeds"], up["fed_by"]) == (None, None, "up", ["first"])
    assert up["graph"] == str(desk.folder / "up.json")
    assert imagine["model"] == {"provider": "google", "model": "gemini", "type": "text2image"}
    assert imagine["clusters"] == []


async def test_a_graph_that_does_not_have_what_the_route_names_is_a_problem(call: "Call", desk: "Desk") -> None:
    kinds(desk, GRAPHS["poster"])
    ended = await call("check", "--offline", "-c", desk.config)
    assert ended.code == 78
    assert 'the graph has no node "73"' in ended.out


async def test_a_graph_in_the_editors_format_is_a_problem_with_the_way_out(call: "Call", desk: "Desk") -> None:
    kinds(desk, {"nodes": [], "links": []})
    ended = await call("jobs", "-c", desk.config)
    assert ended.code == 78
    assert "Export (API)" in ended.err


@pytest.mark.parametrize(("said", "warned"), [("0\n", True), ("1\n", False), (None, False)])
def test_a_kernel_that_lets_anybody_link_files_of_others_is_warned_of(
    said: str | None, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "protected_hardlinks"
    if said is not None:
        told.write_text(said)
    monkeypatch.setattr("renderdrop.cli.check._HARDLINKS", told)
    assert [problem.key for problem in _hardlinks()] == ["fs.protected_hardlinks"] * warned
