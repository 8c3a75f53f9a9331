"""The third-party models that the sandbox knows, what each takes, and in which shape it answers.

Owns: the table MODELS, the judgement of a generate request, and the result answers. The platform's page shows no
result, so the shapes here are as many as a tolerant reader has to expect. Pure: must never fetch or draw.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from renderdrop.sandbox.intake import Refusal
from renderdrop.sandbox.workflows import Row, WorkflowSpec

MAX_IMAGES: Final = 16
MAX_MADE: Final = 4
TYPES: Final = frozenset({"text2image", "image2image"})

ScalarKind = Literal["text", "int", "float", "bool"]
Shape = Literal["plain", "enveloped", "data_uri", "unknown_word", "url", "objects"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model: its types, its free parameters beside prompt and images (all optional), the shape of its answer.

    `fails`: why each of its tasks fails; "" for one that works. `silent`: it succeeds without any picture.
    """

    title: str
    types: frozenset[str] = TYPES
    parameters: Mapping[str, ScalarKind] = field(default_factory=dict)
    shape: Shape = "plain"
    fails: str = ""
    silent: bool = False


_FREE: Final[Mapping[str, ScalarKind]] = {"seed": "int", "aspect_ratio": "text", "strength": "float", "n": "int"}

MODELS: Final[Mapping[tuple[str, str], ModelSpec]] = {
    ("google", "gemini-3-pro-image-preview"): ModelSpec(
        'the plain one: {"status": "processing"}, then {"status": "succeeded", "images": [url]}',
        parameters={"aspect_ratio": "text", "image_size": "text", "seed": "int", "n": "int"},
    ),
    ("sandbox", "enveloped"): ModelSpec(
        'answers {"code": 0, "data": {"status": "SUCCESS", "result": {"outputs": [{"url": …}]}}}',
        parameters=_FREE,
        shape="enveloped",
    ),
    ("sandbox", "data-uri"): ModelSpec(
        "answers its pictures inside the JSON, as data:image/png;base64,…", parameters=_FREE, shape="data_uri"
    ),
    ("sandbox", "unknown-word"): ModelSpec(
        "says denoising while it runs, then completed", parameters=_FREE, shape="unknown_word"
    ),
    ("sandbox", "url"): ModelSpec(
        'queued at first, then processing, then {"status": "Done", "url": url}, of one picture alone',
        parameters={"seed": "int", "strength": "float"},
        shape="url",
    ),
    ("sandbox", "objects"): ModelSpec(
        'answers {"status": "success", "data": {"output": [{"type": "image", "output": url}], "videos": []}}',
        parameters=_FREE,
        shape="objects",
    ),
    ("sandbox", "text-only"): ModelSpec("takes text2image alone", frozenset({"text2image"}), _FREE),
    ("sandbox", "failing"): ModelSpec(
        "each task fails, with a message", parameters=_FREE, fails="内容审核未通过 (the content was not approved)"
    ),
    ("sandbox", "silent"): ModelSpec("succeeds without any picture", parameters=_FREE, silent=True),
}


@dataclass(frozen=True, slots=True)
class Order:
    """A request that the platform understands."""

    model: dict[str, str]
    parameters: dict[str, Any]
    """As they came."""
    fields: dict[str, str]
    """The scalars among them, as they are printed."""
    urls: tuple[str, ...]
    spec: ModelSpec

    def workflow(self, *, painted: bool) -> WorkflowSpec:
        """What its run answers: the first picture, `painted` over, or new ones that are drawn."""
        title = self.spec.title
        if self.spec.fails:
            return WorkflowSpec(title, {}, (Row("1", "Model", "error", self.spec.fails),), "fail")
        row = Row("1", "Model", source="images", make="png") if painted else Row("1", "Model", make="drawn")
        return WorkflowSpec(title, {}, () if self.spec.silent else (row,) * int(self.parameters.get("n", 1)))


