"""What files are called: nothing is ever overwritten, one job's files share one base, whatever is already there."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from renderdrop.delivery.naming import (
    Plan,
    alike,
    base_name,
    free_to_store,
    moved_names,
    names_on_the_way,
    output_extension,
    plan,
    stored_path,
)
from renderdrop.model.job import Job, Source, Times
from renderdrop.model.lifecycle import State
from renderdrop.model.names import fold, notices, numbered, split_ext

JOB = Job(
    id="01kabcdefghjkmnp", route="dance", kind="app", state=State.RENDERED, priority=0, attempts=0, workflow_id="1",
    version_id=None, params={}, cluster=None, task_id=None, paid=True, status=None, progress=None, node=None,
    error=None, base=None, created="", updated="", times=Times(),
)  # fmt: skip

NAMES = st.one_of(
    st.sampled_from(
        [
            "a.png",
            "A.PNG",
            "a",
            "a-2",
            "a.json",
            "a_1.png",
            "é.png",
            "e\u0301.png",
            "a.b.png",
            "猫.mp4",
            "a-2.png",
            "a_1",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=80).filter(
        lambda name: len(name.encode()) <= 255 and not name.startswith(".")
    ),
    st.sampled_from(["猫" * 84 + ".p", "x" * 250, "n" * 255, "s" * 240 + ".png", "caf\udce9.png", "a." + "x" * 253]),
)
EXTENSIONS = st.lists(
    st.sampled_from([".png", ".PNG", ".mp4", ".json", ".JSON", ".jpg", "", ".tif"]), min_size=1, max_size=4
)


def bytes_of(name: str) -> int:
    return len(os.fsencode(name))


def planned(
    base: str,
    *extensions: str,
    source: str | None = None,
    outbox: Sequence[str] = (),
    done: Sequence[str] = (),
    reserved: Sequence[str] = (),
) -> Plan:
    return plan(base, extensions, sources=[source] if source else [], outbox=outbox, done=done, reserved=reserved)


TABLE: list[tuple[str, Plan, Plan]] = [
    ("one output takes the base", planned("a", ".png"), Plan("a", ("a.png",), "a.json", 1)),
    ("several are numbered", planned("a", ".png", ".mp4"), Plan("a", ("a_1.png", "a_2.mp4"), "a.json", 1)),
    ("so is one that would be the sidecar", planned("a", ".json"), Plan("a", ("a_1.json",), "a.json", 1)),
    ("in any case", planned("a", ".JSON"), Plan("a", ("a_1.JSON",), "a.json", 1)),
    ("no extension is fine", planned("a", ""), Plan("a", ("a",), "a.json", 1)),
    ("the source goes to done", planned("a", ".png", source="a.jpg"), Plan("a", ("a.png",), "a.json", 1)),
    (
        "a taken output moves all",
        planned("a", ".png", source="a.jpg", outbox=["a.png"]),
        Plan("a-2", ("a-2.png",), "a-2.json", 2),
    ),
    ("a taken sidecar moves all", planned("a", ".png", outbox=["A.JSON"]), Plan("a-2", ("a-2.png",), "a-2.json", 2)),
    (
        "another file of the base moves all",
        planned("a", ".png", outbox=["a.txt"]),
        Plan("a-2", ("a-2.png",), "a-2.json", 2),
    ),
    (
        "a taken source moves all",
        planned("a", ".png", source="a.jpg", done=["A.JPG"]),
        Plan("a-2", ("a-2.png",), "a-2.json", 2),
    ),
    ("a reserved base is taken", planned("a", ".png", reserved=["A"]), Plan("a-2", ("a-2.png",), "a-2.json", 2)),
    (
        "numbers go on",
        planned("a", ".png", outbox=["a.png", "a-2.png"], reserved=["a-3"]),
        Plan("a-4", ("a-4.png",), "a-4.json", 4),
    ),
    (
        "either form of a letter",
        planned("é", ".png", outbox=["e\u0301.png"]),
        Plan("é-2", ("é-2.png",), "é-2.json", 2),
    ),
    (
        "what is elsewhere is no hindrance",
        planned("a", ".png", source=None, done=["a.png"]),
        Plan("a", ("a.png",), "a.json", 1),
    ),
    ("dots in a base stay", planned("a.b", ".png", outbox=["a.png"]), Plan("a.b", ("a.b.png",), "a.b.json", 1)),
]


@pytest.mark.parametrize(("found", "expected"), [t[1:] for t in TABLE], ids=[t[0] for t in TABLE])
def test_the_plan(found: Plan, expected: Plan) -> None:
    assert found == expected


@settings(max_examples=200)
@given(NAMES, EXTENSIONS, st.booleans(), st.lists(NAMES), st.lists(NAMES), st.lists(NAMES))
@example("a." + "x" * 253, [".png"], True, ["a.png"], ["a." + "x" * 253], [])
def test_no_plan_takes_what_is_taken_and_every_name_fits(
    source: str, extensions: list[str], moved: bool, outbox: list[str], done: list[str], reserved: list[str]
) -> None:
    base = split_ext(source)[0]
    found = plan(base, extensions, sources=[source] if moved else [], outbox=outbox, done=done, reserved=reserved)
    ours = [*found.files, found.sidecar]
    assert not {fold(name) for name in ours} & {fold(name) for name in outbox}
    assert len({fold(name) for name in ours}) == len(ours) == len(extensions) + 1
    assert all(0 < bytes_of(name) <= 255 and "/" not in name for name in ours)
    # One base for all, and it is free.
    assert all(name.startswith(found.base) for name in ours)
    assert found.sidecar == found.base + ".json"
    assert fold(found.base) not in {fold(r) for r in reserved} | {
        fold(split_ext(n)[0]) for n in outbox if split_ext(n)[1]
    }
    assert all(name.endswith(ext) for name, ext in zip(found.files, extensions, strict=True))
    if moved:
        stored = numbered(source, found.number)
        assert fold(stored) not in {fold(name) for name in done}
        assert bytes_of(stored) <= 255
        assert split_ext(stored)[1] == split_ext(source)[1] or len(split_ext(source)[1]) > 16


@given(NAMES, EXTENSIONS, st.integers(1, 6))
@example("render.v2.png", [""], 3)
def test_many_jobs_of_one_name_never_meet(source: str, extensions: list[str], jobs: int) -> None:
    outbox: list[str] = []
    done: list[str] = []
    for _ in range(jobs):
        found = plan(split_ext(source)[0], extensions, sources=[source], outbox=outbox, done=done)
        outbox += [*found.files, found.sidecar]
        done.append(numbered(source, found.number))
    for names in (outbox, done):
        assert len({fold(name) for name in names}) == len(names)


@given(NAMES, EXTENSIONS, st.lists(NAMES))
def test_the_names_that_begin_alike_are_all_that_can_stand_in_the_way(
    source: str, extensions: list[str], taken: list[str]
) -> None:
    base = split_ext(source)[0]
    for outbox in (taken, [*taken, *planned(base, *extensions, outbox=taken).files]):
        assert planned(base, *extensions, outbox=alike(base, outbox)) == planned(base, *extensions, outbox=outbox)


@given(NAMES, st.lists(NAMES))
@example("x" * 255, [])
@example("猫" * 83 + ".png", [])
@example("a." + "x" * 253, [])
def test_a_failed_source_and_both_its_notices_find_a_free_place(source: str, taken: list[str]) -> None:
    for _ in range(4):
        [stored] = free_to_store([source], taken)
        ours = [stored, *notices(stored)]
        assert not {fold(n) for n in ours} & {fold(n) for n in taken}
        assert all(bytes_of(n) <= 255 for n in ours)
        taken = [*taken, *ours]


def test_a_notice_that_is_still_there_moves_the_source_along() -> None:
    assert free_to_store(["a.png"], []) == ["a.png"]
    assert free_to_store(["a.png"], ["A.png.error.TXT"]) == ["a-2.png"]
    assert free_to_store(["a.png"], ["a.png", "a-2.png.error.json"]) == ["a-3.png"]


def test_the_files_of_one_job_are_numbered_alike_and_a_ticket_stays_with_its_file() -> None:
    names = ["a.jpg", "a.mp4", "a.mp4.job.toml"]
    assert free_to_store(names, ["a.mp4"]) == ["a-2.jpg", "a-2.mp4", "a-2.mp4.job.toml"]
    found = plan("a", [".mp4"], sources=names, outbox=[], done=["A.MP4.job.toml"])
    assert (found.base, [numbered(name, found.number) for name in names]) == (
        "a-2",
        ["a-2.jpg", "a-2.mp4", "a-2.mp4.job.toml"],
    )


def test_a_folder_bundle_moves_as_a_folder() -> None:
    sources = tuple(Source("i", f"day/shot.1/{name}", 1, 1) for name in ("a.png", "sub/b.mp4"))
    job = replace(JOB, sources=sources, bundle="day/shot.1")
    assert moved_names(job) == ["shot.1"]
    assert [stored_path(job, s, "shot-2.1") for s in sources] == ["day/shot-2.1/a.png", "day/shot-2.1/sub/b.mp4"]
    assert names_on_the_way(["day/shot.1/a.png", "day/shot.1/sub/b.mp4", "other/x", "y"], "day") == ["shot.1"] * 2


def test_the_files_of_a_stem_bundle_move_each_by_itself() -> None:
    sources = (Source("i", "day/a.png", 1, 1), Source("v", "day/a.mp4", 1, 1))
    job = replace(JOB, sources=sources, bundle="day/a")
    assert moved_names(job) == ["a.png", "a.mp4"]
    assert [stored_path(job, s, n) for s, n in zip(sources, ["a-2.png", "a-2.mp4"], strict=True)] == [
        "day/a-2.png",
        "day/a-2.mp4",
    ]


def test_a_combination_of_a_matrix_is_told_in_its_name() -> None:
    given = {"stem": "a", "route": "r", "job": "j", "task": "t", "date": "d", "workflow": "w"}
    assert base_name("{stem}", **given, label="seed-1") == "a_seed-1"


URLS: list[tuple[str, str | None, str]] = [
    ("https://h/api/view?type=output&filename=x_00001-audio.mp4", "image/png", ".mp4"),
    ("https://h/a/b.PNG?x=1", None, ".PNG"),
    ("https://h/a.tar.gz", None, ".gz"),
    ("https://h/api/view?filename=%E7%8C%AB.webp", None, ".webp"),
    ("https://h/a%2Epng", None, ".png"),
    ("https://h/api/view?filename=noext", "video/mp4; x=1", ".mp4"),
    ("https://h/", "image/jpeg", ".jpg"),
    ("https://h/", None, ""),
    ("https://h/", "application/octet-stream", ""),
    ("https://h/api/view?filename=../../etc/cron.d/x", "image/png", ".png"),
    ("https://h/api/view?filename=a.p/../n", "image/png", ".png"),
    ("https://h/api/view?filename=a.png%00.sh", "image/png", ".png"),
    ("https://h/api/view?filename=a.pn%0Ag", "image/png", ".png"),
    ("https://h/api/view?filename=a.%2Fb", "image/png", ".png"),
    ("https://h/api/view?filename=a.x%5Cy", "image/png", ".png"),
    ("https://h/api/view?filename=a.thisistoolong", "image/png", ".png"),
    ("https://h/api/view?filename=a.%F0%9F%8E%A5", "image/png", ".png"),
    ("https://h/api/view?filename=.png", "image/jpeg", ".jpg"),
    ("https://h/x.jpg?filename=", None, ".jpg"),
    ("https://h/evil.com/", None, ""),
    ("http://[", "image/png", ".png"),
    ("", None, ""),
]


@pytest.mark.parametrize(("url", "media", "ext"), URLS)
def test_an_outputs_extension_is_its_names_else_its_types(url: str, media: str | None, ext: str) -> None:
    assert output_extension(url, media) == ext


@pytest.mark.parametrize("ext", ["exe", "HTML", "lnk", "bash", "ps1xml", "search-ms", "swf"])
def test_no_result_bears_an_extension_that_a_desktop_runs(ext: str) -> None:
    assert output_extension(f"https://h/api/view?filename=a.{ext}", "image/png") == ".png"
    assert output_extension(f"https://h/a.{ext}", None) == ""


@given(st.text(st.characters()), st.none() | st.text())
def test_nothing_a_server_says_gets_beyond_a_short_plain_extension(url: str, media: str | None) -> None:
    for whole in (url, f"https://h/{url}", f"https://h/view?filename={url}"):
        assert re.fullmatch(r"(\.[A-Za-z0-9]{1,10})?", output_extension(whole, media))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{stem}", "猫 1"),
        ("{route}_{stem}", "portrait_猫 1"),
        ("{job}", "01k"),
        ("{stem}-{task}", "猫 1-230"),
        ("{date}", "2026-11-22"),
        ("{workflow}", "12_34"),
        (".{stem}", "猫 1"),
        ("...", "猫 1"),
    ],
)
def test_the_pattern_is_filled_in(pattern: str, expected: str) -> None:
    assert (
        base_name(pattern, stem="猫 1", route="portrait", job="01k", task="230", date="2026-11-22", workflow="12/34")
        == expected
    )


@given(st.text(st.characters(), min_size=1), st.sampled_from(["{task}", "{workflow}", "{route}"]))
def test_what_others_chose_is_cleaned_before_it_becomes_a_name(text: str, pattern: str) -> None:
    base = base_name(pattern, stem="s", route=text, job="j", task=text, date="d", workflow=text)
    assume(base != "s")
    assert "/" not in base
    assert not base.startswith(".")
    assert base.isprintable() or "\u200d" in base or not base.isascii()
