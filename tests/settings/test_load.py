"""Settings that can be run with: defaults, units, paths, the environment on top, and where the file is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from renderdrop.model.errors import BrokenSettings
from renderdrop.model.route import Route
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
            input_name="input_image",
            accepts="image",
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
    assert intake.ignore == ()
    assert (settings.dispatch.status_every, settings.dispatch.policy) == (10, "least-loaded")


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


def test_an_input_may_be_a_list_of_patterns(place: Place) -> None:
    assert place.load(place.ROUTE.replace('"image"', '["*.exr", "*.dpx"]')).routes[0].accepts == ("*.exr", "*.dpx")


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
    assert (route.name, route.workflow_id, route.input_name, route.accepts) == ("dance", "0088", "input_video", "video")


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
    assert names == ["dance", "home", "portrait", "renderdrop.toml"]


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
