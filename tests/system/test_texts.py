"""A dropped text becomes a parameter, for all kinds; what cannot be read for certain is refused rather than guessed."""

import json
from collections.abc import Callable

from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.sandbox import GRAPHS

CHINESE = "一只橘猫坐在窗台上,窗外下着雨,水彩画风格,柔和的光线"
READABLE = {
    "utf-8.txt": (f"{CHINESE} ☂\n".encode(), f"{CHINESE} ☂"),
    "bom.TXT": (b"\xef\xbb\xbf" + "two\r\nlines é".encode(), "two\nlines é"),
    "gbk.txt": (CHINESE.encode("gbk"), CHINESE),
    "utf-16.txt": (CHINESE.encode("utf-16"), CHINESE),
    "plain.txt": (b"  {stem} %s $(reboot)  ", "  {stem} %s $(reboot)"),
}
UNREADABLE = {
    "latin-1.txt": ("Käse, Brüder und Öl".encode("latin-1"), "not UTF-8"),
    "blank.txt": (b" \r\n\t\n", "is empty"),
    "binary.txt": (b"a\0b", "NUL"),
    "large.txt": (b"word " * 20_000, "larger than 64 KiB"),
}


def test_a_text_alone_is_rendered_whatever_its_encoding_and_refused_with_a_sentence_where_nobody_can_tell(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.route(workflow_id="text", inputs={"prompt": "text"}, params={"seed": 4})
    for name, (data, _) in {**READABLE, **UNREADABLE}.items():
        share.drop(name, data)
    assert daemon.once() == 3
    assert share.at_rest(done=len(READABLE), failed=len(UNREADABLE))
    share.check_whole(platform)
    tasks = {task["task_id"]: task for task in platform.tasks()}
    assert len(tasks) == len(READABLE)
    for name, (data, text) in READABLE.items():
        sidecar = share.sidecar(name)
        assert tasks[sidecar["task_id"]]["fields"] == {"prompt": text, "seed": "4"}
        assert tasks[sidecar["task_id"]]["files"] == []
        assert sidecar["params"] == {"prompt": text, "seed": 4}
        assert sidecar["params_from"] == {"prompt": "text", "seed": "route"}
        assert [source["sha256"] for source in sidecar["sources"]] == [share.digest(data)]
        assert ["GBK" in warning for warning in sidecar["warnings"]] == [True] * (name == "gbk.txt")
        assert (share.done / name).read_bytes() == data
    for name, (data, word) in UNREADABLE.items():
        text, sidecar = share.told(name)
        assert name in text
        assert word in text
        assert sidecar["submissions"] == []
        assert (share.failed / name).read_bytes() == data


def test_a_text_and_the_picture_of_its_name_are_one_job(platform: Platform, daemon: Daemon, share: Share) -> None:
    inputs = {"input_image": "image", "prompt": {"media": "text", "optional": True}}
    daemon.route(inputs=inputs, params={"seed": 1})
    share.drop("cat.txt", "水墨".encode())
    share.drop("cat.job.toml", b"[params]\nseed = 2\n")
    cat, dog = share.drop("cat.png"), share.drop("dog.png")
    assert daemon.once() == 0
    assert platform.task(cat)["fields"] == {"prompt": "水墨", "seed": "2"}
    assert platform.task(dog)["fields"] == {"seed": "1"}
    assert share.sidecar("cat.png")["params_from"] == {"prompt": "text", "seed": "ticket"}
    assert share.sidecar("dog.png")["params_from"] == {"seed": "route"}
    assert share.files(share.done).keys() == {"cat.png", "cat.txt", "cat.job.toml", "dog.png"}
    assert share.files(share.outbox).keys() == {"cat.png", "cat.json", "dog.png", "dog.json"}


def test_a_text_is_set_in_a_graph_and_asked_of_a_model(
    platform: Platform, daemon: Daemon, share: Share, new_share: Callable[[str], Share]
) -> None:
    (daemon.home / "poster.json").write_text(json.dumps(GRAPHS["poster"], ensure_ascii=False))
    model = new_share("model")
    daemon.routes(
        poster={
            "kind": "graph",
            "folder": str(share.folder),
            "graph": "poster.json",
            "clusters": ["GPU-4090"],
            "inputs": {"6.text": "text"},
        },
        paint={
            "kind": "model",
            "folder": str(model.folder),
            "provider": "sandbox",
            "model": "text-only",
            "type": "text2image",
            "inputs": {"prompt": "text"},
        },
    )
    share.drop("poster.txt", CHINESE.encode("gbk"))
    model.drop("paint.txt", b"\xef\xbb\xbf" + CHINESE.encode())
    assert daemon.once() == 0
    tasks = {task["kind"]: task for task in platform.tasks()}
    assert tasks["graph"]["graph"]["6"]["inputs"]["text"] == CHINESE
    assert tasks["model"]["parameters"] == {"prompt": CHINESE}
    assert not platform.ledger()["uploads"]
    for each, origin in ((share, {"6.text": "text"}), (model, {"prompt": "text"})):
        each.check_whole(platform)
        [sidecar] = each.sidecars()
        assert sidecar["params_from"] == origin
