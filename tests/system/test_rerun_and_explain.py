"""Once more from a sidecar, a little different if need be; and what would be sent, without sending it."""

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from renderdrop.sandbox import GRAPHS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.daemon import Daemon
    from tests.rig.platform import Platform
    from tests.rig.share import Share

SEEDED: dict[str, Any] = {"params": {"prompt": "oil painting", "seed": 1}}


@pytest.fixture
def seeded(daemon: "Daemon") -> "Daemon":
    """The daemon, whose one route has a seed."""
    daemon.route(**SEEDED)
    return daemon


def test_a_delivered_job_is_repeated_with_another_seed_wherever_its_source_lies_now(
    platform: "Platform", seeded: "Daemon", share: "Share"
) -> None:
    seeded.start()
    share.drop("sub/cat.png.job.toml", b'clusters = ["GPU-A800"]\nversion_id = 6\n[params]\nprompt = "ink"\n')
    data = share.drop("sub/cat.png")
    seeded.wait_at_rest(done=2)
    sidecar = share.outbox / "sub" / "cat.json"
    # What the settings say by now does not count: the job is repeated as it was.
    seeded.route(params={"prompt": "a mosaic", "seed": 100})
    seeded.reload()
    (share.done / "sub" / "cat.png").rename(share.done / "cat, filed by hand.png")

    ended = seeded.run("rerun", str(sidecar), "--set", "seed=7")
    assert ended.returncode == 0, ended.stderr
    seeded.wait(lambda: len(share.sidecars()) == 2, "it is delivered again")
    seeded.wait(lambda: not share.files(share.inbox) and not share.staging(), "it is put away")
    share.check_whole(platform)
    first, again = platform.tasks(data)
    assert first["fields"] == {"prompt": "ink", "seed": "1"}
    assert (again["fields"], again["version_id"]) == ({"prompt": "ink", "seed": "7"}, "6")
    assert again["files"][0]["sha256"] == share.digest(data)
    told = json.loads((share.outbox / "sub" / "cat-2.json").read_bytes())
    assert told["params_from"] == {"prompt": "ticket", "seed": "rerun"}
    assert told["outputs"][0]["sha256"] != json.loads(sidecar.read_bytes())["outputs"][0]["sha256"]
    assert [at.read_bytes() for at in share.files(share.done).values()].count(data) == 1
    assert not share.files(share.failed)


def test_a_failed_job_is_repeated_from_its_notice(platform: "Platform", seeded: "Daemon", share: "Share") -> None:
    platform.faults({"call": "run", "do": "fail_task", "count": 1})
    seeded.start()
    data = share.drop("cat.png")
    seeded.wait_at_rest(done=0, failed=1)
    ended = seeded.run("rerun", str(share.failed / "cat.png.error.json"), "--set", "prompt=ink = wash")
    assert ended.returncode == 0, ended.stderr
    seeded.wait_at_rest(done=1)
    assert [task["fields"]["prompt"] for task in platform.tasks(data)] == ["oil painting", "ink = wash"]
    assert share.sidecar("cat.png")["status"] == "success"
    assert not share.files(share.failed)


def test_a_kept_source_is_repeated_where_it_lies_before_the_daemon_is_there_again(
    platform: "Platform", seeded: "Daemon", share: "Share"
) -> None:
    seeded.route(after="keep")
    data = share.drop("cat.png")
    assert seeded.once() == 0
    for wrong in ("seed=many", "input_image=x"):
        assert seeded.run("rerun", str(share.outbox / "cat.json"), "--set", wrong).returncode == 2
    assert seeded.run("rerun", str(share.outbox / "cat.json")).returncode == 0
    assert seeded.once() == 0
    assert (share.inbox / "cat.png").read_bytes() == data
    assert [task["fields"] for task in platform.tasks(data)] == [{"prompt": "oil painting", "seed": "1"}] * 2
    assert share.files(share.outbox).keys() == {"cat.png", "cat.json", "cat-2.png", "cat-2.json"}
    (share.inbox / "cat.png").write_bytes(b"another picture by now")
    ended = seeded.run("rerun", str(share.outbox / "cat.json"))
    assert ended.returncode == 1
    assert "cat.png was not found by its content" in ended.stderr
    assert len(platform.tasks()) == 2


