"""Tickets are untrusted: whatever is in one, it comes to known wishes or to a sentence that names the key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.intake.ticket import BadTicket, Ticket, apply, read_ticket, spread, supplied, ticket_schema
from renderdrop.model.names import shown
from renderdrop.model.route import Input, Route
from renderdrop.model.wishes import BATCH, MATRIX, TICKET, Wishes

Make = Callable[..., Route]
TOML, JSON = "clip.mp4.job.toml", "clip.mp4.job.json"


@pytest.fixture
def route(make_route: Make) -> Route:
    return make_route(
        params={"prompt": "oil", "strength": 0.5, "fast": True, "3.seed": 42}, matrix={"style": ("oil", 7)},
        params_allowed=("prompt", "strength", "fast", "3.seed", "style", "extra"),
    )  # fmt: skip


@pytest.fixture
def model(make_route: Make) -> Route:
    inputs = (Input("prompt", "text"), Input("images", "image"))
    return make_route(
        kind="model", clusters=(), inputs=inputs, bundle="stem", params={"options": {"a": 1}},
        params_allowed=("options", "free", "prompt"),
    )  # fmt: skip


def wished(route: Route, text: str, name: str = TOML) -> tuple[Wishes, int | None]:
    return apply(route, [(TICKET, name, read_ticket(name, text.encode()))])


def refusal(route: Route, text: str, name: str = TOML) -> str:
    with pytest.raises(BadTicket) as caught:
        wished(route, text, name)
    said = caught.value.sentence
    assert said.startswith(name)
    assert len(said.splitlines()) == 1
    return said


def test_a_ticket_in_either_language_says_the_same(route: Route) -> None:
    toml = 'priority = 5\nclusters = ["GPU-A800"]\nversion_id = 9\n[params]\nprompt = "猫"\n"3.seed" = 7\n'
    data = {"priority": 5, "clusters": ["GPU-A800"], "version_id": "9", "params": {"prompt": "猫", "3.seed": 7}}
    in_json = json.dumps(data)
    assert read_ticket(TOML, toml.encode()) == read_ticket(JSON, in_json.encode("utf-8-sig"))
    wishes, priority = wished(route, toml)
    assert (wishes.params, wishes.clusters, wishes.version_id, priority) == (
        {"prompt": "猫", "3.seed": 7}, ("GPU-A800",), "9", 5,
    )  # fmt: skip
    assert wishes.origins == {"prompt": TICKET, "3.seed": TICKET}


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "[params]\n"])
def test_an_empty_ticket_wishes_nothing(text: str, route: Route) -> None:
    assert wished(route, text) == (Wishes(), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("priorty = 1", "priorty is no key of a ticket; known are params, priority, clusters, version_id"),
        ("priority = true", "priority must be a whole number"),
        ("priority = 1.0", "priority must be a whole number"),
        ("priority = 1_000_001", "priority must be a whole number between -1,000,000 and 1,000,000"),
        ("clusters = []", "clusters must be a list"),
        ('clusters = "GPU-4090"', "clusters must be a list"),
        ('clusters = ["GPU-4090", "H100"]', "clusters may not hold H100; this folder's are GPU-4090, GPU-A800"),
        ("version_id = 1.5", "version_id must be"),
        ("version_id = true", "version_id must be"),
        ('version_id = ""', "version_id must be"),
        ("params = 1", "params must be a table"),
        ("params.seed2 = 1", "seed2 may not be set here; allowed: prompt, strength, fast, 3.seed, style, extra"),
        ("params.3.seed = 1", '3 may not be set here; allowed: prompt, strength, fast, 3.seed, style, extra; write "3'),
        ('params."3.seed" = "1"', "3.seed must be a whole number"),
        ('params."3.seed" = 1.0', "3.seed must be a whole number"),
        ('params."3.seed" = true', "3.seed must be a whole number"),
        ('params.strength = "1"', "strength must be a number"),
        ("params.strength = true", "strength must be a number"),
        ("params.strength = inf", "strength is not a finite number"),
        ("params.strength = nan", "strength is not a finite number"),
        ("params.fast = 1", "fast must be true or false"),
        ("params.prompt = 1", "prompt must be a text"),
        ("params.style = 0.5", "style must be a text or a whole number"),
        ("params.extra = 2026-01-01", "extra is a date or a time"),
        ("params.extra = [1]", "extra must be a text, a number, or true or false"),
        ("params.extra = {a = 1}", "extra must be a text, a number, or true or false"),
        (f"params.extra = 0x{'f' * 5000}", "extra is too large a number"),
        ('params.extra = "\\u0000"', "extra holds a NUL byte"),
        ('params.extra = "\\u0007"', "extra holds control characters"),
        ("params.extra =", "is not TOML"),
        ("a = 1\na = 2", "is not TOML"),
        (f"a = {'[' * 10_000}", "nested too deeply"),
        (f"params.extra = '{'x' * 70_000}'", "is larger than 64 KiB"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(text: str, words: str, route: Route) -> None:
    assert words in refusal(route, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "must be a table"),
        ("3", "must be a table"),
        ('{"params": {"extra": NaN}}', "is not JSON"),
        ('{"params": {"extra": 1e999}}', "extra is not a finite number"),
        ('{"params": {"extra": null}}', "extra must be a text"),
        ('{"params": {"extra": "\\ud800"}}', "extra holds half of a character"),
        ('{"params": {"": 1}}', "an empty key is not the name"),
        ('{"priority": 1, "priority": 2}', "a key stands there twice"),
        ("[" * 10_000, "nested too deeply"),
        ('{"params": {"extra": ' + "9" * 5000 + "}}", "is not JSON"),
        ("", "is not JSON"),
    ],
)
def test_what_is_wrong_in_json_is_told_with_its_key(text: str, words: str, route: Route) -> None:
    assert words in refusal(route, text, JSON)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("params.strength = 1", {"strength": 1}),
        ("params.strength = 0.25", {"strength": 0.25}),
        ("params.style = 3", {"style": 3}),
        ('params.style = "ink"', {"style": "ink"}),
        ("params.extra = true", {"extra": True}),
        ('params.extra = "two\\nlines\\tand a tab"', {"extra": "two\nlines\tand a tab"}),
    ],
)
def test_values_of_the_routes_own_types_are_kept_as_given(text: str, value: dict[str, Any], route: Route) -> None:
    wishes, _ = wished(route, text)
    assert wishes.params == value
    assert [type(v) for v in wishes.params.values()] == [type(v) for v in value.values()]


def test_a_model_takes_json_of_a_reasonable_depth(model: Route) -> None:
    deep = "[" * 8 + "1" + "]" * 8
    free = {"params": {"free": json.loads(deep)}}
    assert wished(model, json.dumps(free), JSON)[0].params == free["params"]
    assert "free is nested too deeply" in refusal(model, json.dumps({"params": {"free": [free]}}), JSON)
    assert wished(model, '{"params": {"free": null}}', JSON)[0].params == {"free": None}
    assert "options must be a table" in refusal(model, "params.options = [1]")
    assert "free holds half" in refusal(model, '{"params": {"free": [{"\\ud800": 1}]}}', JSON)


def test_clusters_and_versions_are_for_those_who_have_them(model: Route) -> None:
    assert "clusters may not be set here" in refusal(model, 'clusters = ["x"]')
    assert "version_id may not be set here" in refusal(model, "version_id = 1")


def test_a_ticket_may_name_pictures_that_are_public(model: Route) -> None:
    one, many = "https://a.b/c.png?x=1", ["http://a.b/1", "https://a.b/2"]
    wishes, _ = wished(model, f'params.images = "{one}"')
    assert wishes.params == {"images": one}
    assert supplied(model, wishes.params) == {"images"}
    assert wished(model, json.dumps({"params": {"images": many}}), JSON)[0].params == {"images": many}
    assert supplied(model, {"prompt", "free"}) == {"prompt"}


@pytest.mark.parametrize(
    "value",
    [
        "file:///etc/passwd", "/etc/passwd", "ftp://a/b", "data:image/png;base64,AAAA", "https://u:p@a.b/c", "", 1, [],
        ["https://a.b", 1], ["https://a.b/c"] * 65, "https://a.b/" + "x" * 2048, "https://", "https://a b/",
    ],
)  # fmt: skip
def test_nothing_but_public_addresses_stands_for_pictures(value: Any, model: Route) -> None:
    assert "images must be" in refusal(model, json.dumps({"params": {"images": value}}), JSON)


def test_an_address_stands_for_pictures_of_a_model_alone(make_route: Make) -> None:
    assert "input_image may not be set here" in refusal(make_route(), 'params.input_image = "https://a.b/c"')
    assert supplied(make_route(), {"input_image"}) == frozenset()


def test_the_nearest_ticket_wins_key_by_key(route: Route) -> None:
    far = Ticket({"prompt": "far", "fast": False}, 1, ("GPU-4090",), "1")
    near = Ticket({"prompt": "near", "strength": 1}, None, ("GPU-A800",), None)
    own = Ticket({"strength": 2}, 7, (), None)
    wishes, priority = apply(
        route, [(BATCH, "_batch.job.toml", far), (BATCH, "s/_batch.job.toml", near), (TICKET, TOML, own)]
    )
    assert wishes.params == {"prompt": "near", "fast": False, "strength": 2}
    assert wishes.origins == {"prompt": BATCH, "fast": BATCH, "strength": TICKET}
    assert (priority, wishes.clusters, wishes.version_id) == (7, ("GPU-A800",), "1")


def test_a_matrix_makes_a_job_of_each_combination_unless_its_key_is_given(make_route: Make) -> None:
    route = make_route(matrix={"seed": (1, 2), "style": ("oil", "ink")})
    every = spread(route, Wishes({"prompt": "x"}, {"prompt": TICKET}))
    assert [(w.params["seed"], w.params["style"], w.label) for w in every] == [
        (1, "oil", "seed-1_style-oil"), (1, "ink", "seed-1_style-ink"),
        (2, "oil", "seed-2_style-oil"), (2, "ink", "seed-2_style-ink"),
    ]  # fmt: skip
    assert every[0].origins == {"prompt": TICKET, "seed": MATRIX, "style": MATRIX}
    pinned = spread(route, Wishes({"seed": 9, "style": "pen"}, {"seed": TICKET, "style": TICKET}))
    assert [(w.params, w.label) for w in pinned] == [({"seed": 9, "style": "pen"}, "")]
    assert [w.label for w in spread(make_route(matrix={"seed": (1,)}), Wishes())] == [""]


def outcome(name: str, data: bytes) -> Ticket | str:
    try:
        return read_ticket(name, data)
    except BadTicket as bad:
        return bad.sentence


@given(st.binary(max_size=400), st.sampled_from([TOML, JSON]))
def test_any_bytes_end_in_a_ticket_or_a_sentence(data: bytes, name: str) -> None:
    found = outcome(name, data)
    assert isinstance(found, Ticket) or (found.startswith(name) and found == shown(found))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["params", "priority", "clusters", "version_id"]) | st.text(), VALUES))
def test_any_json_ends_in_a_ticket_that_the_schema_accepts_or_in_a_sentence(found: dict[str, Any]) -> None:
    came = outcome(JSON, json.dumps(found).encode())
    if isinstance(came, Ticket):
        jsonschema.validate(found, ticket_schema())
    else:
        assert came == shown(came)


def test_the_schema_is_a_schema_with_an_id() -> None:
    schema = ticket_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == "renderdrop/ticket/1"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"unknown": 1}, schema)
