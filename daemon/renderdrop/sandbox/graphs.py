"""Judges a graph in ComfyUI's API form, and says what its run would answer.

Owns: the rules of a native submission, and the walk from each saving node back to what it is made of. Pure: the
uploads are passed in. Must never know one graph from another: any made of the classes in `nodes.py` will do.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Final

from renderdrop.sandbox.intake import Refusal
from renderdrop.sandbox.nodes import UPLOADED, Input, NodeClass
from renderdrop.sandbox.tasks import Upload
from renderdrop.sandbox.workflows import Row, WorkflowSpec

Graph = Mapping[str, Mapping[str, Any]]

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "text": (str,), "int": (int,), "float": (int, float), "bool": (bool,),
}  # fmt: skip
_PREFERRED: Final[Mapping[str, tuple[str, ...]]] = {
    "image": ("image",), "video": ("video", "image"), "audio": ("audio", "video"), "preview": (),
}  # fmt: skip
"""What a saving node is made from, of all uploads that lead to it."""


@dataclass(frozen=True, slots=True)
class Order:
    """A submission that the platform understands."""

    cluster: str
    graph: Graph
    workflow: WorkflowSpec
    fields: dict[str, str]
    """Every scalar, by `node.input`."""
    files: tuple[Upload, ...]
    """The uploads that it names; each one's name is the `node.input` that names it."""


def judge(
    body: Any,
    nodes: Mapping[str, NodeClass],
    here: Mapping[str, Upload],
    lost: Mapping[str, Upload],
    *,
    late_missing: bool = False,
) -> Order:
    """What a submission's JSON means. Raises Refusal.

    A forgotten upload (`lost`) is refused, or, where `late_missing`, accepted to fail when it runs.
    """
    cluster, graph = _shaped(body)
    fields: dict[str, str] = {}
    files: list[Upload] = []
    gone: list[Row] = []
    for number, told in graph.items():
        kind = _class(number, told, nodes)
        for name, value in told["inputs"].items():
            place, wanted = f"{number}.{name}", kind.inputs[name]
            if wanted.kind in UPLOADED:
                files.append(_upload(place, value, wanted, {**here, **lost} if late_missing else here))
                if value in lost:
                    text = f"输入文件不存在: {value} (the input file {value} is missing)"
                    gone.append(Row(number, _title(told), "error", text))
            elif isinstance(value, list):
                _refuse_link(place, value, graph, nodes)
            else:
                fields[place] = _scalar(place, value, wanted)
    _refuse_endless(graph, nodes)
    named = {upload.name: upload for upload in files}
    rows = gone or [row for number in graph if (row := _row(number, graph, nodes, named))]
    workflow = WorkflowSpec("a graph", {}, tuple(rows), "fail" if gone else "success")
    return Order(cluster, graph, workflow, fields, tuple(files))


def _shaped(body: Any) -> tuple[str, Graph]:
    """The cluster and the graph of a body whose outer form is right."""
    if not isinstance(body, dict) or body.keys() != {"parameters", "cluster_name"}:
        raise Refusal(40031, "请求体格式错误", 'the body has to be {"parameters": {"prompt": …}, "cluster_name": …}')
    cluster, parameters = body["cluster_name"], body["parameters"]
    if not isinstance(cluster, str) or not cluster:
        raise Refusal(40018, "缺少参数 cluster_name", "cluster_name is required, as a text that is not empty")
    graph = parameters.get("prompt") if isinstance(parameters, dict) and len(parameters) == 1 else None
    if not isinstance(graph, dict):
        raise Refusal(40031, "parameters 格式错误", "parameters has to hold prompt, the graph, and nothing else")
    if "nodes" in graph or "links" in graph:
        raise Refusal(
            40032,
            "工作流是编辑器格式,请导出 API 格式",
            "this is the editor's format: export the workflow in the API format",
        )
    for number, told in graph.items():
        if (
            not isinstance(told, dict)
            or not {"class_type", "inputs"} <= told.keys() <= {"class_type", "inputs", "_meta"}
            or not isinstance(told["class_type"], str)
            or not isinstance(told["inputs"], dict)
            or not isinstance(told.get("_meta", {}), dict)
        ):
            raise Refusal(40033, f"节点 {number} 格式错误", f"node {number} needs class_type and inputs, no other keys")
    return cluster, graph


