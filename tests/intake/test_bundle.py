"""Which files belong together and what becomes of them: as tables, in every order in which they may arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from renderdrop.intake.bundle import (
    Part,
    Piece,
    assemble,
    batch_folders,
    bundle_of,
    key_of,
    orphaned,
    overdue,
    part_of,
    parted,
)
from renderdrop.model.job import Role
from renderdrop.model.route import Input, Route

Make = Callable[..., Route]
IMAGE, VIDEO = Input("input_image", "image"), Input("input_video", "video")
MASK = Input("mask", "image", "_mask", optional=True)
DANCE = (IMAGE, VIDEO, MASK)


@pytest.fixture
def dance(make_route: Make) -> Route:
    return make_route("dance", inputs=DANCE, bundle="stem")


def pieces(*paths: str) -> list[Piece]:
    return [Piece(path) for path in paths]


def fed(route: Route, *paths: str, **more: Any) -> dict[str, str]:
    return {name: path for name, path, _ in assemble(route, pieces(*paths), **more).assigned}


@pytest.mark.parametrize(
    ("bundle", "path", "key"),
    [
        ("file", "s/A.png", "s/a.png"),
        ("file", "s/A.png.job.toml", "s/a.png"),
        ("file", "a.png.JOB.JSON", "a.png"),
        ("file", "_batch.job.toml", None),
        ("file", "s/_Batch.Job.json", None),
        ("file", "job.toml", "job.toml"),
        ("stem", "s/Shot.JPG", "s/shot"),
        ("stem", "s/shot.mp4", "s/shot"),
        ("stem", "shot_MASK.png", "shot"),
        ("stem", "_mask.png", "_mask"),
        ("stem", "shot_mask.mp4", "shot_mask"),
        ("stem", "shot.v2.mp4", "shot.v2"),
        ("stem", "shot.mp4.job.toml", "shot"),
        ("stem", "shot_mask.png.job.toml", "shot"),
        ("stem", "shot.job.json", "shot"),
        ("stem", "shot.v2.job.toml", "shot.v2"),
        ("stem", "my.shot.job.toml", "my.shot"),
        ("stem", "a.psd.job.toml", "a"),
        ("stem", "Cafe\u0301.jpg", "café"),
        ("stem", "d\u00e9ep/x.jpg", "d\u00e9ep/x"),
        ("folder", "shot1/a.png", "shot1"),
        ("folder", "shot1/deep/a.png", "shot1"),
        ("folder", "shot1/job.toml", "shot1"),
        ("folder", "shot1/deep/a.png.job.toml", "shot1"),
        ("folder", "shot1/_batch.job.toml", None),
        ("folder", "loose.png", "loose.png"),
    ],
)
def test_files_are_gathered_under_the_key_that_they_share(
    bundle: str, path: str, key: str | None, make_route: Make
) -> None:
    assert key_of(make_route(inputs=DANCE, bundle=bundle), path) == key


@pytest.mark.parametrize(
    ("bundle", "path", "part"),
    [
        ("file", "a.png.job.toml", Part.TICKET),
        ("stem", "a.job.json", Part.TICKET),
        ("file", "job.toml", Part.MEDIA),
        ("folder", "s/job.toml", Part.TICKET),
        ("folder", "s/Job.JSON", Part.TICKET),
        ("folder", "s/deep/job.toml", Part.MEDIA),
        ("folder", "job.toml", Part.MEDIA),
        ("file", "s/_batch.job.json", Part.BATCH),
        ("file", "a.json", Part.MEDIA),
        ("file", "a.toml", Part.MEDIA),
    ],
)
def test_a_ticket_is_known_by_its_name_and_is_never_media(bundle: str, path: str, part: Part, make_route: Make) -> None:
    route = make_route(inputs=(Input("x", "any"),), bundle=bundle)
    assert part_of(route, path) is part


@pytest.mark.parametrize(
    ("paths", "assigned"),
    [
        (("a.mp4", "a.jpg"), {"input_image": "a.jpg", "input_video": "a.mp4"}),
        (("a_mask.png", "a.mp4", "a.jpg"), {"input_image": "a.jpg", "input_video": "a.mp4", "mask": "a_mask.png"}),
        (("a_mask.png",), {"mask": "a_mask.png"}),
        (("_mask.png",), {"input_image": "_mask.png"}),
        (("a_mask.mp4",), {"input_video": "a_mask.mp4"}),
    ],
)
def test_each_file_feeds_the_input_that_it_fits_best(
    paths: tuple[str, ...], assigned: dict[str, str], dance: Route
) -> None:
    assert fed(dance, *paths) == assigned
    assert list(fed(dance, *paths)) == list(assigned)


def test_a_suffix_beats_a_pattern_that_beats_a_class_that_beats_any(make_route: Make) -> None:
    inputs = (
        Input("rest", "any"),
        Input("image", "image"),
        Input("frame", ("f*.png",)),
        Input("mask", "any", "_m"),
        Input("long", "any", "_big_m"),
    )
    route = make_route(inputs=inputs, bundle="folder")
    found = fed(route, "s/x.bin", "s/a.png", "s/f1.png", "s/f2_m.png", "s/f3_big_m.png")
    assert found == {
        "rest": "s/x.bin", "image": "s/a.png", "frame": "s/f1.png", "mask": "s/f2_m.png", "long": "s/f3_big_m.png",
    }  # fmt: skip


def test_what_is_missing_and_what_may_still_come_is_told_in_the_order_of_the_settings(dance: Route) -> None:
    found = assemble(dance, pieces("a_mask.png"))
    assert (found.missing, found.lacking, found.trouble) == (("input_image", "input_video"), (), None)
    found = assemble(dance, pieces("a.jpg", "a.mp4"))
    assert (found.missing, found.lacking, found.complete) == ((), ("mask",), True)


def test_the_first_required_file_names_the_bundle(make_route: Make) -> None:
    route = make_route(inputs=(MASK, IMAGE, VIDEO), bundle="stem")
    assert assemble(route, pieces("s/shot_mask.png", "s/SHOT.jpg", "s/Shot.mp4")).bundle == "s/SHOT"
    assert assemble(route, pieces("s/Shot_MASK.png")).bundle == "s/Shot"
    assert bundle_of(route, "s/Shot_MASK.png") == "s/Shot"


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (("a.jpg", "a.png", "a.mp4"), "two files are for input_image, a.jpg and a.png: keep one of them"),
        (("a.jpg", "A.JPG", "a.png"), "three files are for input_image, A.JPG, a.jpg and a.png: keep one of them"),
        (("a.jpg", "a.mp4", "a.mp4.job.toml", "a.job.json"), "two tickets are for one job, a.job.json and a.mp4.job"),
        (("a.bin",), "this folder takes an image (input_image), a video (input_video) and an image whose name ends in"),
        (("a.bin",), "_mask (mask), and by its name this is none of them"),
        (("a.bin", "a.jpg"), "a.bin: this folder takes"),
    ],
)
def test_what_could_only_be_guessed_at_is_trouble_that_names_the_files(
    paths: tuple[str, ...], words: str, dance: Route
) -> None:
    trouble = assemble(dance, pieces(*paths)).trouble
    assert trouble is not None
    assert words in trouble
    assert len(trouble.splitlines()) == 1


def test_two_inputs_that_one_file_fits_alike_are_trouble(make_route: Make) -> None:
    route = make_route(inputs=(Input("first", "image"), Input("last", "image")), bundle="folder")
    assert "first or for last" in (assemble(route, pieces("s/a.png", "s/b.png")).trouble or "")


def test_a_file_beside_the_bundle_folders_is_refused_with_a_way_out(make_route: Make) -> None:
    route = make_route(inputs=DANCE, bundle="folder")
    assert "put it with its partners into a folder" in (assemble(route, pieces("a.jpg")).trouble or "")


@pytest.mark.parametrize("kind", ["link", "fifo", "socket", "device"])
def test_what_is_no_file_spoils_its_group_and_is_named(kind: str, dance: Route) -> None:
    found = assemble(dance, [Piece("a.jpg"), Piece("a.mp4", kind)])
    assert (found.trouble or "").startswith("a.mp4: it is a ")
    assert (assemble(dance, [Piece("a.jpg.job.toml", kind)]).trouble or "").startswith("it is a ")


def test_an_empty_file_is_waited_for_and_feeds_nothing(dance: Route) -> None:
    found = assemble(dance, [Piece("a.jpg"), Piece("a.mp4"), Piece("a_mask.png", empty=True)])
    assert (found.missing, found.lacking) == (("mask",), ())
    found = assemble(dance, [Piece("a.jpg"), Piece("a.png", empty=True), Piece("a.job.toml", empty=True)])
    assert (found.missing, found.trouble, found.ticket) == (("input_video",), None, None)


def test_texts_and_links_become_parameters(make_route: Make) -> None:
    inputs = (Input("prompt", "text"), Input("images", "image"))
    model = make_route(inputs=inputs, bundle="stem", kind="model", clusters=())
    assert assemble(model, pieces("a.txt", "a.url")).assigned == (
        ("prompt", "a.txt", Role.TEXT), ("images", "a.url", Role.TEXT),
    )  # fmt: skip
    assert assemble(model, pieces("a.txt", "a.png")).assigned[1] == ("images", "a.png", Role.FILE)
    assert "two files are for images" in (assemble(model, pieces("a.url", "a.png")).trouble or "")
    app = make_route(inputs=inputs, bundle="stem")
    assert assemble(app, pieces("a.url")).trouble is not None


def test_what_a_ticket_supplies_is_not_missing_and_not_given_twice(make_route: Make) -> None:
    inputs = (Input("prompt", "text"), Input("images", "image"))
    model = make_route(inputs=inputs, bundle="stem", kind="model", clusters=())
    assert assemble(model, pieces("a.txt", "a.job.toml"), {"images"}).complete
    assert "both the file a.png and a ticket" in (assemble(model, pieces("a.txt", "a.png"), {"images"}).trouble or "")
    assert assemble(model, pieces("a.txt", "a.png"), {"prompt"}).complete  # a dropped text goes before the ticket's
    alone = assemble(model, pieces("s/a.job.toml"), {"prompt", "images"})
    assert (alone.complete, alone.assigned, alone.bundle) == (True, (), "s/a")


NAMES = ["a.jpg", "a.png", "a.mp4", "a_mask.png", "a.job.toml", "a.jpg.job.json", "a.txt", "A.MOV", "a_mask.mp4"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(NAMES), unique=True, min_size=1), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(dance: Route, names: list[str], dice: Any) -> None:
    shuffled = list(names)
    dice.shuffle(shuffled)
    assert assemble(dance, pieces(*names)) == assemble(dance, pieces(*shuffled))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
def test_every_input_is_fed_by_one_file_or_missing_or_optional_or_there_is_trouble(
    dance: Route, names: list[str]
) -> None:
    found = assemble(dance, pieces(*names))
    if found.trouble is None:
        assert sorted([*(name for name, _, _ in found.assigned), *found.missing, *found.lacking]) == sorted(
            ["input_image", "input_video", "mask"]
        )
    assert {path for _, path, _ in found.assigned} | set(found.tickets) == set(names)


def test_single_files_whose_names_differ_in_case_alone_are_two_jobs_with_a_ticket_each(make_route: Make) -> None:
    route = make_route()
    both = pieces("A.png", "a.png", "a.png.job.toml", "A.PNG.job.toml")
    assert [[p.path for p in part] for part in parted(route, both)] == [
        ["A.png"], ["a.png", "a.png.job.toml"], ["A.PNG.job.toml"],
    ]  # fmt: skip
    assert [len(part) for part in parted(route, pieces("a.png", "A.PNG.job.toml"))] == [2]
    assert parted(route, []) == []


def test_batch_tickets_hold_from_the_inbox_down_to_the_files_own_folder(make_route: Make) -> None:
    assert batch_folders(make_route(), "a.png") == ("",)
    assert batch_folders(make_route(), "x/y/a.png") == ("", "x", "x/y")
    assert batch_folders(make_route(bundle="folder"), "shot1/deep/a.png") == ("", "shot1")


def test_what_did_not_come_is_told_by_input_and_by_name(make_route: Make, dance: Route) -> None:
    assert overdue(dance, assemble(dance, pieces("clip.jpg")), 1800) == (
        "input_video is missing: no video with the name clip came within 30 min"
    )
    mask = (IMAGE, Input("mask", "image", "_mask"))
    both = make_route(inputs=(*mask, VIDEO), bundle="stem")
    assert overdue(both, assemble(both, pieces("clip.jpg")), 60) == (
        "mask and input_video are missing: no image with the name clip_mask and no video with the name clip "
        "came within 60 s"
    )
    folder = make_route(inputs=mask, bundle="folder")
    assert overdue(folder, assemble(folder, pieces("shot1/a.jpg")), 60) == (
        "mask is missing: no image whose name ends in _mask came into the folder shot1 within 60 s"
    )


def test_a_ticket_without_its_file_says_how_tickets_are_named(make_route: Make, dance: Route) -> None:
    assert orphaned(dance, "s/clip.mp4.job.toml", 10) == (
        "there is no clip.mp4 for this ticket; a ticket is named like its file, with .job.toml behind it, "
        "and may come up to 10 s before or after it"
    )
    assert "the folder shot1" in orphaned(make_route(inputs=DANCE, bundle="folder"), "shot1/job.toml", 10)