def judge(body: Any, models: Mapping[tuple[str, str], ModelSpec]) -> Order:
    """What a generate request's JSON means. Raises Refusal, with HTTP 400."""
    if not isinstance(body, dict) or body.keys() != {"model", "parameters"}:
        raise _wrong("请求体格式错误", 'the body has to be {"model": {…}, "parameters": {…}}')
    model, parameters = body["model"], body["parameters"]
    if (
        not isinstance(model, dict)
        or model.keys() != {"provider", "model", "type"}
        or not all(isinstance(value, str) for value in model.values())
    ):
        raise _wrong("model 格式错误", "model has to hold provider, model and type as texts, and nothing else")
    provider, name, kind = model["provider"], model["model"], model["type"]
    spec = models.get((provider, name))
    if spec is None:
        raise Refusal(40406, f"模型 {provider}/{name} 不存在", f"there is no model {provider}/{name}", 400)
    if kind not in spec.types:
        known = ", ".join(sorted(spec.types))
        raise _wrong(f"模型 {name} 不支持类型 {kind}", f"{provider}/{name} is for {known}, not {kind!r}", 40051)
    if not isinstance(parameters, dict):
        raise _wrong("parameters 格式错误", "parameters has to be an object")
    prompt = parameters.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise _wrong("缺少参数 prompt", "prompt is required, as a text that is not empty", 40052)
    fields = {"prompt": prompt}
    for key, value in parameters.items():
        if key not in ("prompt", "images"):
            fields[key] = _scalar(key, value, spec)
    urls = _urls(parameters, kind)
    return Order(model, parameters, fields, urls, spec)


def _wrong(chinese: str, english: str, code: int = 40050) -> Refusal:
    return Refusal(code, chinese, english, 400)


def _scalar(key: str, value: Any, spec: ModelSpec) -> str:
    kind = spec.parameters.get(key)
    if kind is None:
        raise _wrong(f"未知参数 {key}", f"this model has no parameter {key}", 40053)
    types: dict[ScalarKind, tuple[type, ...]] = {"text": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}
    if not isinstance(value, types[kind]) or (isinstance(value, bool) and kind != "bool"):
        raise _wrong(f"参数 {key} 类型错误", f"{key} has to be of the kind {kind}", 40054)
    if key == "n" and not (isinstance(value, int) and 1 <= value <= MAX_MADE):
        raise _wrong("参数 n 超出范围", f"n is between 1 and {MAX_MADE}", 40054)
    return value if isinstance(value, str) else json.dumps(value)


def _urls(parameters: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    if kind == "text2image":
        if "images" in parameters:
            raise _wrong("text2image 不接受 images", "text2image takes no images", 40055)
        return ()
    images = parameters.get("images")
    if not isinstance(images, list) or not 1 <= len(images) <= MAX_IMAGES:
        raise _wrong("缺少参数 images", f"image2image needs images, a list of 1 to {MAX_IMAGES} URLs", 40055)
    for url in images:
        if not _is_url(url):
            raise _wrong(
                "images 必须是 http(s) URL",
                "each of images has to be an http or https URL, quoted where need be",
                40056,
            )
    return tuple(images)


def _is_url(value: Any) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def told(shape: Shape, task_id: int, word: str, polls: int, made: Sequence[str], message: str) -> dict[str, Any]:
    """A result answer. `word` is pending, running, success or fail; `made` are the URLs, or for "data_uri" the URIs."""
    start: dict[str, Any] = {"task_id": task_id}
    if word == "fail":
        if shape == "enveloped":
            return _enveloped({**start, "status": "FAILED", "message": message})
        return {**start, "status": "failed", "message": message}
    if word != "success":
        match shape:
            case "enveloped":
                return _enveloped({**start, "status": "RUNNING", "result": None})
            case "unknown_word":
                return {**start, "status": "denoising"}
            case "url":
                return {**start, "status": "queued" if polls == 1 else "processing"}
        return {**start, "status": "processing"}
    match shape:
        case "enveloped":
            return _enveloped({**start, "status": "SUCCESS", "result": {"outputs": [{"url": url} for url in made]}})
        case "unknown_word":
            return {**start, "status": "completed", "output": list(made)}
        case "url":
            return {**start, "status": "Done", "url": made[0] if made else None}
        case "objects":
            rows = [{"type": "image", "output": url} for url in made]
            return {**start, "status": "success", "data": {"output": rows, "videos": []}}
    return {**start, "status": "succeeded", "images": list(made)}


def _enveloped(data: dict[str, Any]) -> dict[str, Any]:
    return {"code": 0, "msg": "success", "data": data}