def _class(number: str, told: Mapping[str, Any], nodes: Mapping[str, NodeClass]) -> NodeClass:
    """The class of a node whose inputs are there, and no others."""
    kind = nodes.get(told["class_type"])
    if kind is None:
        raise Refusal(
            40034,
            f"节点 {number} 的类型 {told['class_type']} 不存在",
            f"node {number}: there is no class {told['class_type']}",
        )
    given = told["inputs"].keys()
    for name in given:
        if name not in kind.inputs:
            raise Refusal(
                40035, f"节点 {number} 没有输入 {name}", f"node {number} ({told['class_type']}) has no input {name}"
            )
    missing = [name for name, wanted in kind.inputs.items() if not wanted.optional and name not in given]
    files = [name for name, wanted in kind.inputs.items() if wanted.kind in UPLOADED]
    if files and not given & set(files):
        missing = files[:1]
    if missing:
        raise Refusal(40036, f"节点 {number} 缺少输入 {missing[0]}", f"node {number} needs the input {missing[0]}")
    return kind


def _upload(place: str, value: Any, wanted: Input, known: Mapping[str, Upload]) -> Upload:
    if not isinstance(value, str):
        raise Refusal(40037, f"输入 {place} 类型错误", f"{place} has to be the name of an upload")
    upload = known.get(value)
    if upload is None:
        raise Refusal(40405, f"输入文件不存在: {value}", f"the input file {value} of {place} is missing")
    if upload.media != wanted.kind:
        raise Refusal(
            40037, f"输入 {place} 类型错误", f"{place} takes {wanted.kind}/…, and {value} is {upload.content_type}"
        )
    return replace(upload, name=place)


def _refuse_link(place: str, value: list[Any], graph: Graph, nodes: Mapping[str, NodeClass]) -> None:
    match value:
        case [str(number), int(slot)] if not isinstance(slot, bool):
            if number not in graph:
                raise Refusal(40038, f"输入 {place} 引用的节点 {number} 不存在", f"{place}: there is no node {number}")
            kind = nodes.get(graph[number]["class_type"])
            if kind is not None and not 0 <= slot < kind.outputs:
                raise Refusal(40038, f"节点 {number} 没有输出 {slot}", f"{place}: node {number} has no output {slot}")
        case _:
            raise Refusal(40038, f"输入 {place} 的连接格式错误", f'{place}: a link is ["node", output]')


def _scalar(place: str, value: Any, wanted: Input) -> str:
    """The value as it is printed."""
    types = _TYPES.get(wanted.kind)
    if types is None:
        raise Refusal(40037, f"输入 {place} 应为连接", f"{place} has to be a link to another node")
    if not isinstance(value, types) or (isinstance(value, bool) and wanted.kind != "bool"):
        raise Refusal(40037, f"输入 {place} 类型错误", f"{place} has to be of the kind {wanted.kind}")
    return value if isinstance(value, str) else json.dumps(value)


def _sources(told: Mapping[str, Any]) -> list[str]:
    return [value[0] for value in told["inputs"].values() if isinstance(value, list)]


def _refuse_endless(graph: Graph, nodes: Mapping[str, NodeClass]) -> None:
    try:
        TopologicalSorter({number: _sources(told) for number, told in graph.items()}).prepare()
    except CycleError:
        raise Refusal(40039, "工作流存在循环", "the links of the graph run in a circle") from None
    if not any(nodes[told["class_type"]].saves for told in graph.values()):
        raise Refusal(40039, "工作流没有输出节点", "the graph has no output: no node of it saves anything")


def _row(number: str, graph: Graph, nodes: Mapping[str, NodeClass], named: Mapping[str, Upload]) -> Row | None:
    """What a saving node answers; a preview is not kept, so it answers nothing."""
    told = graph[number]
    saves = nodes[told["class_type"]].saves
    if saves in ("", "preview") or told["inputs"].get("save_output") is False:
        return None
    leading = list(_walk(number, graph, named))
    found = (upload for media in _PREFERRED[saves] for upload in leading if upload.media == media)
    source = next(found, None)
    title = _title(told)
    if source is None:  # made of words alone
        return None if saves == "audio" else Row(number, title, make="drawn", ending=".gif" if saves == "video" else "")
    if saves == "image":
        return Row(number, title, source=source.name, make="png")
    ending = Path(source.filename).suffix if source.media == saves else {"video": ".mp4", "audio": ".m4a"}[saves]
    return Row(number, title, source=source.name, ending=ending)


def _walk(number: str, graph: Graph, named: Mapping[str, Upload]) -> Iterator[Upload]:
    """The uploads that lead to a node, the nearest first."""
    ahead, seen = [number], {number}
    for at in ahead:
        yield from (named[place] for name in graph[at]["inputs"] if (place := f"{at}.{name}") in named)
        ahead += [source for source in dict.fromkeys(_sources(graph[at])) if source not in seen]
        seen.update(ahead)


def _title(told: Mapping[str, Any]) -> str:
    return str(told.get("_meta", {}).get("title") or told["class_type"])
