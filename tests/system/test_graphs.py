"""A ComfyUI graph of one's own: its files uploaded once, its values set, its results fetched by their bare names."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State
from renderdrop.sandbox import GRAPHS

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "graphs" / "upscale_api.json"
UPSCALE: dict[str, Any] = {
    "kind": "graph",
    "graph": "upscale_api.json",
    "workflow_id": None,
    "inputs": {"73.image": "image"},
    "params": {"3.seed": 42, "3.denoise": 0.35},
    "params_allowed": ["3.seed", "3.denoise", "6.text"],
}
DANCE: dict[str, Any] = {
    **UPSCALE,
    "graph": "dance.json",
    "inputs": {"10.image": "image", "20.video": "video"},
    "params": {"30.blend_factor": 0.25},
    "params_allowed": None,
}


@pytest.fixture
def graph(daemon: Daemon) -> Path:
    """The graph's file, beside the settings, and a daemon that has it for its one route."""
    path = Path(shutil.copy(EXAMPLE, daemon.home / "upscale_api.json"))
    daemon.route(**UPSCALE)
    return path


@pytest.mark.parametrize("platform", [{"native_urls": False}, {"native_urls": True}], indirect=True)
def test_a_picture_is_uploaded_once_its_graph_filled_in_and_the_result_fetched(
    platform: Platform, daemon: Daemon, share: Share, graph: Path
) -> None:
    daemon.start()
    data = share.drop("星空 1.png")
    daemon.wait_at_rest(done=1)
    share.drop("again.png.job.toml", b'clusters = ["GPU-A800"]\n[params]\n"6.text" = "ink"\n"3.seed" = 7\n')
    share.drop("again.png", data)
    daemon.wait_at_rest(done=3)
    share.check_whole(platform)
    ledger = platform.ledger()
    [upload] = ledger["uploads"]
    assert (upload["sha256"], upload["sent_as"]) == (share.digest(data), "星空 1.png")
    first, again = ledger["tasks"]
    wanted = json.loads(graph.read_bytes())
    wanted["73"]["inputs"]["image"] = upload["filename"]
    wanted["3"]["inputs"].update(seed=42, denoise=0.35)
    assert (first["kind"], first["graph"]) == ("graph", wanted)
    wanted["3"]["inputs"]["seed"], wanted["6"]["inputs"]["text"] = 7, "ink"
    assert (again["cluster"], again["graph"]) == ("GPU-A800", wanted)
    assert not ledger["calls"].keys() & {"run", "poll", "generate"}

    sidecar = share.sidecar("again.png")
    assert (sidecar["kind"], sidecar["workflow_id"]) == ("graph", None)
    assert sidecar["graph"] == {"name": "upscale_api.json", "sha256": share.digest(graph.read_bytes())}
    assert sidecar["params"] == {"3.seed": 7, "3.denoise": 0.35, "6.text": "ink"}
    assert sidecar["params_from"] == {"3.seed": "ticket", "3.denoise": "route", "6.text": "ticket"}
    # The platform tells a bare name or an address; either way the sidecar has the address.
    assert [out["url"] for out in sidecar["outputs"]] == [out["url"] for out in again["outputs"]]
    assert share.sidecar("星空 1.png")["outputs"][0]["sha256"] != sidecar["outputs"][0]["sha256"]


@pytest.mark.parametrize("late_missing", [False, True], ids=["refused", "failing"])
def test_what_the_platform_has_forgotten_is_uploaded_once_more(
    platform: Platform, daemon: Daemon, share: Share, late_missing: bool
) -> None:
    (daemon.home / "dance.json").write_text(json.dumps(GRAPHS["dance"], ensure_ascii=False))
    daemon.route(**DANCE)
    daemon.start()
    picture, video = share.drop("a.png"), share.drop("a.mp4")
    daemon.wait_at_rest(done=2)
    assert len(platform.forget(late_missing=late_missing)) == 2
    share.drop("b.png", picture), share.drop("b.mp4", video)
    daemon.wait_at_rest(done=4)
    share.check_whole(platform)
    ledger = platform.ledger()
    assert sorted(upload["sha256"] for upload in ledger["uploads"]) == sorted(
        [share.digest(picture), share.digest(video)] * 2
    )
    # A refusal costs nothing; a task that fails for it is one more.
    assert [task["status"] for task in ledger["tasks"]] == ["success", *["fail"] * late_missing, "success"]
    assert len(ledger["rejected"]) == (0 if late_missing else 1)
    assert share.sidecar("b.png")["status"] == "success"
    assert not share.files(share.failed)

    share.drop("c.png", picture), share.drop("c.mp4", video)
    daemon.wait_at_rest(done=6)
    assert len(platform.ledger()["uploads"]) == 4


