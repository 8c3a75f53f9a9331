"""Settings that can be run with: defaults, units, paths, the environment on top, and where the file is found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from renderdrop.model.errors import BrokenSettings
from renderdrop.model.hours import Hours
from renderdrop.model.route import Input, Model, Publish, Route
from renderdrop.settings import find_config

if TYPE_CHECKING:
    from tests.settings.conftest import Place


def test_a_route_needs_no_more_than_folder_workflow_clusters_and_input(place: Place) -> None:
    loaded = place.load()
    folder = place.root / "portrait"
    assert loaded.routes == (
        Route(
            name="portrait",
            kind="app",
            inbox=folder / "inbox",
            outbox=folder / "outbox",
            done=folder / "done",
            failed=folder / "failed",
            workflow_id="1234",
            version_id=None,
            clusters=("GPU-4090", "GPU-A800"),
            inputs=(Input("input_image", "image"),),
            params={},
            after="move",
            priority=0,
            attempts=3,
            silence=1800.0,
            on_unknown_submit="resubmit",
            output_name="{stem}",
            max_output=8 * 10**9,
        ),
    )
    assert loaded.path == place.file
    assert loaded.warnings == ()


def test_everything_left_out_has_the_documented_default(place: Place) -> None:
    settings = place.load().settings
    assert settings.platform.base_url == "https://art.huya.info"
    assert settings.platform.requests_per_second == 5
    assert (settings.daemon.uploads, settings.daemon.downloads, settings.daemon.log_format) == (4, 8, "auto")
    intake = settings.intake
    assert (intake.settle, intake.settle_network, intake.sweep, intake.sweep_network) == (2, 10, 60, 10)
    assert (intake.ticket_wait, intake.ignore) == (10, ())
    assert (settings.dispatch.status_every, settings.dispatch.policy) == (10, "expected-completion")


def test_durations_sizes_and_numbers_are_taken_as_people_write_them(place: Place) -> None:
    text = '[intake]\nsettle = "500ms"\nsweep = 90\n' + place.ROUTE
    text += 'silence = "2h"\nmax_output = "1GiB"\nversion_id = 7\nparams = { seed = 42, strength = 0.5, hd = true }\n'
    loaded = place.load(text.replace('"1234"', "1234"))
    assert (loaded.settings.intake.settle, loaded.settings.intake.sweep) == (0.5, 90)
    [route] = loaded.routes
    assert (route.silence, route.max_output) == (7200, 2**30)
    assert (route.workflow_id, route.version_id) == ("1234", "7")
    assert route.params == {"seed": 42, "strength": 0.5, "hd": True}
    assert route.params["hd"] is True


def test_hours_are_one_text_or_a_list_in_the_file_and_in_the_environment(place: Place) -> None:
    night, noon = Hours(22 * 60, 8 * 60), Hours(12 * 60, 13 * 60)
    for line, between in (
        ("", ()),
        ('submit_between = "22:00-08:00"', (night,)),
        ('submit_between = ["22:00-08:00", "12:00-13:00"]', (night, noon)),
    ):
        [route] = place.load(f"{place.ROUTE}{line}\nmax_tasks_per_day = 500\nmax_in_flight = 20\n").routes
        assert (route.submit_between, route.max_tasks_per_day, route.max_in_flight) == (between, 500, 20)
    for text, between in (("22:00-08:00", (night,)), ('["22:00-08:00", "12:00-13:00"]', (night, noon))):
        [route] = place.load(environ={"RENDERDROP_ROUTES__PORTRAIT__SUBMIT_BETWEEN": text}).routes
        assert route.submit_between == between
    loaded = place.load('[dispatch]\naging = "90m"\nmax_tasks_per_day = 2000\n' + place.ROUTE)
    assert (loaded.settings.dispatch.aging, loaded.settings.dispatch.max_tasks_per_day) == (5400, 2000)


def test_an_input_may_be_a_list_of_patterns(place: Place) -> None:
    [route] = place.load(place.ROUTE.replace('"image"', '["*.exr", "*.dpx"]')).routes
    assert route.inputs == (Input("input_image", ("*.exr", "*.dpx")),)


def test_a_folder_of_its_own_overrides_what_folder_gives(place: Place) -> None:
    [route] = place.load(place.ROUTE + 'outbox = "dance/results"\n').routes
    assert route.outbox == place.root / "dance/results"
    assert route.done == place.root / "portrait/done"


def test_the_slash_behind_the_base_url_does_no_harm(place: Place) -> None:
    loaded = place.load('[platform]\nbase_url = "https://example.test:8443/"\n' + place.ROUTE)
    assert loaded.settings.platform.base_url == "https://example.test:8443"


def test_a_route_that_is_not_enabled_is_left_out_with_its_missing_folder(place: Place) -> None:
    off = place.ROUTE.replace("portrait", "later") + "enabled = false\n"
    assert [route.name for route in place.load(place.ROUTE + off).routes] == ["portrait"]


def test_route_names_of_any_script_are_fine(place: Place) -> None:
    assert place.load(place.ROUTE.replace("[routes.portrait]", '[routes."肖像-2"]')).routes[0].name == "肖像-2"


def test_a_byte_order_mark_is_read_over(place: Place) -> None:
    assert place.load(b"\xef\xbb\xbf" + place.ROUTE.encode()).routes


def test_the_environment_wins_over_the_file(place: Place) -> None:
    text = '[platform]\nbase_url = "https://one.test"\nrequests_per_second = 3\n' + place.ROUTE
    loaded = place.load(text, {"RENDERDROP_PLATFORM__BASE_URL": "https://two.test", "RENDERDROP_DAEMON__UPLOADS": "7"})
    assert loaded.settings.platform.base_url == "https://two.test"
    assert loaded.settings.platform.requests_per_second == 3
    assert loaded.settings.daemon.uploads == 7


def test_one_key_of_a_route_can_come_from_the_environment(place: Place) -> None:
    text = place.ROUTE.replace("routes.portrait", "routes.Portrait") + 'params = { Prompt = "oil", seed = 1 }\n'
    environ = {
        "RENDERDROP_ROUTES__PORTRAIT__CLUSTERS": '["GPU-X"]',
        "RENDERDROP_ROUTES__PORTRAIT__PARAMS__PROMPT": "[ink] {wash}",
        "RENDERDROP_ROUTES__PORTRAIT__SILENCE": "5m",
    }
    [route] = place.load(text, environ).routes
    assert route.name == "Portrait"
    assert route.clusters == ("GPU-X",)
    assert route.params == {"Prompt": "[ink] {wash}", "seed": 1}
    assert (route.silence, route.workflow_id) == (300, "1234")


def test_a_whole_route_can_come_from_the_environment(place: Place) -> None:
    prefix = "RENDERDROP_ROUTES__DANCE__"
    values = {"FOLDER": "dance", "WORKFLOW_ID": "0088", "CLUSTERS": '["A"]', "INPUTS__INPUT_VIDEO": "video"}
    [_, route] = place.load(place.ROUTE, {prefix + key: value for key, value in values.items()}).routes
    assert (route.name, route.workflow_id, route.inputs) == ("dance", "0088", (Input("input_video", "video"),))


def test_lists_and_tables_of_a_route_come_from_the_environment_as_json(place: Place) -> None:
    prefix = "RENDERDROP_ROUTES__PORTRAIT__"
    values = {
        "INPUTS__MASK": '{"media": "image", "suffix": "_mask"}',
        "INPUTS__MASK__OPTIONAL": "true",
        "INPUTS__SHEET": '["*.exr"]',
        "MATRIX__SEED": "[1, 2]",
        "PARAMS": '{"prompt": "oil", "strength": 0.5}',
        "PARAMS__STYLE": "[ink]",
        "PARAMS_ALLOWED": '["seed"]',
        "BUNDLE_TIMEOUT": "0",
        "DUPLICATES": "skip",
    }
    environ = {prefix + key: value for key, value in values.items()}
    environ["RENDERDROP_INTAKE__TICKET_WAIT"] = "0"
    loaded = place.load(place.ROUTE, environ)
    [route] = loaded.routes
    assert loaded.settings.intake.ticket_wait == 0
    assert set(route.inputs) == {
        Input("input_image", "image"), Input("mask", "image", "_mask", optional=True), Input("sheet", ("*.exr",))
    }  # fmt: skip
    assert route.matrix == {"seed": (1, 2)}
    assert route.params == {"prompt": "oil", "strength": 0.5, "style": "[ink]"}
    assert (route.params_allowed, route.bundle_timeout, route.duplicates) == (("seed",), 0, "skip")


def test_the_store_of_a_model_can_come_from_the_environment(place: Place) -> None:
    text = place.MODEL + '[routes.repaint.publish]\nbucket = "b"\nendpoint = "https://s3.test"\n'
    [route] = place.load(text, {"RENDERDROP_ROUTES__REPAINT__PUBLISH__EXPIRES": "3h"}).routes
    assert route.publish is not None
    assert (route.publish.bucket, route.publish.expires) == ("b", 3 * 3600)


def test_several_inputs_make_a_bundle_of_one_stem(place: Place) -> None:
    (place.root / "style.png").write_bytes(b"png")
    text = place.ROUTE.replace("{ input_image", '{ style = { file = "style.png" }, input_video = "video", input_image')
    [route] = place.load(text).routes
    assert (route.bundle, route.bundle_timeout) == ("stem", 1800)
    assert route.inputs == (Input("input_video", "video"), Input("input_image", "image"))
    assert route.constants == {"style": place.root / "style.png"}
    assert place.load(text + 'bundle = "folder"\nbundle_timeout = "2h"\n').routes[0].bundle == "folder"


def test_a_constant_file_alone_makes_no_bundle(place: Place) -> None:
    (place.root / "style.png").write_bytes(b"png")
    [route] = place.load(place.ROUTE.replace("{ input_image", '{ style = { file = "style.png" }, input_image')).routes
    assert route.bundle == "file"


def test_a_ticket_may_set_what_the_route_sets_unless_it_is_told_otherwise(place: Place) -> None:
    more = 'params = { prompt = "oil" }\nmatrix = { seed = [1, 2], prompt_2 = ["a"] }\n'
    assert place.load(place.ROUTE + more).routes[0].params_allowed == ("prompt", "seed", "prompt_2")
    named = 'params_allowed = ["negative_prompt"]\n'
    assert place.load(place.ROUTE + more + named).routes[0].params_allowed == ("negative_prompt",)
    assert place.load(place.ROUTE + more + "params_allowed = []\n").routes[0].params_allowed == ()


def test_a_graph_route_is_called_by_its_files_name(place: Place) -> None:
    asked: list[tuple[bytes, list[str]]] = []

    def graph_faults(data: bytes, keys: Collection[str]) -> list[str]:
        asked.append((data, list(keys)))
        return []

    [route] = place.load(place.GRAPH, graph_faults=graph_faults).routes
    assert (route.kind, route.workflow_id, route.graph) == (
        "graph",
        "upscale_api.json",
        place.root / "upscale_api.json",
    )
    assert (route.clusters, route.inputs) == (("GPU-4090",), (Input("73.image", "image"),))
    assert route.matrix == {"3.cfg": (7.0, 8.5)}
    assert asked == [(b"{}", ["73.image", "3.seed", "3.cfg", "6.text"])]


def test_a_model_route_needs_no_cluster_and_takes_lists_and_tables(place: Place) -> None:
    text = place.MODEL + 'params = { size = { width = 8, tags = ["a", 1.5, true] } }\n'
    loaded = place.load(text + 'publish = { bucket = "b", endpoint = "https://s3.test/storage/" }\n')
    [route] = loaded.routes
    assert (route.workflow_id, route.clusters) == ("google/gemini", ())
    assert route.model == Model("google", "gemini", "image2image")
    assert route.publish == Publish("b", "https://s3.test/storage", "renderdrop/", 3600.0)
    assert route.params == {"size": {"width": 8, "tags": ["a", 1.5, True]}}
    assert route.params_allowed == ("size", "images"), "tickets may give public URLs for pictures, not texts"
    assert loaded.warnings == ()


def test_variables_without_two_underscores_are_no_settings(place: Place) -> None:
    place.load(place.ROUTE, {"RENDERDROP_CONFIG": "x", "RENDERDROP_PLATFORM": "{}", "RENDERDROP_HOME": "y"})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "{root}/a:{root}/b", "XDG_STATE_HOME": "{root}/x"}, "a"),
        ({"XDG_STATE_HOME": "{root}/x"}, "x/renderdrop"),
        ({"XDG_STATE_HOME": "relative"}, "home/.local/state/renderdrop"),
        ({}, "home/.local/state/renderdrop"),
        ({"RENDERDROP_DAEMON__STATE_DIR": "~/state", "STATE_DIRECTORY": "{root}/a"}, "home/state"),
        ({"RENDERDROP_DAEMON__STATE_DIR": "state"}, "state"),
    ],
)
def test_the_state_folder_is_systemds_then_xdgs_then_homes(
    place: Place, environ: dict[str, str], expected: str
) -> None:
    made = {key: value.format(root=place.root) for key, value in environ.items()}
    assert place.load(place.ROUTE, made).state_dir == place.root / expected


def test_checking_makes_nothing(place: Place) -> None:
    place.load()
    names = sorted(str(path.relative_to(place.root)) for path in place.root.rglob("*"))
    assert names == ["dance", "home", "portrait", "renderdrop.toml", "upscale_api.json"]


def test_the_settings_file_is_the_named_one_then_the_variables_then_the_current_folders(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.root)
    environ = {"RENDERDROP_CONFIG": "/b.toml"}
    assert find_config(Path("/a.toml"), environ) == Path("/a.toml")
    assert find_config(None, environ) == Path("/b.toml")
    place.file.touch()
    assert find_config(None, {}) == place.file


def test_no_settings_file_anywhere_names_the_places_and_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BrokenSettings, match=r"looked at .*renderdrop\.toml and .*renderdrop init") as caught:
        find_config(None, {})
    assert str(tmp_path) in str(caught.value)


def test_reading_settings_loads_no_web_client_no_database_and_no_tables() -> None:
    code = "import sys, renderdrop.settings; print([m for m in ('httpx','sqlalchemy','rich') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert out.strip() == "[]"
