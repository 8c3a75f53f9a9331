"""Whatever stands in the settings file and the environment, it is settings or a list of problems, each with its key."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st
from tests.torture.fuzzing import bent, deep, examples, fuzz, huge, leaves, texts, torn, values
from tests.torture.table import Tally

from renderdrop.model.errors import BrokenSettings, Problem
from renderdrop.platform.graph_json import missing_inputs, read_graph
from renderdrop.settings import Loaded, load

Count = Callable[[str], Tally]

_APP: Final = {
    "folder": "portrait", "workflow_id": "1234", "clusters": ["GPU-4090", "GPU-A800"],
    "inputs": {"input_image": "image"},
    "params": {"prompt": "oil"}, "matrix": {"seed": [1, 2]}, "params_allowed": ["prompt"], "silence": "30m",
    "output_name": "{stem}", "max_output": "8GB", "bundle_timeout": 0, "after": "keep", "enabled": True,
}  # fmt: skip
_MODEL: Final = {
    "kind": "model", "folder": "portrait", "provider": "google", "model": "m", "type": "image2image",
    "inputs": {"prompt": "text", "images": "image"}, "params": {"config": {"size": [1, 2]}},
    "publish": {"bucket": "b", "endpoint": "https://oss.example.com", "expires": "1h"},
}  # fmt: skip
_DANCE: Final = {
    "folder": "portrait", "workflow_id": 88, "clusters": ["GPU-A800"], "bundle": "stem",
    "inputs": {"a": "image", "b": ["*.mp4"], "mask": {"media": "image", "suffix": "_m", "optional": True},
    "s": {"file": "s.png"}},
}  # fmt: skip
_GRAPH: Final = {
    "kind": "graph", "folder": "portrait", "graph": "graph.json", "clusters": ["GPU-4090"],
    "inputs": {"73.image": "image"}, "params": {"3.seed": 42},
}  # fmt: skip
_REST: Final = {
    "platform": {"base_url": "https://art.example.com", "requests_per_second": 5},
    "daemon": {"state_dir": "state", "uploads": 4, "log_format": "json"},
    "intake": {"settle": "2s", "sweep": "1m", "ticket_wait": 0, "ignore": ["**/*.psd"]},
    "dispatch": {"status_every": "10s", "policy": "least-loaded"},
}
DOCUMENTS: Final = tuple({**_REST, "routes": {"one": route}} for route in (_APP, _MODEL, _DANCE, _GRAPH))
_LINES: Final = (
    "[routes]", "[[routes]]", "[routes.one]", "[routes.one.inputs]", "uploads = " + "9" * 5000,
    "uploads = 0x" + "f" * 5000,
    "settle = 1e999", "settle = -0.0", "settle = 2026-11-22", "a." * 200 + "a = 1", "[" + "a." * 200 + "a]", "\x00",
    "\r",
    "x = " + "[" * 400, "x = " + "{a=" * 400, '"" = 1', '"\\ud800" = 1', "= 1", "x = nan", "routes = 1", "daemon = []",
)  # fmt: skip
_NAMES: Final = (
    "RENDERDROP_PLATFORM__BASE_URL", "RENDERDROP_DAEMON__UPLOADS", "RENDERDROP_ROUTES", "RENDERDROP_ROUTES__ONE",
    "RENDERDROP_ROUTES__ONE__FOLDER", "RENDERDROP_ROUTES__ONE__CLUSTERS", "RENDERDROP_ROUTES__ONE__INPUTS",
    "RENDERDROP_ROUTES__ONE__INPUTS__X", "RENDERDROP_ROUTES__ONE__PARAMS__PROMPT", "RENDERDROP_ROUTES__ONE__PUBLISH",
    "RENDERDROP_INTAKE__IGNORE", "RENDERDROP_INTAKE__SETTLE", "RENDERDROP___", "RENDERDROP_A__" + "B__" * 300,
    "RENDERDROP_TOKEN",
    "RENDERDROP_ROUTES__ONE__GRAPH", "RENDERDROP_ROUTES__ONE__MATRIX", "STATE_DIRECTORY", "XDG_STATE_HOME", "HOME",
    "CREDENTIALS_DIRECTORY", "RENDERDROP_PLATFORM__TOKEN_FILE", "RENDERDROP_ROUTES__ONE__" + "PARAMS__" * 300,
    "RENDERDROP_ROUTES____",
)  # fmt: skip
environs: Final = st.dictionaries(
    st.one_of(st.sampled_from(_NAMES), texts.map("RENDERDROP_ROUTES__{}__FOLDER".format),
    texts.map("RENDERDROP_{}__X".format)),
    st.one_of(
        texts, st.one_of(values, bent([_APP, {"a": "image"}, ["GPU"]])).map(json.dumps),
        st.sampled_from(["[1e999]", '{"\\ud800": "\\ud800"}', "[NaN]"]), huge,
    ),
    max_size=3,
)  # fmt: skip


def spelled(value: Any) -> str:
    """A value as TOML, as far as there is such a value in it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {spelled(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(spelled, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def toml(tables: Any) -> bytes:
    try:
        lines = [f"{json.dumps(key)} = {spelled(value)}" for key, value in tables.items()]
    except (RecursionError, AttributeError):
        return b"x = " + b"[" * 5000
    return "\n".join(lines).encode("utf-8", "replace")


files: Final = torn(
    st.one_of(
        bent(DOCUMENTS).map(toml),
        st.builds(
            lambda head, lines, tail: b"\n".join([head, *(line.encode("utf-8", "replace") for line in lines), tail]),
            st.sampled_from([b"", toml(_REST)]), st.lists(st.one_of(st.sampled_from(_LINES), texts), max_size=4),
            st.sampled_from([b"", b"[routes.one]\n" + toml(_APP)]),
        ),
    )
)  # fmt: skip


def test_any_settings_file_under_any_environment_is_settings_or_problems_with_keys(
    tally: Count, tmp_path: Path
) -> None:
    path = tmp_path / "renderdrop.toml"
    (tmp_path / "portrait").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "s.png").write_bytes(b"png")
    (tmp_path / "graph.json").write_text(
        '{"73": {"class_type": "x", "inputs": {"image": 1}}, "3": {"class_type": "x", "inputs": {"seed": 1}}}'
    )

    def check_problems(problems: list[Problem]) -> None:
        assert problems
        for problem in problems:
            str(problem).encode()
            assert problem.key
            assert problem.message
            assert len(str(problem).splitlines()) == 1
            assert "AI-canary-0123" not in str(problem)

    def faults(data: bytes, keys: Any) -> list[str]:
        try:
            return missing_inputs(read_graph(data), keys)
        except ValueError as error:
            return [str(error)]

    def read(one: tuple[bytes, dict[str, str]]) -> Loaded:
        path.write_bytes(one[0])
        environ = {"RENDERDROP_TOKEN": "AI-canary-0123", **one[1]}
        try:
            return load(path, environ, graph_faults=faults, network_fs=lambda _: None)
        except BrokenSettings as broken:
            check_problems(broken.problems)
            raise

    def check(_: Any, found: Loaded) -> None:
        for route in found.routes:
            assert all(folder.is_absolute() for folder in (route.inbox, route.outbox, route.done, route.failed))
            json.dumps(dict(route.params), allow_nan=False)
            assert route.silence > 0
            assert route.max_output > 0
            assert route.inputs
        assert 1 <= found.settings.daemon.uploads <= 64

    fuzz(tally("fuzz: settings"), st.tuples(files, environs), read, examples(150, 3750), check)
    whole = toml(DOCUMENTS[0])
    only_environ = st.tuples(st.just(whole), environs)
    fuzz(tally("fuzz: settings"), only_environ, read, examples(80, 2000), check)

    def nested(depth: int, leaf: Any) -> tuple[bytes, dict[str, str]]:
        return toml({**_REST, "routes": {"one": {**_MODEL, "params": {"c": deep(depth, leaf, "d")}}}}), {}

    deeper = st.builds(nested, st.sampled_from([7, 8, 9, 100, 300]), leaves)
    fuzz(tally("fuzz: settings"), deeper, read, examples(10, 50), check)