def test_a_platform_that_goes_on_saying_the_input_is_missing_ends_the_job_after_one_more_upload(
    platform: Platform, daemon: Daemon, share: Share, graph: Path
) -> None:
    daemon.start()
    data = share.drop("a.png")
    daemon.wait_at_rest(done=1)
    platform.faults({"call": "submit", "do": "refuse", "msg": "输入文件不存在 (the input file is missing)"})
    share.drop("b.png", data)
    daemon.wait_at_rest(done=1, failed=1)
    assert "输入文件不存在" in share.told("b.png")[0]
    assert len(platform.ledger()["uploads"]) == 2
    assert len(platform.tasks()) == 1


def test_a_graph_that_changes_is_read_again_and_every_sidecar_has_the_hash_of_what_was_sent(
    platform: Platform, daemon: Daemon, share: Share, graph: Path
) -> None:
    daemon.start()
    share.drop("a.png")
    daemon.wait_at_rest(done=1)
    first = graph.read_bytes()
    changed = json.loads(first)
    changed["6"]["inputs"]["text"] = "a woodcut"
    graph.write_text(json.dumps(changed, ensure_ascii=False))
    share.drop("b.png")
    daemon.wait_at_rest(done=2)
    assert [task["graph"]["6"]["inputs"]["text"] for task in platform.tasks()][1:] == ["a woodcut"]
    assert share.sidecar("a.png")["graph"]["sha256"] == share.digest(first)
    assert share.sidecar("b.png")["graph"]["sha256"] == share.digest(graph.read_bytes())

    # One that breaks while the daemon runs fails nobody's file: it waits until the graph is mended.
    graph.write_text("{")
    share.drop("c.png")
    daemon.wait(lambda: daemon.events("route_waits"), "the route waits")
    assert len(daemon.jobs(State.QUEUED)) == 1
    graph.write_bytes(first)
    daemon.reload()
    daemon.wait_at_rest(done=3)
    assert share.sidecar("c.png")["graph"]["sha256"] == share.digest(first)
    assert not share.files(share.failed)


def test_the_editors_format_and_inputs_that_the_graph_does_not_have_are_refused_at_the_start(
    platform: Platform, daemon: Daemon, graph: Path
) -> None:
    nodes = json.loads(graph.read_bytes())
    graph.write_text(json.dumps({"nodes": [{"id": 3, "type": "KSampler"}], "links": [], "version": 0.4}))
    checked = daemon.run("check", "--offline")
    assert checked.returncode == 78
    assert "routes.portrait.graph" in checked.stdout
    assert "Export (API)" in checked.stdout
    daemon.launch()
    assert daemon.ended() == 78
    assert "Export (API)" in daemon.tail()

    graph.write_text(json.dumps(nodes))
    daemon.route(inputs={"74.picture": "image"}, params={"3.sede": 42, "99.text": "x"}, params_allowed=["3.seed"])
    checked = daemon.run("check", "--offline")
    assert checked.returncode == 78
    for wrong in ("74.picture", "3.sede", "99.text"):
        assert wrong in checked.stdout
    assert not platform.ledger()["calls"]


@pytest.mark.parametrize(
    ("fault", "outcomes"),
    [
        ({"call": "upload", "do": "hang", "count": 1}, ["not_sent", "accepted"]),
        ({"call": "submit", "do": "hang", "count": 1}, ["unknown", "accepted"]),
    ],
    ids=["uploading", "awaiting the answer"],
)
def test_killed_while_it_submits_there_is_one_task_at_the_end(
    platform: Platform, daemon: Daemon, share: Share, graph: Path, fault: dict[str, Any], outcomes: list[str]
) -> None:
    platform.faults(fault)
    daemon.start()
    data = share.drop("a.png")
    daemon.wait(lambda: platform.ledger()["faults"], "the request is on the wire")
    daemon.wait_for(State.SUBMITTING)
    daemon.kill()
    daemon.start()
    daemon.wait_at_rest(done=1)
    share.check_whole(platform)
    assert len(platform.tasks(data)) == 1
    assert [s["outcome"] for s in share.sidecar("a.png")["submissions"]] == outcomes
    assert len(platform.ledger()["uploads"]) == 1
