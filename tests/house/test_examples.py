"""Each small example of config/examples can be tried where it stands, and does what its header says."""

import json
import tomllib
from collections.abc import Collection
from pathlib import Path

import jsonschema
import pytest

from renderdrop.intake.ticket import apply, read_ticket
from renderdrop.model.route import Route
from renderdrop.platform.graph_json import missing_inputs, read_graph
from renderdrop.settings import Loaded, load, settings_schema

EXAMPLES = Path(__file__).parents[2] / "config/examples"
NAMES = (
    "bundle", "chain", "duplicates", "folder-bundle", "graph", "image2image", "matrix", "night", "text", "text2image",
    "ticket",
)  # fmt: skip


def graph_faults(data: bytes, keys: Collection[str]) -> list[str]:
    try:
        return missing_inputs(read_graph(data), keys)
    except ValueError as error:
        return [str(error)]


def loaded(name: str, at: Path) -> Loaded:
    """An example as it stands, in the folder in which it stands."""
    return load(
        EXAMPLES / f"{name}.toml",
        {"RENDERDROP_TOKEN": "AI-example", "STATE_DIRECTORY": str(at / "state")},
        graph_faults=graph_faults,
    )


def only(name: str, at: Path) -> Route:
    [route] = loaded(name, at).routes
    return route


def test_every_example_is_known_here() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.toml")) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_fits_the_schema_and_says_what_to_drop(name: str) -> None:
    text = (EXAMPLES / f"{name}.toml").read_text("utf-8")
    jsonschema.validate(tomllib.loads(text), settings_schema())
    assert text.startswith("#:schema ../renderdrop.schema.json\n")
    assert "\n# Drop:  " in text
    assert "\n# Out:   " in text


@pytest.mark.parametrize("name", NAMES)
def test_an_example_loads_without_a_warning(name: str, tmp_path: Path) -> None:
    assert loaded(name, tmp_path).warnings == ()


def test_the_bundles_are_such(tmp_path: Path) -> None:
    for name, how in (("bundle", "stem"), ("folder-bundle", "folder"), ("image2image", "stem"), ("matrix", "file")):
        (tmp_path / name).mkdir()
        assert only(name, tmp_path / name).bundle == how


def test_the_chain_is_one(tmp_path: Path) -> None:
    first, second = loaded("chain", tmp_path).routes
    assert (first.feeds, second.fed_by) == ("animate", ("draw",))


def test_the_matrix_makes_as_many_jobs_as_it_says(tmp_path: Path) -> None:
    assert [len(values) for values in only("matrix", tmp_path).matrix.values()] == [3, 2]


def test_the_graph_is_one_that_can_be_submitted() -> None:
    graph = read_graph((EXAMPLES / "graphs/upscale_api.json").read_bytes())
    links = [value for node in graph.values() for value in node["inputs"].values() if isinstance(value, list)]
    assert all(node_id in graph for node_id, _ in links)
    assert {"LoadImage", "SaveImage"} <= {node["class_type"] for node in graph.values()}


@pytest.mark.parametrize("name", ["clip.mp4.job.toml", "clip.mp4.job.json", "_batch.job.toml"])
def test_a_ticket_is_one_that_its_example_takes(name: str, tmp_path: Path) -> None:
    ticket = read_ticket(name, (EXAMPLES / "tickets" / name).read_bytes())
    wishes, priority = apply(only("ticket", tmp_path), [("ticket", name, ticket)])
    assert wishes.params == ticket.params
    assert priority == ticket.priority


def test_the_two_forms_of_a_ticket_say_the_same() -> None:
    tickets = EXAMPLES / "tickets"
    toml = tomllib.loads((tickets / "clip.mp4.job.toml").read_text("utf-8"))
    assert toml == json.loads((tickets / "clip.mp4.job.json").read_text("utf-8"))


def test_the_night_example_waits_for_the_evening_and_for_the_next_day(tmp_path: Path) -> None:
    route = only("night", tmp_path)
    assert [str(hours) for hours in route.submit_between] == ["22:00-08:00"]
    assert (route.max_tasks_per_day, route.max_in_flight, route.priority) == (1500, 40, -1)
    assert loaded("night", tmp_path).settings.dispatch.max_tasks_per_day == 2000
