"""What a graph may look like, and what its run answers: judged without a socket."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from renderdrop.sandbox import GRAPHS, NODES
from renderdrop.sandbox.graphs import Order, judge
from renderdrop.sandbox.intake import Refusal
from renderdrop.sandbox.tasks import Upload


def upload(filename: str, content_type: str) -> Upload:
    return Upload("file", filename, content_type, 3, "ab" * 32, "/nowhere")


HERE = {
    "a.png": upload("a.png", "image/png"),
    "b.png": upload("b.png", "image/png"),
    "c.webm": upload("c.webm", "video/webm"),
    "d.wav": upload("d.wav", "audio/wav"),
}
LOST = {"old.png": upload("old.png", "image/png")}


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


SIMPLE = {"73": node("LoadImage", image="a.png"), "9": node("SaveImage", images=["73", 0])}


def judged(graph: Any, *, late_missing: bool = False) -> Order:
    body = {"parameters": {"prompt": graph}, "cluster_name": "A"}
    return judge(body, NODES, HERE, LOST, late_missing=late_missing)


def refused(graph: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        judged(graph)
    return caught.value


def sample(name: str, **values: Any) -> dict[str, Any]:
    """A sample graph with inputs set: `_73__image="a.png"`."""
    graph: dict[str, Any] = copy.deepcopy(dict(GRAPHS[name]))
    for place, value in values.items():
        number, key = place.removeprefix("_").split("__")
        graph[number]["inputs"][key] = value
    return graph


def rows(order: Order) -> list[tuple[str, str, str, str]]:
    return [(row.node_id, row.make, row.source, row.ending) for row in order.workflow.rows]


def test_a_picture_that_goes_through_many_nodes_is_found_at_the_end() -> None:
    order = judged(sample("upscale", _73__image="a.png"))
    assert rows(order) == [("9", "png", "73.image", "")]
    assert order.workflow.rows[0].title == "Save Image 保存图像"
    assert [(file.name, file.filename) for file in order.files] == [("73.image", "a.png")]


def test_every_scalar_is_a_parameter_and_no_link_and_no_upload_is() -> None:
    fields = judged(sample("upscale", _73__image="a.png", _3__seed=7, _6__text="油画")).fields
    assert (fields["3.seed"], fields["3.cfg"], fields["6.text"], fields["74.scale_by"]) == ("7", "7.5", "油画", "2.0")
    assert not fields.keys() & {"73.image", "3.model", "9.images"}
    assert judged(sample("dance", _10__image="a.png", _20__video="c.webm")).fields["81.pingpong"] == "false"


def test_a_video_is_made_from_the_video_though_a_picture_leads_to_it_too() -> None:
    order = judged(sample("dance", _10__image="a.png", _20__video="c.webm"))
    assert rows(order) == [("81", "same", "20.video", ".webm")]
    assert [file.name for file in order.files] == ["10.image", "20.video"]


def test_words_alone_are_drawn() -> None:
    assert rows(judged(sample("poster"))) == [("9", "drawn", "", "")]
    words = {"1": node("EmptyLatentImage", width=8, height=8), "2": node("VHS_VideoCombine", images=["1", 0])}
    assert rows(judged(words)) == [("2", "drawn", "", ".gif")]


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"1": node("LoadVideo", video="c.webm"), "2": node("VHS_VideoCombine", images=["1", 0])}, "1.video .webm"),
        ({"1": node("LoadVideo", file="c.webm"), "2": node("SaveVideo", video=["1", 0])}, "1.file .webm"),
        ({"1": node("LoadAudio", audio="d.wav"), "2": node("SaveAudio", audio=["1", 0])}, "1.audio .wav"),
        ({"1": node("LoadImage", image="a.png"), "2": node("VHS_VideoCombine", images=["1", 0])}, "1.image .mp4"),
        ({"1": node("VHS_LoadVideo", video="c.webm"), "2": node("SaveAudio", audio=["1", 2])}, "1.video .m4a"),
    ],
)
def test_each_kind_of_output_comes_from_what_fits_it(graph: Mapping[str, Any], expected: str) -> None:
    ((number, make, source, ending),) = rows(judged(graph))
    assert (number, make, f"{source} {ending}") == ("2", "same", expected)


def test_of_two_pictures_the_nearer_one_is_painted() -> None:
    graph = {
        "1": node("LoadImage", image="a.png"),
        "2": node("ImageInvert", image=["1", 0]),
        "3": node("LoadImage", image="b.png"),
        "4": node("ImageBlend", image1=["2", 0], image2=["3", 0], blend_factor=1),
        "5": node("SaveImage", images=["4", 0]),
    }
    assert rows(judged(graph)) == [("5", "png", "3.image", "")]


def test_previews_and_videos_that_are_not_saved_answer_nothing() -> None:
    graph = {
        **SIMPLE,
        "10": node("PreviewImage", images=["73", 0]),
        "11": node("VHS_VideoCombine", images=["73", 0], save_output=False),
    }
    assert [row[0] for row in rows(judged(graph))] == ["9"]


def test_a_scalar_may_come_from_another_node() -> None:
    graph = {
        **SIMPLE,
        "1": node("PrimitiveInt", value=512),
        "2": node("ImageScale", image=["73", 0], width=["1", 0], height=5),
    }
    assert judged(graph).fields == {"1.value": "512", "2.height": "5"}


def changed(**nodes: Any) -> dict[str, Any]:
    """The simple graph with nodes `_1`, `_2`, … added or replaced."""
    return {**SIMPLE, **{number.removeprefix("_"): told for number, told in nodes.items()}}


@pytest.mark.parametrize(
    ("graph", "code"),
    [
        pytest.param([], 40031, id="a list"),
        pytest.param({}, 40039, id="nothing"),
        pytest.param({"nodes": [], "links": [], "version": 0.4}, 40032, id="the editor's format"),
        pytest.param({"prompt": SIMPLE}, 40033, id="wrapped once more"),
        pytest.param(changed(_1=[]), 40033, id="a node that is a list"),
        pytest.param(changed(_1={"inputs": {}}), 40033, id="no class_type"),
        pytest.param(changed(_1={"class_type": "LoadImage"}), 40033, id="no inputs"),
        pytest.param(changed(_1={**SIMPLE["73"], "widgets_values": []}), 40033, id="another key"),
        pytest.param(changed(_1={**SIMPLE["73"], "_meta": "t"}), 40033, id="_meta of a wrong kind"),
        pytest.param(changed(_1=node("LoadPicture", image="a.png")), 40034, id="unknown class"),
        pytest.param(changed(_1=node("LoadImage", image="a.png", picture="b.png")), 40035, id="unknown input"),
        pytest.param(changed(_1=node("LoadImage")), 40036, id="no picture"),
        pytest.param(changed(_1=node("LoadVideo", upload="video")), 40036, id="neither file nor video"),
        pytest.param(changed(_1=node("ImageScale", image=["73", 0], width=8)), 40036, id="no height"),
        pytest.param(changed(_1=node("LoadImage", image=["73", 0])), 40037, id="a link for an upload"),
        pytest.param(changed(_1=node("LoadImage", image=7)), 40037, id="a number for an upload"),
        pytest.param(changed(_1=node("LoadImage", image="c.webm")), 40037, id="a video for a picture"),
        pytest.param(changed(_1=node("ImageInvert", image="a.png")), 40037, id="a name for a link"),
        pytest.param(changed(_1=node("PrimitiveInt", value="7")), 40037, id="text for a whole number"),
        pytest.param(changed(_1=node("PrimitiveInt", value=7.0)), 40037, id="a fraction for a whole number"),
        pytest.param(changed(_1=node("PrimitiveInt", value=True)), 40037, id="a truth for a whole number"),
        pytest.param(changed(_1=node("PrimitiveFloat", value=None)), 40037, id="null for a number"),
        pytest.param(changed(_1=node("PrimitiveString", value=7)), 40037, id="a number for a text"),
        pytest.param(changed(_1=node("ImageInvert", image=["99", 0])), 40038, id="link to no node"),
        pytest.param(changed(_1=node("ImageInvert", image=["73", 2])), 40038, id="link to no output"),
        pytest.param(changed(_1=node("ImageInvert", image=["9", 0])), 40038, id="link to a node without outputs"),
        pytest.param(changed(_1=node("ImageInvert", image=[73, 0])), 40038, id="link by a number"),
        pytest.param(changed(_1=node("ImageInvert", image=["73", True])), 40038, id="link to a truth"),
        pytest.param(changed(_1=node("ImageInvert", image=["73"])), 40038, id="half a link"),
        pytest.param(
            changed(_1=node("ImageInvert", image=["2", 0]), _2=node("ImageInvert", image=["1", 0])), 40039, id="circle"
        ),
        pytest.param({"73": SIMPLE["73"]}, 40039, id="no output"),
        pytest.param(changed(_1=node("LoadImage", image="example.png")), 40405, id="never uploaded"),
        pytest.param(changed(_1=node("LoadImage", image="old.png")), 40405, id="forgotten"),
    ],
)
def test_a_graph_that_is_not_right_is_refused(graph: Any, code: int) -> None:
    assert refused(graph).code == code


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"parameters": {"prompt": SIMPLE}},
        {"parameters": {"prompt": SIMPLE}, "cluster_name": ""},
        {"parameters": {"prompt": SIMPLE}, "cluster_name": 7},
        {"parameters": {"prompt": SIMPLE}, "cluster_name": "A", "workflow_id": "1"},
        {"parameters": {"prompt": SIMPLE, "client_id": "x"}, "cluster_name": "A"},
        {"parameters": SIMPLE, "cluster_name": "A"},
        {"prompt": SIMPLE, "cluster_name": "A"},
    ],
)
def test_a_body_of_another_form_is_refused(body: Any) -> None:
    with pytest.raises(Refusal) as caught:
        judge(body, NODES, HERE, LOST)
    assert caught.value.code in (40018, 40031)


def test_the_refusal_of_a_missing_input_names_it() -> None:
    refusal = refused(changed(_1=node("LoadImage", image="old.png")))
    assert "输入文件不存在: old.png" in refusal.message
    assert "old.png of 1.image is missing" in refusal.message


def test_a_forgotten_input_may_be_found_out_late_and_one_that_never_was_is_still_refused() -> None:
    order = judged(changed(_1=node("LoadImage", image="old.png")), late_missing=True)
    (row,) = order.workflow.rows
    assert (order.workflow.ends, row.node_id, row.error_type) == ("fail", "1", "error")
    assert "输入文件不存在: old.png" in row.text
    with pytest.raises(Refusal, match=r"never\.png"):
        judged(changed(_1=node("LoadImage", image="never.png")), late_missing=True)


def test_the_samples_are_in_the_api_format_and_lack_nothing_but_their_uploads() -> None:
    for name, graph in GRAPHS.items():
        if name != "poster":
            assert refused(graph).code == 40405
