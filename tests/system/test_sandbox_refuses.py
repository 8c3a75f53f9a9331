"""The strict sandbox through the program: what it does not know is refused and told, what it knows shows its work."""

import json
from collections.abc import Callable
from typing import Any

from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.sandbox import GRAPHS

TEXT: dict[str, Any] = {"inputs": {"prompt": "text"}, "attempts": 1}
CLUSTERS = {"clusters": ["GPU-4090"]}
MODEL: dict[str, Any] = {"kind": "model", "provider": "sandbox", "type": "text2image", **TEXT}


def test_unknown_workflows_missing_inputs_unknown_nodes_and_models_are_refused_and_told(
    platform: Platform, daemon: Daemon, new_share: Callable[[str], Share]
) -> None:
    strange = {**GRAPHS["poster"], "50": {"class_type": "FaceSwapper", "inputs": {}}}
    (daemon.home / "strange.json").write_text(json.dumps(strange, ensure_ascii=False))
    graph = {"kind": "graph", "graph": "strange.json", "inputs": {"6.text": "text"}, "attempts": 1}
    routes = {
        "workflow": ({**TEXT, **CLUSTERS, "workflow_id": "4711"}, "there is no workflow 4711"),
        "input": ({**TEXT, **CLUSTERS, "workflow_id": "1234"}, "the parameter input_image is missing"),
        "parameter": ({**TEXT, **CLUSTERS, "workflow_id": "text", "params": {"seed": "x"}}, "seed must be a whole"),
        "node": ({**graph, **CLUSTERS}, "there is no class FaceSwapper"),
        "model": ({**MODEL, "model": "nobody"}, "there is no model sandbox/nobody"),
        "free": ({**MODEL, "model": "url", "params": {"steps": 5}}, "this model has no parameter steps"),
    }
    shares = {name: new_share(name) for name in routes}
    daemon.routes(**{name: {**table, "folder": str(shares[name].folder)} for name, (table, _) in routes.items()})
    for share in shares.values():
        share.drop("a.txt", b"a cat")
    assert daemon.once() == 3
    assert platform.tasks() == []
    for name, (_, words) in routes.items():
        text, sidecar = shares[name].told("a.txt")
        assert words in text, name
        assert [s["outcome"] for s in sidecar["submissions"]] == ["refused"]
        assert (shares[name].failed / "a.txt").read_bytes() == b"a cat"


def test_a_picture_shows_the_parameters_that_it_was_given(
    platform: Platform, daemon: Daemon, new_share: Callable[[str], Share]
) -> None:
    (daemon.home / "poster.json").write_text(json.dumps(GRAPHS["poster"], ensure_ascii=False))
    routes = {
        "app": {**TEXT, **CLUSTERS, "workflow_id": "text", "matrix": {"seed": [1, 2]}},
        "graph": {
            "kind": "graph",
            "graph": "poster.json",
            "inputs": {"6.text": "text"},
            "matrix": {"3.seed": [1, 2]},
            **CLUSTERS,
        },
        "model": {**MODEL, "model": "objects", "matrix": {"seed": [1, 2]}},
    }
    shares = {name: new_share(name) for name in routes}
    daemon.routes(**{name: {**table, "folder": str(shares[name].folder)} for name, table in routes.items()})
    for share in shares.values():
        share.drop("a.txt", b"a cat")
        share.drop("same.txt", b"a cat")
    assert daemon.once() == 0
    for share in shares.values():
        share.check_whole(platform)
        pictures = {path: at.read_bytes() for path, at in share.files(share.outbox).items() if path.endswith(".png")}
        assert pictures["a_seed-1.png"] != pictures["a_seed-2.png"]
        # The same words and numbers give the same picture.
        assert [pictures[f"same_seed-{n}.png"] for n in (1, 2)] == [pictures[f"a_seed-{n}.png"] for n in (1, 2)]
