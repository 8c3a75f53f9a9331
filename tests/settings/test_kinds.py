"""Graphs and models: which keys they need, and what has to fit the graph or the store."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.settings.conftest import Place

PUBLISH = 'publish = { bucket = "b", endpoint = "https://s3.test" }\n'


def swapped(text: str, line: str) -> str:
    """The route with this line in the place of its own for the same key."""
    name = line.split(" =")[0]
    return "\n".join([*(have for have in text.splitlines() if not have.startswith(f"{name} =")), line, ""])


@pytest.mark.parametrize("key", ["graph", "clusters", "inputs"])
def test_a_graph_route_needs(place: Place, key: str) -> None:
    lines = [line for line in place.GRAPH.splitlines() if not line.startswith(f"{key} =")]
    assert place.problems("\n".join(lines))[f"routes.upscale.{key}"].startswith(f"is missing; for example {key} = ")


@pytest.mark.parametrize("key", ["provider", "model", "type", "inputs"])
def test_a_model_route_needs(place: Place, key: str) -> None:
    lines = [line for line in place.MODEL.splitlines() if not line.startswith(f"{key} =")]
    assert place.problems("\n".join(lines))[f"routes.repaint.{key}"].startswith(f"is missing; for example {key} = ")


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ("workflow_id = 1", "workflow_id", 'is for kind = "app", and this route is of kind "graph"'),
        ("version_id = 1", "version_id", 'is for kind = "app"'),
        ('model = "x"', "model", 'is for kind = "model"'),
        ('graph = "none.json"', "graph", "none.json does not exist; put it there, or name another"),
        ('graph = "home"', "graph", "is not a regular file"),
        ('inputs = { image = "image" }', "inputs.image", 'write node.input in quotes, such as "73.image"'),
        ("params = { seed = 1 }", "params.seed", "points to no input of the graph"),
        ('matrix = { "3." = [1] }', 'matrix."3."', "points to no input of the graph"),
        ('params_allowed = ["seed"]', "params_allowed", '"seed" points to no input'),
        ('params = { "3.seed" = [1] }', 'params."3.seed"', 'for kind = "model" alone'),
    ],
)
def test_each_key_of_a_graph_route_is_checked(place: Place, line: str, key: str, words: str) -> None:
    problems = place.problems(swapped(place.GRAPH, line))
    assert words in problems.get(f"routes.upscale.{key}", ""), problems
    assert len(problems) == 1


def test_an_empty_graph_file_is_told(place: Place) -> None:
    (place.root / "upscale_api.json").write_text("")
    assert "is empty" in place.problems(place.GRAPH)["routes.upscale.graph"]


def test_a_graph_that_is_none_is_told_once_under_its_own_key(place: Place) -> None:
    problems = place.problems(place.GRAPH, graph_faults=lambda _data, _keys: ["this is the editor's format"])
    assert list(problems) == ["routes.upscale.graph"]
    assert "upscale_api.json: this is the editor's format" in problems["routes.upscale.graph"]


def test_what_the_graph_does_not_have_is_told_under_each_key(place: Place) -> None:
    def graph_faults(_data: bytes, keys: Collection[str]) -> list[str]:
        return [f"there is no {key}" for key in keys if key != "73.image"]

    assert place.problems(place.GRAPH, graph_faults=graph_faults) == {
        'routes.upscale.params."3.seed"': "there is no 3.seed",
        'routes.upscale.matrix."3.cfg"': "there is no 3.cfg",
        "routes.upscale.params_allowed": "there is no 6.text",
    }


def test_a_file_of_the_operators_in_an_inbox_would_be_rendered(place: Place) -> None:
    (place.root / "portrait/inbox").mkdir()
    (place.root / "portrait/inbox/g.json").write_text("{}")
    message = place.problems(swapped(place.GRAPH, 'graph = "portrait/inbox/g.json"'))["routes.upscale.graph"]
    assert 'lies in the inbox of route "upscale"; move it away' in message


def test_files_of_a_route_that_is_not_enabled_may_be_missing(place: Place) -> None:
    (place.root / "upscale_api.json").unlink()
    assert len(place.load(place.ROUTE + place.GRAPH + "enabled = false\n").routes) == 1


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ("workflow_id = 1", "workflow_id", 'is for kind = "app", and this route is of kind "model"'),
        ('clusters = ["A"]', "clusters", 'is for kind = "app" or "graph", and this route is of kind "model"'),
        ('graph = "g.json"', "graph", 'is for kind = "graph"'),
        ("rescue = true", "rescue", 'is for kind = "app" or "graph", and this route is of kind "model"'),
        ('type = "text2video"', "type", 'must be "text2image" or "image2image"'),
        ('inputs = { prompt = "text" }', "inputs", "an image2image model needs pictures"),
        ("params = { when = [1979-05-27] }", "params.when", "put dates in quotes"),
        ("params = { x = { y = [inf] } }", "params.x", "must be a text, a number"),
        ("params = { images = [] }", "params.images", "is also the route's input"),
        ('params = { prompt = "oil" }', "params.prompt", "or make the input optional: then this is its default"),
        ("publish = 5", "publish", "must be a table"),
        ('publish = { endpoint = "https://s3.test" }', "publish.bucket", 'for example bucket = "render-inputs"'),
        ('publish = { bucket = "b" }', "publish.endpoint", "is missing; for example endpoint = "),
        ('publish = { bucket = "a/b", endpoint = "https://s3.test" }', "publish.bucket", "a bucket's bare name"),
        ('publish = { bucket = "b", endpoint = "s3.test" }', "publish.endpoint", "is not an http or https address"),
        ('publish = { bucket = "b", endpoint = "https://a:sesame@s3.test" }', "publish.endpoint", "a user name"),
        ('publish = { bucket = "b", endpoint = "https://s3.test?x" }', "publish.endpoint", "must not have a query"),
        ('publish = { bucket = "b", endpoint = "https://s3.test", expires = "8d" }', "publish.expires", '"7d"'),
        ('publish = { bucket = "b", endpoint = "https://s3.test", prefix = "/a" }', "publish.prefix", '"renderdrop/"'),
        ('publish = { bucket = "b", endpoint = "https://s3.test", key = "x" }', "publish.key", "unknown key"),
        ('publish = { bucket = "b", endpoint = "https://s3.test", secret = "x" }', "publish.secret", "looks like"),
        ('publish = { bucket = "b", endpoint = "https://s3.test", addressing = "x" }', "publish.addressing", '"path"'),
    ],
)
def test_each_key_of_a_model_route_is_checked(place: Place, line: str, key: str, words: str) -> None:
    problems = place.problems(swapped(place.MODEL, line))
    assert words in problems.get(f"routes.repaint.{key}", ""), problems
    assert len(problems) == 1
    assert "sesame" not in str(problems)


@pytest.mark.parametrize(
    "line",
    [
        'params = { images = ["https://pictures.test/a.png"] }',
        'params_allowed = ["images"]',
        'inputs = { prompt = "text", images = ["*.png"] }',
    ],
)
def test_pictures_of_an_image2image_model_may_come_from_elsewhere(place: Place, line: str) -> None:
    assert place.load(swapped(swapped(place.MODEL, 'inputs = { prompt = "text" }'), line)).routes


def test_a_text2image_model_needs_no_pictures_and_no_store(place: Place) -> None:
    text = swapped(swapped(place.MODEL, 'inputs = { prompt = "text" }'), 'type = "text2image"')
    assert place.load(text, store_installed=False).warnings == ()


def test_without_a_store_only_links_and_tickets_can_name_pictures(place: Place) -> None:
    [warning] = place.load(place.MODEL).warnings
    assert warning.key == "routes.repaint.publish"
    assert "without publish, only .url files and tickets can name pictures" in warning.message


def test_a_constant_file_reaches_a_model_through_a_store_alone(place: Place) -> None:
    line = 'inputs = { prompt = "text", images = { file = "upscale_api.json" } }'
    problems = place.problems(swapped(place.MODEL, line))
    assert "give the route a publish table" in problems["routes.repaint.inputs.images"]
    assert place.load(swapped(place.MODEL, line) + PUBLISH).routes[0].constants


def test_a_store_needs_its_package_and_dropped_pictures_wait_for_it(place: Place) -> None:
    [warning] = place.load(place.MODEL + PUBLISH, store_installed=False).warnings
    assert warning.key == "routes.repaint.publish"
    assert 'pip install "renderdrop[publish]"' in warning.message
    assert place.load(place.ROUTE, store_installed=False).warnings == ()


def test_a_picture_must_outlive_its_task(place: Place) -> None:
    short = PUBLISH.replace(" }", ', expires = "20m" }')
    [warning] = place.load(place.MODEL + short).warnings
    assert warning.key == "routes.repaint.publish.expires"
    assert "20 min are shorter than the route's silence (30 min)" in warning.message


def test_pictures_that_travel_unencrypted_are_a_warning_except_on_this_machine(place: Place) -> None:
    [warning] = place.load(place.MODEL + PUBLISH.replace("https", "http")).warnings
    assert warning.key == "routes.repaint.publish.endpoint"
    assert place.load(place.MODEL + PUBLISH.replace("https://s3.test", "http://127.0.0.1:9000")).warnings == ()


def test_names_that_an_app_reserves_are_free_for_models(place: Place) -> None:
    assert place.load(swapped(place.MODEL, "params = { version_id = 3 }")).routes[0].params == {"version_id": 3}


def test_an_optional_text_may_have_a_default_and_a_ticket_may_set_it(place: Place) -> None:
    inputs = 'inputs = { input_image = "image", prompt = { media = "text", optional = true } }'
    [route] = place.load(swapped(place.ROUTE, inputs) + 'params = { prompt = "oil painting" }\n').routes
    assert (route.params, route.params_allowed) == ({"prompt": "oil painting"}, ("prompt",))


def test_a_ticket_may_give_the_text_that_else_a_file_does(place: Place) -> None:
    [route] = place.load(swapped(place.MODEL, 'params_allowed = ["prompt"]')).routes
    assert route.params_allowed == ("prompt",)


def test_a_second_task_needs_a_second_cluster(place: Place) -> None:
    [route] = place.load(f"{place.ROUTE}rescue = true\n").routes
    assert route.rescue
    assert place.load(f"{place.ROUTE}rescue = true\n").warnings == ()
    [warning] = place.load(f"{place.GRAPH}rescue = true\n").warnings
    assert warning.key == "routes.upscale.rescue"
    assert "has nowhere to send a second task: name at least two clusters" in warning.message
    assert not place.load().routes[0].rescue
    assert place.load().settings.dispatch.lag_after == 300.0
