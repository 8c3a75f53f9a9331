"""Settings that cannot be run with: every problem at once, with the operator's own keys and a way out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderdrop.model.errors import BrokenSettings
from renderdrop.model.names import shown
from renderdrop.settings import checks, load
from renderdrop.settings.source import Written
from renderdrop.settings.words import judged

if TYPE_CHECKING:
    from tests.settings.conftest import Place


def test_a_misspelt_key_a_missing_folder_and_a_shared_inbox_show_in_one_run(place: Place) -> None:
    second = place.ROUTE.replace("[routes.portrait]", "[routes.second]")
    third = place.ROUTE.replace("portrait", "nowhere") + "atempts = 3\n"
    problems = place.problems("[platform]\nbase_ur = 1\n" + place.ROUTE + second + third)
    assert set(problems) == {
        "platform.base_ur",
        "routes.nowhere.atempts",
        "routes.nowhere.folder",
        "routes.second.folder",
    }
    assert problems["platform.base_ur"] == 'unknown key; did you mean "base_url"?'
    assert "attempts" in problems["routes.nowhere.atempts"]
    assert "does not exist" in problems["routes.nowhere.folder"]
    assert 'also the inbox of route "portrait"' in problems["routes.second.folder"]


def test_a_route_without_its_required_keys_is_still_checked_for_the_rest(place: Place) -> None:
    problems = place.problems('[routes.bare]\nfolder = "nowhere"\noutput_name = "{stem}/x"\n')
    assert set(problems) == {
        "routes.bare.workflow_id",
        "routes.bare.clusters",
        "routes.bare.inputs",
        "routes.bare.folder",
        "routes.bare.output_name",
    }
    assert problems["routes.bare.clusters"] == 'is missing; for example clusters = ["GPU-4090", "GPU-A800"]'
    assert problems["routes.bare.inputs"].endswith('inputs = { input_image = "image" }')


def test_a_kind_that_is_none_brings_no_complaints_of_another_kind(place: Place) -> None:
    assert set(place.problems(place.MODEL.replace('"model"', '"modle"'))) == {"routes.repaint.kind"}


def test_a_forgotten_kind_is_not_told_what_an_app_would_need(place: Place) -> None:
    problems = place.problems(place.GRAPH.replace('kind = "graph"\n', ""))
    assert set(problems) == {"routes.upscale.graph"}
    assert 'is for kind = "graph", and this route is of kind "app"; take it out, or set the kind' in str(problems)


def test_a_wrong_input_hides_no_other_problem(place: Place) -> None:
    inputs = 'inputs = { a = { media = "image", sufix = "_m" }, b = { file = 5 }, version_id = "any" }\n'
    text = place.ROUTE.replace('inputs = { input_image = "image" }\n', inputs) + "atempts = 3\n"
    assert set(place.problems(text.replace('"1234"', '" "'))) == {
        "routes.portrait.workflow_id",
        "routes.portrait.inputs.a.sufix",
        "routes.portrait.inputs.b.file",
        "routes.portrait.inputs.version_id",
        "routes.portrait.atempts",
    }


def test_a_wrong_folder_key_is_told_once(place: Place) -> None:
    problems = place.problems(place.ROUTE.replace('folder = "portrait"', "folder = 5"))
    assert set(problems) == {"routes.portrait.folder"}


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ("clusters = []", "clusters", "must not be empty"),
        ('clusters = "GPU-4090"', "clusters", "must be a list"),
        ('clusters = ["A", "B", "A"]', "clusters", "twice or more: A"),
        ('clusters = [""]', "clusters", "must not be empty"),
        ('kind = "grph"', "kind", 'must be "app", "graph" or "model"'),
        ("workflow_id = true", "workflow_id", "must be a text"),
        ('workflow_id = " "', "workflow_id", "must not be empty"),
        ("inputs = {}", "inputs", "at least one input"),
        ('inputs = { a = "txt" }', "inputs.a", '"image", "video", "audio", "text", "any"'),
        ("inputs = { a = 5 }", "inputs.a", "or a table: { media"),
        ("inputs = { a = [] }", "inputs.a", "name patterns"),
        ("inputs = { a = {} }", "inputs.a", "must have either media"),
        ('inputs = { a = { media = "image", file = "x" } }', "inputs.a", "must have either media"),
        ('inputs = { a = { file = "x", optional = true } }', "inputs.a", "must not have suffix or optional"),
        ('inputs = { a = { media = "txt" } }', "inputs.a.media", 'must be one of "image"'),
        ('inputs = { a = { media = "image", sufix = "_m" } }', "inputs.a.sufix", 'did you mean "suffix"'),
        ('inputs = { a = { media = "image", suffix = "" } }', "inputs.a.suffix", "not empty"),
        ('inputs = { a = { media = "image", suffix = "/m" } }', "inputs.a.suffix", "without /"),
        ('inputs = { a = { media = "image", optional = true } }', "inputs", "that is not optional"),
        ('inputs = { a = { file = "upscale_api.json" } }', "inputs", "at least one input that is dropped"),
        ('inputs = { a = "any", b = { file = "none.png" } }', "inputs.b.file", "none.png does not exist; put it there"),
        ('inputs = { a = "any", b = { file = "home" } }', "inputs.b.file", "is not a regular file"),
        ('inputs = { a = { media = "any", suffix = "_a" } }', "inputs.a.suffix", 'set bundle = "stem"'),
        ('inputs = { a = "image", b = "image" }', "inputs.b", 'takes an image, as "a" does'),
        ('inputs = { a = "any", c = "text", b = "any" }', "inputs.b", 'takes any file, as "a" does'),
        ('inputs = { a = ["*.exr", "*.dpx"], b = ["*.EXR", "x"] }', "inputs.b", "takes a file like *.exr"),
        (
            'inputs.a = { media = "image", suffix = "_M" }\ninputs.b = { media = "image", suffix = "_m" }',
            "inputs.b",
            'whose name ends in "_M", as "a" does',
        ),
        ('inputs = { a = "image", b = "video" }\nbundle = "file"', "bundle", 'set "stem"'),
        ('bundle = "stm"', "bundle", 'must be "file", "stem" or "folder"'),
        ("bundle_timeout = -1", "bundle_timeout", "is not a duration"),
        ('bundle_timeout = "400d"', "bundle_timeout", "or 0"),
        ('duplicates = "never"', "duplicates", 'must be "run" or "skip"'),
        ("matrix = { seed = 1 }", "matrix.seed", "must be a list"),
        ("matrix = { seed = [] }", "matrix.seed", "must be a list"),
        ("matrix = { seed = [[1]] }", "matrix.seed", "must be a list"),
        ("matrix = { seed = [1, 1] }", "matrix.seed", "once only; twice or more: 1"),
        ("matrix = { seed = [1, 1.5] }", "matrix.seed", "values of one type"),
        ("matrix = { seed = [1, true] }", "matrix.seed", "values of one type"),
        ("matrix = { input_image = [1] }", "matrix.input_image", "is also the route's input"),
        ("matrix = { version_id = [1] }", "matrix.version_id", 'set "version_id" on the route'),
        ("params.seed = 1\nmatrix.seed = [1]", "matrix.seed", "is also under params"),
        (f"matrix = {{ a = {list(range(101))}, b = {list(range(10))} }}", "matrix", "1010 jobs of each file"),
        ('params_allowed = "seed"', "params_allowed", "must be a list"),
        ('params_allowed = ["a", "a"]', "params_allowed", "once only; twice or more: a"),
        ('params_allowed = ["workflow_id"]', "params_allowed", '"workflow_id" is the route\'s own business'),
        ('params_allowed = ["input_image"]', "params_allowed", '"input_image" is an input that a dropped file feeds'),
        ('graph = "g.json"', "graph", 'is for kind = "graph", and this route is of kind "app"'),
        ('provider = "x"', "provider", 'is for kind = "model"'),
        ('publish = { bucket = "b", endpoint = "https://s3.test" }', "publish", 'is for kind = "model"'),
        ("params = { when = 1979-05-27 }", "params.when", "put dates in quotes"),
        ("params = { list = [1] }", "params.list", 'lists and tables are for kind = "model" alone'),
        ("params = { list = [nan] }", "params.list", "must be a text, a number"),
        (f"params = {{ deep = {'[' * 30}{']' * 30} }}", "params.deep", "more than 8 deep"),
        ("params = { x = nan }", "params.x", "must be a text, a number"),
        ('params = { input_image = "x" }', "params.input_image", "is also the route's input"),
        ("params = { workflow_id = 1 }", "params.workflow_id", 'set "workflow_id" on the route'),
        ('params = { cluster_name = "A" }', "params.cluster_name", 'set "clusters" on the route'),
        ('params = { "a\\r\\nb" = "A" }', 'params."a\\r\\nb"', "control characters"),
        ('inputs = { version_id = "image" }', "inputs.version_id", 'set "version_id" on the route'),
        ('after = "burn"', "after", 'must be "move", "keep" or "delete"'),
        ("attempts = 0", "attempts", "must be at least 1"),
        ("attempts = 1.5", "attempts", "must be a whole number"),
        ('priority = "high"', "priority", "must be a whole number"),
        ('silence = "a while"', "silence", "is not a duration"),
        ("silence = 0", "silence", "must be a duration between"),
        (f"silence = {10**400}", "silence", "must be a duration between"),
        ('max_output = "big"', "max_output", "is not a size"),
        (f'max_output = "{"9" * 400}TB"', "max_output", "is not a size"),
        ('enabled = "perhaps"', "enabled", "must be true or false"),
        ('output_name = "{name}"', "output_name", "not {name}"),
        ('output_name = "{stem.__class__}"', "output_name", "knows only {stem}"),
        ('output_name = "{stem!r}"', "output_name", "knows only {stem}"),
        ('output_name = "{stem"', "output_name", "brace without its partner"),
        ('output_name = "a\\\\b"', "output_name", "bare name"),
        ('output_name = ".{stem}"', "output_name", "must not begin with a dot"),
        ('submit_between = "25:00-08:00"', "submit_between", '"25:00" is no time of the day'),
        ('submit_between = "22:00-22:00"', "submit_between", "ends when it begins"),
        ('submit_between = "at night"', "submit_between", 'write them like "22:00-08:00"'),
        ("submit_between = 22", "submit_between", 'write them like "22:00-08:00"'),
        ("submit_between = []", "submit_between", "must not be empty"),
        ('submit_between = ["22:00-08:00", "12:00"]', "submit_between", "'12:00' names no hours"),
        ("max_tasks_per_day = 0", "max_tasks_per_day", "at least 1"),
        ("max_tasks_per_day = -5", "max_tasks_per_day", "at least 1"),
        ("max_in_flight = 0", "max_in_flight", "at least 1"),
        ('max_in_flight = "many"', "max_in_flight", "whole number"),
        ('bucket = "b"', "bucket", "it belongs under [routes.NAME.publish]"),
        ('folder = ""', "folder", "must be a path"),
        ('inbox = "a\\u0000b"', "inbox", "must be a path"),
        ('outbox = "nowhere/results"', "outbox", "nowhere does not exist"),
        ('inbox = "nowhere"', "inbox", "nowhere does not exist"),
        ('folder = "renderdrop.toml"', "folder", "is not a folder"),
    ],
)
def test_each_key_of_a_route_is_checked(place: Place, line: str, key: str, words: str) -> None:
    name = line.split(" =")[0].split(".")[0]
    kept = [have for have in place.ROUTE.splitlines() if not have.startswith(f"{name} =")]
    problems = place.problems("\n".join([*kept, line, ""]))
    assert words in problems.get(f"routes.portrait.{key}", ""), problems
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('platform.base_url = "ftp://art.huya.info"', "is not an http or https address"),
        ('platform.base_url = "art.huya.info"', "is not an http or https address"),
        ('platform.base_url = "https://"', "is not an http or https address"),
        ('platform.base_url = "https://a:port"', "is not an http or https address"),
        ('platform.base_url = "https://[::1"', "is not an http or https address"),
        ('platform.base_url = "https://a b"', "is not an http or https address"),
        ('platform.base_url = "https://me:secret@a.test"', "must not hold a user name"),
        ('platform.base_url = "https://a.test/openapi"', "without a path or query"),
        ('platform.base_url = "https://a.test?x=1"', "without a path or query"),
        ("platform.requests_per_second = 0", "must be more than 0"),
        ("platform.requests_per_second = inf", "must be a finite number"),
        ("platform.token_file = true", "must be a path"),
        ("daemon.uploads = 0", "must be at least 1"),
        ("daemon.downloads = 65", "must be at most 64"),
        ('daemon.log_format = "xml"', 'must be "auto", "console" or "json"'),
        ("daemon.state_dir = 5", "must be a path"),
        ('daemon.ledger = ""', "unknown key"),
        ('daemon.settle = "2s"', "unknown key here; it belongs under [intake]"),
        ('daemon.clusters = ["A"]', "unknown key here; it belongs under [routes.NAME]"),
        ('intake.ignore = "*.psd"', "must be a list"),
        ("intake.sweep = -1", "is not a duration"),
        ("intake.sweep = 0", 'between "50ms"'),
        ("intake.ticket_wait = -1", "is not a duration"),
        ('intake.bundle = "stem"', "unknown key here; it belongs under [routes.NAME]"),
        ('dispatch.policy = "random"', 'must be "expected-completion" or "least-loaded"'),
        ("dispatch.aging = -1", "is not a duration"),
        ("dispatch.max_tasks_per_day = 0", "at least 1"),
        ('dispatch.submit_between = "22:00-08:00"', "unknown key here; it belongs under [routes.NAME]"),
        ("dispatch = 5", "must be a table"),
        ('web.listen = ""', "unknown key; known here: platform, daemon, intake, dispatch, routes"),
        ("routes.later = 5", "must be a table; a route is written [routes.NAME]"),
        ('routes.".hidden".enabled = false', "is no name for a route"),
        (f"routes.{'x' * 65}.enabled = false", "is no name for a route"),
        ('routes."a b".enabled = false', "is no name for a route"),
    ],
)
def test_each_key_outside_routes_is_checked(place: Place, line: str, words: str) -> None:
    if ".enabled" in line:
        line += "\n" + line.split(".enabled")[0] + '.workflow_id = "1"'
        line += "\n" + line.split(".enabled")[0] + '.clusters = ["A"]'
        line += "\n" + line.split(".enabled")[0] + '.inputs.a = "any"'
    problems = place.problems(line + "\n" + place.ROUTE)
    key = line.split(" =")[0].replace(".enabled", "").replace("web.listen", "web")
    assert words in problems.get(key, ""), problems
    assert len(problems) == 1
    assert "secret" not in str(problems)


def test_route_names_that_differ_by_capitals_only_are_refused(place: Place) -> None:
    problems = place.problems(place.ROUTE + place.ROUTE.replace("portrait]", "PORTRAIT]") + "enabled = false\n")
    assert 'differs from route "portrait" by its capitals only' in problems["routes.PORTRAIT"]


def test_no_route_at_all_is_a_problem(place: Place) -> None:
    assert set(place.problems("")) == {"routes"}
    assert set(place.problems(place.ROUTE + "enabled = false\n")) == {"routes"}


@pytest.mark.parametrize(
    "text",
    [
        'token = "sesame"\n',
        '[platform]\ntoken = "sesame"\n',
        '[platform]\ntokn = "AI-sesame-sesame"\n',
        '[platform]\ntoken_file = "AI-sesame-sesame"\n',
    ],
)
def test_a_token_in_the_file_gets_a_sentence_and_is_not_repeated(place: Place, text: str) -> None:
    problems = place.problems(text + place.ROUTE)
    [message] = problems.values()
    assert "RENDERDROP_TOKEN" in message
    assert "sesame" not in str(problems)


@pytest.mark.parametrize(
    ("variable", "value", "key", "words"),
    [
        ("RENDERDROP_PLATFORM__BASE_URLL", "x", "platform.base_urll", 'did you mean "base_url"'),
        ("RENDERDROP_WEB__LISTEN", "x", "web", "unknown key"),
        ("RENDERDROP_ROUTES__PORTRAIT__ATTEMPTS", "none", "routes.portrait.attempts", "must be a whole number"),
        ("RENDERDROP_ROUTES__PORTRAIT__CLUSTERS", "A,B", "routes.portrait.clusters", "JSON"),
        ("RENDERDROP_ROUTES__PORTRAIT__CLUSTERS", "[", "routes.portrait.clusters", "JSON"),
        ("RENDERDROP_PLATFORM__BASE_URL", "x", "platform.base_url", "is not an http or https address"),
        ("RENDERDROP_PLATFORM__BASE_URL__X", "x", "platform.base_url", "must be a text"),
        ("RENDERDROP_PLATFORM__", "x", 'platform.""', "unknown key"),
        ("RENDERDROP_PLATFORM__\udcff", "x", 'platform."\\udcff"', "unknown key"),
        ("RENDERDROP_ROUTES__PORTRAIT__PARAMS__X", "\udcff", "routes.portrait.params.x", "must be UTF-8 text"),
    ],
)
def test_a_wrong_variable_is_reported_by_its_name(
    place: Place, variable: str, value: str, key: str, words: str
) -> None:
    problems = place.problems(place.ROUTE, {variable: value})
    assert words in problems.get(key, ""), problems
    assert "environment variable RENDERDROP_" in problems[key]
    assert len(problems) == 1
    str(problems).encode()


def test_a_file_that_is_no_toml_is_told_with_line_and_column(place: Place) -> None:
    [message] = place.problems('[platform]\nbase_url = "x\n').values()
    assert "line 2, column" in message


def test_a_file_that_is_no_text_is_told_with_its_line(place: Place) -> None:
    [message] = place.problems(b"# fine\n# \xff\n").values()
    assert "line 2 is not UTF-8" in message


def test_tables_nested_without_end_are_refused_in_words(place: Place) -> None:
    [message] = place.problems("x = " + "[" * 100_000).values()
    assert "nested too deeply" in message


def test_a_settings_file_that_is_missing_a_folder_or_out_of_reach_is_told(place: Place) -> None:
    for path, words in ((place.root / "none.toml", "no such settings file"), (place.root, "not a regular file")):
        with pytest.raises(BrokenSettings, match=words):
            load(path, place.environ)


_NAMES = st.sampled_from([
    "platform", "base_url", "intake", "sweep", "routes", "a", "clusters", "inputs", "params", "kind", "graph", "model",
    "matrix", "params_allowed", "publish", "bucket", "endpoint", "media", "suffix", "file", "bundle",
])  # fmt: skip
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _NAMES | st.just("image"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(tree=st.dictionaries(_NAMES, _VALUES), route=st.dictionaries(_NAMES, _VALUES))
@settings(max_examples=200, deadline=None)
def test_nothing_that_is_written_makes_the_check_fall_over(tree: dict[str, Any], route: dict[str, Any]) -> None:
    found, problems = judged(Written({"routes": {"a": route}} | tree, {}))
    problems += checks.problems(found, {problem.key for problem in problems})
    assert all(shown(problem.key) == problem.key and problem.message for problem in problems)


def test_a_state_folder_that_cannot_be_is_told(place: Place) -> None:
    (place.root / "file").touch()
    assert (
        "is not a folder"
        in place.problems(place.ROUTE, {"STATE_DIRECTORY": str(place.root / "file")})["daemon.state_dir"]
    )
    below = place.problems(place.ROUTE, {"STATE_DIRECTORY": str(place.root / "file/state")})["daemon.state_dir"]
    assert "cannot be" in below
    assert "no home" in place.problems(place.ROUTE, {"HOME": ""})["daemon.state_dir"]


def test_a_state_folder_on_a_network_file_system_is_refused(place: Place) -> None:
    asked: list[Path] = []

    def network_fs(path: Path) -> str | None:
        asked.append(path)
        return "nfs"

    message = place.problems(place.ROUTE, network_fs=network_fs)["daemon.state_dir"]
    assert "network file system (nfs)" in message
    assert asked == [place.root / "home"], "the nearest folder that exists is asked about"


def test_a_state_folder_in_an_inbox_is_refused(place: Place) -> None:
    inside = str(place.root / "portrait/inbox/state")
    assert "lies in the inbox" in place.problems(place.ROUTE, {"STATE_DIRECTORY": inside})["daemon.state_dir"]
