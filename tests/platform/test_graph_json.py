"""A graph file: taken when it can be submitted, refused with the way out when not; keys that point into it."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.platform.graph_json import SIZE_CAP, missing_inputs, read_graph, split_key, with_values

GRAPH: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "model": ["4", 0]}},
    "12:3": {"class_type": "LoadImage", "inputs": {"image": "a.png"}, "_meta": {"title": "人脸"}},
    "73": {"class_type": "LoadImage", "inputs": {"image": "b.png", "upload": "image"}, "_meta": {"title": "LoadImage"}},
    "80": {"class_type": "BatchImagesNode", "inputs": {"images.image0": ["73", 0]}},
    "90": {"class_type": "PreviewAny", "inputs": {}},
}


def written(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def test_an_api_graph_is_read_bare_wrapped_and_with_a_bom() -> None:
    for data in (written(GRAPH), written({"prompt": GRAPH, "client_id": "x"}), b"\xef\xbb\xbf" + written(GRAPH)):
        assert read_graph(data) == GRAPH


def test_a_node_that_is_called_prompt_is_a_node() -> None:
    graph = {"prompt": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}}}
    assert read_graph(written(graph)) == graph


EDITOR = {"nodes": [{"id": 1, "type": "LoadImage"}], "links": [], "version": 0.4}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON (line 1"),
        ("{'中'}".encode("gbk"), "UTF-8"),
        (b"[]", "no JSON object"),
        (b'"x"', "no JSON object"),
        (b"{}", "no nodes"),
        (b'{"prompt": {}}', "no nodes"),
        (written(EDITOR), "editor's format"),
        (written({"prompt": EDITOR}), "editor's format"),
        (b'{"links": []}', "editor's format"),
        (b'{"3": []}', '"3" in the graph is no node: it is no object'),
        (b'{"3": {"inputs": {}}}', "no class_type"),
        (b'{"3": {"class_type": "", "inputs": {}}}', "no class_type"),
        (b'{"3": {"class_type": "A"}}', "no inputs"),
        (b'{"3": {"class_type": "A", "inputs": []}}', "no inputs"),
    ],
)
def test_what_is_no_api_graph_is_refused_with_the_way_to_get_one(data: bytes, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_graph(data)
    assert words in str(caught.value)
    assert "Export (API)" in str(caught.value)
    assert "Save (API Format)" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[" * 100_000, "too deeply"),
        (b'{"3": ' + b"[" * 65 + b"]" * 65 + b"}", "too deeply"),
        (b'{"3": {"class_type": "A", "inputs": {"a": NaN}}}', "number"),
        (b'{"3": {"class_type": "A", "inputs": {"a": ' + b"9" * 5000 + b"}}}", "number"),
        (b" " * (SIZE_CAP + 1), "larger than 8.4 MB"),
    ],
    ids=["deep", "rather deep", "nan", "long number", "large"],
)
def test_a_graph_that_would_break_something_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_graph(data)


def test_inputs_that_exist_are_no_trouble() -> None:
    assert missing_inputs(GRAPH, ["73.image", "12:3.image", "3.seed", "3.model", "80.images.image0"]) == []


def test_a_missing_input_is_told_with_the_inputs_of_its_node() -> None:
    [one, two] = missing_inputs(GRAPH, ["12:3.picture", "90.image"])
    assert one == 'node 12:3 (LoadImage "人脸") has no input "picture"; its inputs are "image"'
    assert two == 'node 90 (PreviewAny) has no input "image"; it has no inputs at all'


def test_a_missing_node_is_told_with_the_nodes_there_are_the_likely_ones_first() -> None:
    [told] = missing_inputs(GRAPH, ["7.image"])
    assert told.startswith('the graph has no node "7"; it has 12:3 (LoadImage "人脸"), 73 (LoadImage), 3 (KSampler)')
    many = {str(n): {"class_type": "A", "inputs": {}} for n in range(50)}
    assert missing_inputs(many, ["x.y"])[0].endswith(" and 30 more")


@pytest.mark.parametrize("key", ["73", "", ".image", "73.", "."])
def test_a_key_that_is_no_node_and_input_is_told_how_to_write_one(key: str) -> None:
    [told] = missing_inputs(GRAPH, [key])
    assert "73.image" in told


def test_a_name_in_the_graph_cannot_forge_a_line() -> None:
    graph = {"1\n2": {"class_type": "A\nB", "inputs": {"a\nb": 1}, "_meta": {"title": "C\nD"}}}
    for key in ("1\n2.x", "9\n9.x"):
        assert "\n" not in missing_inputs(graph, [key])[0]


@pytest.mark.parametrize(
    ("key", "split"),
    [
        ("73.image", ("73", "image")),
        ("12:3.image", ("12:3", "image")),
        ("80.images.image0", ("80", "images.image0")),
        ("80.images.image1", ("80", "images.image1")),
        ("load.face.image", ("load.face", "image")),
        ("load.face.picture", ("load.face", "picture")),
        ("9.a.b", ("9", "a.b")),
        ("73", ("73", "")),
    ],
)
def test_a_key_splits_at_the_first_dot_or_where_the_graph_says(key: str, split: tuple[str, str]) -> None:
    graph = GRAPH | {"load.face": {"class_type": "LoadImage", "inputs": {"image": ""}}}
    assert split_key(graph, key) == split


def test_values_are_set_in_a_copy() -> None:
    before = copy.deepcopy(GRAPH)
    filled = with_values(GRAPH, {"73.image": "c.png", "3.seed": 42, "80.images.image0": ["12:3", 0]})
    assert before == GRAPH
    assert filled["73"]["inputs"] == {"image": "c.png", "upload": "image"}
    assert filled["3"]["inputs"] == {"seed": 42, "model": ["4", 0]}
    assert filled["80"]["inputs"] == {"images.image0": ["12:3", 0]}
    filled["12:3"]["inputs"]["image"] = "changed"
    assert before == GRAPH


def test_a_value_for_an_input_that_is_gone_is_refused_with_the_same_sentence() -> None:
    with pytest.raises(ValueError, match='has no input "sed"'):
        with_values(GRAPH, {"3.sed": 1})


ANY = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["prompt", "nodes", "links", "3", "class_type", "inputs", "_meta", "title", "a.b"]), inner
        )
    ),
    max_leaves=15,
)
NODES = st.dictionaries(
    st.text(max_size=4),
    st.fixed_dictionaries({"class_type": st.text(max_size=3), "inputs": st.dictionaries(st.text(max_size=4), ANY)}),
    max_size=4,
)


@given(st.one_of(st.binary(), ANY.map(written), NODES.map(written)), st.lists(st.text(max_size=6), max_size=3))
def test_any_bytes_are_a_graph_or_a_sentence_and_any_key_is_there_or_told(data: bytes, keys: list[str]) -> None:
    sentence, graph = "", {}
    try:
        graph = read_graph(data)
    except ValueError as error:
        sentence = str(error)
    assert len(sentence) < 1000
    assert bool(sentence) != bool(graph)
    known = [f"{node_id}.{name}" for node_id, node in graph.items() for name in node["inputs"]]
    for key in [*keys, *known]:
        if told := missing_inputs(graph, [key]):
            assert "\n" not in told[0]
        else:
            node_id, name = split_key(graph, key)
            assert with_values(graph, {key: "new"})[node_id]["inputs"][name] == "new"
