"""A poll's answer and the cluster list, on everything that the platform's page leaves open."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model.errors import Fault, Refused
from renderdrop.model.job import Level
from renderdrop.platform.answers import Nonsense
from renderdrop.platform.apps import spelled
from renderdrop.platform.clusters import ClusterStatus, read_clusters
from renderdrop.platform.reports import Report, names_no_task, output_url, read_report
from renderdrop.platform.submission import task_id

BASE = "https://platform.example"


def report(status: object = "running", **rest: object) -> Report:
    return read_report({"status": status, **rest}, BASE)


def test_the_pages_own_example_is_understood_whole() -> None:
    url = f"{BASE}/api/view?type=output&filename=HAIYI_20251119033840_r-animate-aijuxi_00001-audio.mp4"
    found = report(
        "success",
        progress={"curr_node": {"id": 0, "title": "Unknown Node", "progress": 0}, "total_progress": 94},
        outputs=[{"id": "81", "title": "Video Combine 🎥🅥🅗🅢", "output": url, "error_type": "info"}],
    )
    assert (found.status, found.progress, found.node, found.strange) == ("success", 94.0, "Unknown Node", ())
    [output] = found.outputs
    assert (output.position, output.node_id, output.title, output.url) == (0, "81", "Video Combine 🎥🅥🅗🅢", url)


@pytest.mark.parametrize("word", ["pending", "running", "success", "fail"])
def test_the_four_words_are_taken_in_any_case(word: str) -> None:
    for written in (word, word.upper(), f" {word.title()} "):
        assert report(written).status == word
        assert report(written).strange == ()


@pytest.mark.parametrize("word", ["queued", "SUCCEEDED", "完成", "", "failed\nForged: line"])
def test_an_unknown_word_means_still_running_and_is_told(word: str) -> None:
    found = report(word)
    assert found.status == "running"
    [strange] = found.strange
    assert "status" in strange
    assert "\n" not in strange


@pytest.mark.parametrize("data", [None, [], "running", 5, {}, {"status": None}, {"status": 1}, {"status": ["success"]}])
def test_without_a_status_word_it_is_no_report(data: object) -> None:
    with pytest.raises(Nonsense):
        read_report(data, BASE)


@pytest.mark.parametrize(
    ("progress", "percent", "node"),
    [
        (None, None, None),
        ({}, None, None),
        ([], None, None),
        ("94", None, None),
        (94, None, None),
        ({"total_progress": None, "curr_node": None}, None, None),
        ({"total_progress": 0}, 0.0, None),
        ({"total_progress": "94"}, 94.0, None),
        ({"total_progress": "?"}, None, None),
        ({"total_progress": True}, None, None),
        ({"total_progress": -3}, 0.0, None),
        ({"total_progress": 120}, 100.0, None),
        ({"total_progress": float("nan")}, None, None),
        ({"total_progress": 10**400}, None, None),
        ({"curr_node": {"title": "KSampler"}}, None, "KSampler"),
        ({"curr_node": {"title": " "}}, None, None),
        ({"curr_node": {"title": 7}}, None, None),
        ({"curr_node": "KSampler"}, None, None),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_progress_is_read_as_far_as_it_goes(progress: object, percent: float | None, node: str | None) -> None:
    found = report(progress=progress)
    assert (found.progress, found.node) == (percent, node)


@pytest.mark.parametrize(
    ("refusal", "is_gone"),
    [
        (Refused("HTTP 404", "404", 404), True), (Refused("gone", "", 410), True), (Refused("?", "404"), True),
        (Refused("任务 230 不存在", "1"), True), (Refused("未找到该任务"), True), (Refused("Task not found"), True),
        (Refused("the task does NOT exist", "1", 400), True), (Refused("no such task 230", "1"), True),
        (Refused("系统繁忙", "500"), False), (Refused("系统繁忙", "500", 500), False), (Refused("余额不足"), False),
        (Refused("nothing found yet", "1"), False), (Refused("HTTP 400", "400", 400), False), (Refused(""), False),
    ],
)  # fmt: skip
def test_only_a_refusal_that_says_so_means_that_there_is_no_such_task(refusal: Refused, is_gone: bool) -> None:
    assert names_no_task(refusal) is is_gone


def test_progress_may_be_missing() -> None:
    assert (report().progress, report().node) == (None, None)


def test_rows_of_every_kind_are_sorted_in_their_order() -> None:
    rows = [
        {"id": "9", "title": "Save", "output": "https://cdn.example/a.png", "error_type": "info"},
        {"id": 40, "title": None, "output": "cropped", "error_type": "warning"},
        {"id": "10", "title": "Save", "output": "b.png", "error_type": "INFO"},
        {"id": "55", "title": "Face", "output": "未检测到人脸", "error_type": "Error"},
        {"id": "56", "output": None, "error_type": "error"},
    ]
    found = report("success", outputs=rows)
    assert [(o.position, o.node_id, o.url) for o in found.outputs] == [
        (0, "9", "https://cdn.example/a.png"),
        (1, "10", f"{BASE}/api/view?type=output&filename=b.png"),
    ]
    assert [(r.level, r.node_id, r.title, r.message) for r in found.remarks] == [
        (Level.WARNING, "40", "", "cropped"),
        (Level.ERROR, "55", "Face", "未检测到人脸"),
        (Level.ERROR, "56", "", "(error without a text)"),
    ]
    assert found.strange == ()


@pytest.mark.parametrize("kind", [None, "", "notice", 3, ["info"]])
def test_a_value_of_an_unknown_kind_is_taken_for_media_and_told(kind: object) -> None:
    row = {"id": "9", "title": "Save", "output": "a.png"} | ({} if kind is None else {"error_type": kind})
    found = report("success", outputs=[row])
    assert [o.node_id for o in found.outputs] == ["9"]
    assert "error_type" in found.strange[0]


@pytest.mark.parametrize(
    "row", [None, "x", [], {}, {"output": None}, {"output": ""}, {"output": 5, "error_type": "info"}]
)
def test_a_row_without_a_value_is_left_out_and_told(row: object) -> None:
    found = report("success", outputs=[row, {"output": "a.png", "error_type": "info"}])
    assert [o.position for o in found.outputs] == [0]
    assert len(found.strange) == 1


def test_outputs_may_be_missing_but_what_is_no_list_is_told() -> None:
    assert report("success", outputs=None).strange == report("success").strange == ()
    for strange in ({"output": "a.png"}, "a.png", 7):
        found = report("success", outputs=strange)
        assert found.outputs == ()
        assert "no list" in found.strange[0]


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("a b.png", f"{BASE}/api/view?type=output&filename=a%20b.png"),
        ("猫&x=1#.png", f"{BASE}/api/view?type=output&filename=%E7%8C%AB%26x%3D1%23.png"),
        ("../../secret", f"{BASE}/api/view?type=output&filename=..%2F..%2Fsecret"),
        ("/api/view?filename=a.png", f"{BASE}/api/view?filename=a.png"),
        ("//evil.example/a.png", f"{BASE}//evil.example/a.png"),
        ("https://cdn.example/a.png?x=1", "https://cdn.example/a.png?x=1"),
        ("  https://cdn.example/a.png ", "https://cdn.example/a.png"),
        ("a.png?u=http://x", f"{BASE}/api/view?type=output&filename=a.png%3Fu%3Dhttp%3A%2F%2Fx"),
        ("file:///etc/passwd", "file:///etc/passwd"),  # refused where it would be fetched
    ],
)  # fmt: skip
def test_an_output_is_a_url_a_path_or_a_bare_name(value: str, url: str) -> None:
    assert [o.url for o in report("success", outputs=[{"output": value, "error_type": "info"}]).outputs] == [url]


KEYS = st.sampled_from(
    [
        "status",
        "progress",
        "outputs",
        "total_progress",
        "curr_node",
        "title",
        "id",
        "output",
        "error_type",
        "name",
        "curr_nodes",
        "max_nodes",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(st.characters())
    | st.just(10**400)
    | st.sampled_from(["success", "running", "info", "warning", "error", "a.png", "http://[", "-1"])
)
ANY = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=25
)


@given(ANY, st.dictionaries(KEYS, ANY))
def test_any_json_is_a_report_or_one_of_our_faults(other: Any, found: dict[str, Any]) -> None:
    for value in (other, found, {**found, "status": "success", "outputs": [found, other]}):
        try:
            read = read_report(value, BASE)
        except Fault:
            continue
        assert read.progress is None or 0 <= read.progress <= 100
        assert [o.position for o in read.outputs] == list(range(len(read.outputs)))
        json.dumps([o.url for o in read.outputs])


@given(ANY, st.dictionaries(KEYS, ANY))
def test_any_json_is_a_list_of_clusters_or_one_of_our_faults(other: Any, found: dict[str, Any]) -> None:
    for value in (other, [found, other, {**found, "name": "A"}]):
        try:
            clusters = read_clusters(value)
        except Fault:
            continue
        for cluster in clusters:
            assert cluster.name
            assert cluster.nodes >= 0
            assert cluster.ceiling is None or cluster.ceiling >= 0


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ({"name": "A", "display_name": "甲", "curr_nodes": 2, "max_nodes": 22}, ClusterStatus("A", "甲", 2, 22)),
        ({"name": "A", "curr_nodes": 0, "max_nodes": -1}, ClusterStatus("A", "A", 0, None)),
        ({"name": "A", "curr_nodes": 3, "max_nodes": 0}, ClusterStatus("A", "A", 3, 0)),
        ({"name": "A", "display_name": None, "curr_nodes": None, "max_nodes": None}, ClusterStatus("A", "A", 0, None)),
        ({"name": "A", "curr_nodes": "4", "max_nodes": "21"}, ClusterStatus("A", "A", 4, 21)),
        ({"name": "A", "curr_nodes": -1, "max_nodes": "?"}, ClusterStatus("A", "A", 0, None)),
        ({"name": "A", "curr_nodes": 2.0, "max_nodes": float("inf")}, ClusterStatus("A", "A", 2, None)),
        ({"name": "A", "curr_nodes": True, "max_nodes": False}, ClusterStatus("A", "A", 0, None)),
    ],
    ids=lambda value: ascii(value)[:60],
)  # fmt: skip
def test_a_clusters_figures_are_read_and_what_cannot_be_told_is_unknown(row: object, status: ClusterStatus) -> None:
    assert read_clusters([row]) == (status,)


def test_rows_without_a_name_are_passed_over_and_an_empty_list_is_an_answer() -> None:
    assert read_clusters([{}, None, {"name": ""}, {"name": 5}, {"name": "B"}]) == (ClusterStatus("B", "B", 0, None),)
    assert read_clusters([]) == ()


@pytest.mark.parametrize("found", [None, {}, "x", {"list": []}])
def test_what_is_no_list_of_clusters_is_nonsense(found: object) -> None:
    with pytest.raises(Nonsense):
        read_clusters(found)


@pytest.mark.parametrize(("value", "task"), [(230, "230"), ("230", "230"), ("a-b", "a-b"), (0, "0")])
def test_a_task_id_is_a_number_or_a_text(value: object, task: str) -> None:
    assert task_id({"task_id": value}) == task


@pytest.mark.parametrize(
    "found",
    [None, {}, [], "230", {"task_id": None}, {"task_id": ""}, {"task_id": " "}, {"task_id": True}, {"task_id": [1]}],
)
def test_an_acceptance_without_a_task_id_is_nonsense(found: object) -> None:
    with pytest.raises(Nonsense):
        task_id(found)


def test_scalars_are_spelled_as_the_form_wants_them() -> None:
    assert [spelled(v) for v in ("oil", "", True, False, 42, 7.5)] == ["oil", "", "true", "false", "42", "7.5"]


@pytest.mark.parametrize("value", ["DATA:\ud800", "https://platform/\ud800", "/api/\udfff.png", "a\ud800.png"])
def test_whatever_an_output_is_called_its_address_can_be_sent_and_stored(value: str) -> None:
    output_url(value, "https://platform").encode()
