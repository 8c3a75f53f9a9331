"""Third-party models: from a text, from pictures lent out by a real S3 server, with answers in every shape."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share
from tests.rig.store import Store

from renderdrop.model.lifecycle import State

GEMINI: dict[str, Any] = {"kind": "model", "provider": "google", "model": "gemini-3-pro-image-preview"}
PAINT: dict[str, Any] = {**GEMINI, "type": "text2image", "inputs": {"prompt": "text"}}
REPAINT: dict[str, Any] = {**GEMINI, "type": "image2image", "inputs": {"prompt": "text", "images": "image"}}


def published(store: Store, **keys: str) -> dict[str, str]:
    """The settings of the store, as a route's `publish`."""
    return {"bucket": store.bucket, "endpoint": store.endpoint, "addressing": "path", "prefix": "lent/", **keys}


def assert_told_nowhere(secrets: list[str], home: Path) -> None:
    """None of these words is in the log, the ledger, the settings or any file or name of the share."""
    for path in [path for path in home.rglob("*") if home / "platform" not in path.parents]:
        text = str(path).encode() + (path.read_bytes() if path.is_file() else b"")
        assert [secret for secret in secrets if secret.encode() in text] == [], path


def test_a_text_becomes_a_picture_without_any_cluster_being_asked_for(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.routes(paint={**PAINT, "folder": str(share.folder), "params": {"aspect_ratio": "16:9", "seed": 3}})
    share.drop("poster.txt.job.toml", b"[params]\nseed = 5\n")
    share.drop("poster.txt", "一只猫, watercolour\r\n".encode())
    assert daemon.once() == 0
    share.check_whole(platform)
    ledger = platform.ledger()
    [task] = ledger["tasks"]
    assert task["model"] == {"provider": "google", "model": "gemini-3-pro-image-preview", "type": "text2image"}
    assert task["parameters"] == {"prompt": "一只猫, watercolour", "aspect_ratio": "16:9", "seed": 5}
    assert ledger["calls"].keys() == {"generate", "result", "view"}
    assert share.files(share.outbox).keys() == {"poster.png", "poster.json"}
    assert share.files(share.done).keys() == {"poster.txt", "poster.txt.job.toml"}
    sidecar = share.sidecar("poster.txt")
    assert (sidecar["kind"], sidecar["cluster"], sidecar["workflow_id"]) == ("model", None, None)
    assert sidecar["model"] == task["model"]
    assert sidecar["params_from"] == {"prompt": "text", "aspect_ratio": "route", "seed": "ticket"}


@pytest.mark.parametrize("platform", [{"render_seconds": (1.5, 1.5)}], indirect=True)
def test_a_dropped_picture_is_lent_out_for_the_task_and_its_address_is_told_nowhere(
    platform: Platform, daemon: Daemon, share: Share, new_share: Callable[[str], Share], store: Store
) -> None:
    failing = new_share("failing")
    lent = published(store, expires="45m")
    refused = {"provider": "sandbox", "model": "failing"}
    daemon.routes(
        repaint={**REPAINT, "folder": str(share.folder), "publish": lent},
        failing={**REPAINT, **refused, "folder": str(failing.folder), "publish": lent},
    )
    daemon.start()
    picture = share.drop("sub/星空 cat.png")
    share.drop("sub/星空 cat.txt", b"as an oil painting")
    failing.drop("dog.txt", b"as an ink drawing")
    failing.drop("dog.png")
    daemon.wait(lambda: len(store.objects()) == 2, "both pictures are on the store")
    assert all(key.startswith("lent/") for key in store.objects())
    daemon.wait_at_rest(done=2)
    daemon.wait(lambda: failing.at_rest(done=0, failed=2), "the failure is told")
    daemon.wait(lambda: not store.objects(), "the objects are gone")
    share.check_whole(platform)
    tasks = {task["model"]["provider"]: task for task in platform.tasks()}
    # It was really fetched, at the very end of its run, and repainted.
    [fetched] = tasks["google"]["files"]
    assert (fetched["sha256"], fetched["content_type"]) == (share.digest(picture), "image/png")
    assert tasks["google"]["parameters"]["prompt"] == "as an oil painting"
    assert "内容审核未通过" in failing.told("dog.png")[0]
    urls = [url for task in tasks.values() for url in task["parameters"]["images"]]
    queries = [parse_qs(urlsplit(url).query) for url in urls]
    assert [query["X-Amz-Expires"] for query in queries] == [["2700"]] * 2
    sidecar = share.sidecar("sub/星空 cat.txt")
    assert {source["path"] for source in sidecar["sources"]} == {"sub/星空 cat.txt", "sub/星空 cat.png"}
    assert "images" not in sidecar["params"]
    daemon.stop()
    signatures = [query["X-Amz-Signature"][0] for query in queries]
    assert_told_nowhere([*urls, *signatures, "X-Amz-", store.secret, store.key_id], daemon.home)


@pytest.mark.parametrize("platform", [{"render_seconds": (3.0, 3.0)}], indirect=True)
@pytest.mark.parametrize("asked", [True, False], ids=["its task runs", "nobody has answered"])
def test_killed_while_a_picture_is_lent_out_it_is_taken_back_and_nothing_is_paid_twice(
    platform: Platform, daemon: Daemon, share: Share, store: Store, asked: bool
) -> None:
    if not asked:
        platform.faults({"call": "generate", "do": "hang", "count": 1})
    daemon.routes(repaint={**REPAINT, "folder": str(share.folder), "publish": published(store)})
    daemon.start()
    picture = share.drop("cat.png")
    share.drop("cat.txt", b"as an oil painting")
    daemon.wait(lambda: platform.tasks() if asked else platform.ledger()["faults"], "the request is sent")
    daemon.wait_for(State.SUBMITTED if asked else State.SUBMITTING)
    daemon.kill()
    assert len(store.objects()) == 1
    daemon.start()
    daemon.wait_at_rest(done=2)
    daemon.wait(lambda: not store.objects(), "the objects are gone")
    share.check_whole(platform)
    [task] = platform.tasks()
    assert [file["sha256"] for file in task["files"]] == [share.digest(picture)]
    [sidecar] = share.sidecars()
    assert [s["outcome"] for s in sidecar["submissions"]] == ["accepted"] if asked else ["unknown", "accepted"]


def test_pictures_that_are_public_already_are_named_by_a_url_file_or_a_ticket(
    platform: Platform, daemon: Daemon, share: Share, store: Store
) -> None:
    daemon.routes(repaint={**REPAINT, "folder": str(share.folder)})
    first, second = share.picture(), share.picture()
    urls = [store.publish("public/one.png", first), store.publish("public/two.png", second)]
    share.drop("cat.url", f"[InternetShortcut]\r\nURL={urls[0]}\r\nIconIndex=0\r\n".encode())
    share.drop("cat.txt", b"as an oil painting")
    share.drop("dog.job.json", json.dumps({"params": {"images": urls}}).encode())
    share.drop("dog.txt", b"as an ink drawing")
    share.drop("fox.txt", b"as a mosaic")
    share.drop("fox.url", b"file:///etc/passwd\n")
    daemon.start()
    daemon.wait_at_rest(done=4, failed=2)
    share.check_whole(platform)
    tasks = {task["parameters"]["prompt"]: task for task in platform.tasks()}
    assert tasks.keys() == {"as an oil painting", "as an ink drawing"}
    assert tasks["as an oil painting"]["parameters"]["images"] == urls[:1]
    assert tasks["as an ink drawing"]["parameters"]["images"] == urls
    assert [file["sha256"] for file in tasks["as an ink drawing"]["files"]] == [
        share.digest(first), share.digest(second),
    ]  # fmt: skip
    sidecars = {sidecar["base"]: sidecar for sidecar in share.sidecars()}
    assert sidecars["cat"]["params_from"] == {"prompt": "text", "images": "text"}
    assert sidecars["dog"]["params_from"] == {"prompt": "text", "images": "ticket"}
    assert "fox.url" in share.told("fox.url")[0]
    assert len(store.objects()) == 2  # nothing was published, and what is somebody else's is left alone


SHAPES = ["enveloped", "data-uri", "unknown-word", "url", "objects", "failing", "silent"]


@pytest.mark.parametrize("platform", [{"render_seconds": (1.0, 1.5)}], indirect=True)
def test_a_result_is_understood_in_whatever_shape_it_is_answered(
    platform: Platform, daemon: Daemon, new_share: Callable[[str], Share]
) -> None:
    shares = {shape: new_share(shape) for shape in SHAPES}
    model = {**PAINT, "provider": "sandbox"}
    daemon.routes(**{shape: {**model, "model": shape, "folder": str(s.folder)} for shape, s in shares.items()})
    daemon.start()
    for shape, share in shares.items():
        for number in range(2):
            share.drop(f"{number}.txt", f"{shape} {number}".encode())
    for shape, share in shares.items():
        ends = (0, 2) if shape in ("failing", "silent") else (2, 0)
        daemon.wait(lambda share=share, ends=ends: share.at_rest(*ends), f"{shape} is dealt with")  # type: ignore[misc]
        share.check_whole(platform)
    assert len(platform.tasks()) == 2 * len(SHAPES)
    assert "内容审核未通过" in shares["failing"].told("0.txt")[0]
    assert "no media" in shares["silent"].told("1.txt")[0]
    for sidecar in shares["data-uri"].sidecars():
        [output] = sidecar["outputs"]
        assert (output["file"][-4:], output["media_type"]) == (".png", "image/png")
        assert len(output["url"]) < 100  # and not the whole picture once more
    # A word that nobody knows means that it still runs; it is told once for a task, however often it is heard.
    [strange] = {str(event["what"]) for event in daemon.events("answer_not_understood")}
    assert "denoising" in strange
    heard = [event["task"] for event in daemon.events("answer_not_understood")]
    assert len(heard) == len(set(heard))
    assert "status" not in platform.ledger()["calls"]
