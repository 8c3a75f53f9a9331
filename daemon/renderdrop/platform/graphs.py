"""Native ComfyUI calls: upload an input, submit a graph, ask after its task (platform-api.md, section 3).

Owns the form of the three calls, and the one guess about wording that the platform forces on us: whether a text
says that an uploaded input is no longer there. Which graph is sent with which values is the callers' business.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from renderdrop.platform.answers import Nonsense, data
from renderdrop.platform.client import Client
from renderdrop.platform.multipart import FilePart, Multipart
from renderdrop.platform.reports import Report, read_report
from renderdrop.platform.submission import BeforeLast, JsonBody, submit_once, task_id

UPLOAD: Final = "/openapi/v1/workflow/upload/file"
SUBMIT: Final = "/openapi/v1/workflow/task/submit"
TASK: Final = "/openapi/v1/workflow/task/"


async def upload(client: Client, part: FilePart, before_last: BeforeLast, now: datetime) -> str:
    """Upload one input, under whatever name `part` has in its own form; returns the name by which a graph refers to
    it. An upload costs nothing, so a lost answer is Temporary and never Unknown. Raises Refused, Busy, Temporary
    (Nonsense among them), PlatformDown, or what the file's stream or `before_last` raised."""
    body = Multipart({}, [replace(part, name="file")], before_last)
    found = data(await client.post(UPLOAD, body.body(), body.headers), now)
    name = found.get("filename") if isinstance(found, dict) else None
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_FILENAME:
        raise Nonsense("the platform took the upload but gave no name for it")
    return name


async def submit(
    client: Client, graph: Mapping[str, Any], cluster: str, before_last: BeforeLast, now: datetime
) -> str:  # fmt: skip
    """Submit once; returns the task's id. Raises Refused, Busy, Temporary, Unknown, PlatformDown, or what
    `before_last` raised (then the request never left whole)."""
    body = JsonBody({"parameters": {"prompt": graph}, "cluster_name": cluster}, before_last)
    return await submit_once(client, SUBMIT, body, lambda answer: task_id(data(answer, now)))


async def ask(client: Client, task: str, now: datetime) -> Report:
    """One poll. Raises Busy, Temporary, Refused or PlatformDown; none of them says anything of the task."""
    return read_report(data(await client.get(TASK + quote(task, safe="")), now), client.base_url)


_LONGEST_FILENAME: Final = 1_000
"""Characters of the name that the platform gives to an upload; a longer one is none."""
_LOST_FOR_SURE: Final = re.compile(r"\binvalid (image|video|audio) file\b", re.ASCII)
"""ComfyUI's own words where LoadImage and its kin find no such file (`VALIDATE_INPUTS`)."""
_LOST: Final = re.compile(
    r"\bno such file\b|\bfilenotfounderror\b|\bnot found\b|\b(does not|doesn't) exist\b|\bmissing\b"
    r"|不存在|未找到|找不到|丢失|缺失",
    re.ASCII,
)
_INPUT: Final = re.compile(
    r"\b(inputs?|uploads?|uploaded|files?|filename|images?|videos?|audios?)\b|输入|文件|图片|图像|视频|音频", re.ASCII
)
_SOMETHING_ELSE: Final = re.compile(
    r"\.(safetensors|ckpt|pth?|gguf|bin|onnx|py|so)\b|\b(models?|checkpoints?|ckpt_name|loras?|vae|unet|clip_name|nodes?"
    r"|class_type|workflows?|modules?)\b|required input|模型|节点|工作流|必填",
    re.ASCII,
)  # fmt: skip


def names_missing_input(message: str, filenames: Collection[str]) -> bool:
    """Whether the text of a refusal or of a failure says that an uploaded input is not there (any more).

    It does when it holds one of `filenames` (the names that the platform gave to our uploads, each as a whole word),
    or when one of its lines has a typical wording: "Invalid image file"; "No such file", "not found", "does not
    exist", "missing", 不存在 and the like together with a word for an input (input, file, image, 输入, 文件, 图片 …).
    Conservative: a line that speaks of a model, a node, a workflow or a required input does not count without a
    file's name; there another upload would not help. A wrong yes costs one upload, a wrong no a person's look.
    """
    text = message.casefold()
    if any(_holds(text, name.casefold()) for name in filenames if name.strip()):
        return True
    return any(
        _LOST_FOR_SURE.search(line) or (_LOST.search(line) and _INPUT.search(line) and not _SOMETHING_ELSE.search(line))
        for line in text.splitlines()
    )


def _holds(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text) is not None
