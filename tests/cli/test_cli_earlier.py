"""Sidecars that come back, and the changes that a person wishes: whatever they hold, the answer is a sentence."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.cli.earlier import BadChange, Earlier, changes, read_earlier
from renderdrop.model.errors import Fault
from renderdrop.model.sidecar import SCHEMA

GOOD: dict[str, Any] = {
    "schema": SCHEMA, "job_id": "01a", "route": "first", "kind": "app", "status": "success",
    "sources": [{"input": "a", "name": "a.png", "path": "sub/a.png", "size": 3, "sha256": None}],
    "params": {"seed": 1},
}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda c: st.lists(c) | st.dictionaries(st.text(), c),
)


def test_a_sidecar_of_an_older_renderdrop_is_read() -> None:
    found = read_earlier("x", json.dumps(GOOD | {"later": 1}).encode())
    assert (found.job_id, found.params_from, found.version_id) == ("01a", {}, None)
    assert found.sources[0].name == "a.png"


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_sidecar_or_a_sentence(data: bytes) -> None:
    with pytest.raises(Fault, match=r"^x "):
        read_earlier("x", data)


@given(st.sampled_from(sorted(GOOD)), JSON)
def test_a_sidecar_with_any_value_anywhere_is_read_or_refused(key: str, value: Any) -> None:
    try:
        found: Earlier | None = read_earlier("x", json.dumps(GOOD | {key: value}).encode())
    except Fault:
        found = None
    if found is not None:
        json.dumps(found.params, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "changed",
    [
        {"params": {"a": [[[[0]]]] * 3}},
        {"params": {"a": {"b": [1, None, True, 1.5, "x"]}}},
        {"sources": [GOOD["sources"][0] | {"sha256": "0" * 64}]},
        {"workflow_id": "1", "version_id": "2", "derived_from": "a.json", "graph": None, "model": None},
    ],
)
def test_what_a_sidecar_may_hold(changed: dict[str, Any]) -> None:
    read_earlier("x", json.dumps(GOOD | changed).encode())


def deep(levels: int) -> Any:
    return [deep(levels - 1)] if levels else 0


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": "renderdrop/sidecar/2"},
        {"kind": "film"},
        {"sources": [GOOD["sources"][0] | {"size": -1}]},
        {"sources": [GOOD["sources"][0] | {"size": "3"}]},
        {"sources": [GOOD["sources"][0] | {"sha256": "abc"}]},
        {"params": {"a": deep(100)}},
        {"params": {"": 1, "a\nb\0": 2}},
        {"params": []},
        {"params_from": {"seed": 1}},
    ],
)
def test_what_a_sidecar_may_not_hold(changed: dict[str, Any]) -> None:
    with pytest.raises(Fault):
        read_earlier("x", json.dumps(GOOD | changed).encode())


@pytest.mark.parametrize(
    ("old", "text", "new"),
    [
        (1, "-7", -7), (1.5, "2", 2), (1.5, "1e3", 1000.0), (True, "false", False), ("oil", "true", "true"),
        ("oil", "", ""), ([1], "[2, 3]", [2, 3]), ({"a": 1}, "{}", {}), (None, "7", 7), ("a", "x=y", "x=y"),
    ],
)  # fmt: skip
def test_a_value_has_the_type_that_the_old_one_has(old: Any, text: str, new: Any) -> None:
    found = changes({"key": old}, [f"key={text}"], {})["key"]
    assert (found, type(found)) == (new, type(new))


@pytest.mark.parametrize(
    ("old", "text"),
    [
        (1, "1.0"), (1, ""), (1, "1" + "0" * 40), (1.5, "nan"), (1.5, "1e999"), (1.5, "Infinity"), (True, "1"),
        ([1], "{}"), ([1], "[" * 100_000), ({"a": 1}, "[NaN]"), (1, "٧"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(old: Any, text: str) -> None:
    with pytest.raises(BadChange, match="key must be"):
        changes({"key": old}, [f"key={text}"], {})


@pytest.mark.parametrize(
    ("text", "new"),
    [("7", 7), ("0.5", 0.5), ("true", True), ("True", "True"), ("007", "007"), ("oil", "oil"), ("1e999", "1e999")],
)
def test_a_new_parameter_is_taken_as_it_reads(text: str, new: Any) -> None:
    assert changes({}, [f"key={text}"], {}) == {"key": new}