@pytest.fixture
def kinds(daemon: "Daemon", new_share: "Callable[[str], Share]") -> "dict[str, Share]":
    """The daemon with a route of each kind, each with something in its inbox."""
    (daemon.home / "upscale.json").write_text(json.dumps(GRAPHS["upscale"], ensure_ascii=False))
    shares = {name: new_share(name) for name in ("dance", "poster", "upscale", "repaint")}
    where = {name: {"folder": str(share.folder)} for name, share in shares.items()}
    clusters = ["GPU-4090", "GPU-A800"]
    store = {"bucket": "lent", "endpoint": "https://store.example.com"}
    gemini = {"provider": "google", "model": "gemini-3-pro-image-preview", "type": "image2image"}
    daemon.routes(
        dance={
            **where["dance"],
            "workflow_id": "88",
            "clusters": clusters,
            "inputs": {"input_image": "image", "input_video": "video"},
            "params": {"prompt": "oil"},
            "matrix": {"seed": [1, 2]},
        },
        poster={**where["poster"], "workflow_id": "text", "clusters": clusters, "inputs": {"prompt": "text"}},
        upscale={
            **where["upscale"],
            "kind": "graph",
            "graph": "upscale.json",
            "clusters": clusters,
            "inputs": {"73.image": "image"},
            "params": {"3.seed": 42},
        },
        repaint={
            **where["repaint"],
            "kind": "model",
            **gemini,
            "inputs": {"prompt": "text", "images": "image"},
            "publish": store,
        },
    )
    shares["dance"].drop("sub/clip.mp4")
    shares["dance"].drop("sub/_batch.job.toml", b'[params]\nprompt = "watercolour"\n')
    shares["dance"].drop("sub/clip.mp4.job.toml", b'clusters = ["GPU-A800"]\n[params]\nseed = 9\n')
    shares["poster"].drop("poster.txt", "一只猫".encode())
    shares["upscale"].drop("cat.png")
    shares["repaint"].drop("dog.png")
    shares["repaint"].drop("dog.txt", b"as a mosaic")
    return shares


def explained(daemon: "Daemon", path: "Path", code: int = 0) -> str:
    """What `explain` says, with this exit code and without a secret."""
    ended = daemon.run("explain", str(path))
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "AI-sandbox" not in ended.stdout + ended.stderr
    return ended.stdout


def test_explain_shows_bundle_ticket_text_graph_and_model_and_sends_nothing(
    platform: "Platform", daemon: "Daemon", kinds: "dict[str, Share]"
) -> None:
    inbox = {name: share.inbox for name, share in kinds.items()}
    before = {path: os.stat(path).st_mtime_ns for share in kinds.values() for path in share.inbox.rglob("*")}

    said = explained(daemon, inbox["dance"] / "sub" / "clip.mp4")
    assert "waits for input_video" not in said
    assert "waits for input_image" in said
    assert "prompt = watercolour (batch)" in said
    assert "seed = 9 (ticket)" in said
    said = explained(daemon, inbox["dance"] / "sub" / "clip.jpg")
    assert "POST /openapi/v1/workflow/apps/run" in said
    for words in ("cluster_name: GPU-A800", "seed: 9", "prompt: watercolour", "input_image: clip.jpg"):
        assert words in said

    said = explained(daemon, inbox["poster"] / "poster.txt")
    assert "prompt = 一只猫 (text)" in said
    said = explained(daemon, inbox["upscale"] / "cat.png")
    assert "POST /openapi/v1/workflow/upload/file" in said
    assert "POST /openapi/v1/workflow/task/submit" in said
    assert "3.seed = 42 (route)" in said
    said = explained(daemon, inbox["repaint"] / "dog.png")
    assert "POST /openapi/v1/generate/image" in said
    for words in ("as a mosaic", "gemini-3-pro-image-preview", "presigned address of dog.png"):
        assert words in said

    said = explained(daemon, inbox["upscale"] / "notes.txt", code=1)
    assert "Not taken" in said
    kinds["upscale"].drop("cat.png.job.toml", b"[params]\nsteps = 9\n")
    assert "steps may not be set here" in explained(daemon, inbox["upscale"] / "cat.png", code=1)
    (inbox["upscale"] / "cat.png.job.toml").unlink()

    assert not platform.ledger()["calls"]
    assert not daemon.state_dir.exists()
    after = {path: os.stat(path).st_mtime_ns for share in kinds.values() for path in share.inbox.rglob("*")}
    assert {path for path, at in before.items() if after[path] != at and path.is_file()} == set()


def test_explain_works_beside_the_running_daemon(
    platform: "Platform", daemon: "Daemon", kinds: "dict[str, Share]"
) -> None:
    daemon.start()
    daemon.wait(lambda: any(job.waiting_for for job in daemon.jobs()), "the bundle waits")
    said = explained(daemon, kinds["dance"].inbox / "sub" / "clip.mp4")
    [job] = [job for job in daemon.jobs() if job.route == "dance"]
    assert job.id in said
    assert "input_image" in said
    assert "POST" in explained(daemon, kinds["poster"].inbox / "not there yet.txt")
    assert not [task for task in platform.tasks() if task["workflow_id"] == "88"]
    daemon.stop()
