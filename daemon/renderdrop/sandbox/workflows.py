"""The workflows that the sandbox knows: what each takes, and what it answers.

Owns: the words parameter, row and workflow, and the table KNOWN. A workflow is data alone, so that a
test can register one that answers anything (`SandboxOptions.workflows`). Must never render or serve.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["image", "video", "audio", "any", "text", "int", "float"]
FILE_KINDS: Final = frozenset({"image", "video", "audio", "any"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an app: a file of a media class ("any": of any), or a scalar."""

    kind: Kind
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a finished task's `outputs`.

    An `info` row is a file made from the parameter `source`: a changed picture ("png", "jpg") or the
    "same" bytes; it is left out where that parameter was not sent. "drawn" needs no source: it is a new picture
    that shows the scalar parameters. Other rows carry `text`.
    """

    node_id: str
    title: str
    error_type: Literal["info", "warning", "error"] = "info"
    text: str = ""
    source: str = ""
    make: Literal["png", "jpg", "same", "drawn"] = "same"
    ending: str = ""
    """The output's extension where `make` is "same" or "drawn"; "": the source's own, or ".png"."""
    filename: str = ""
    """The output's name, exactly ("{task}" stands for the task's id), for names that no server should send."""


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """An app of the platform: parameters by name, rows in the order they are answered."""

    title: str
    parameters: Mapping[str, Parameter]
    rows: tuple[Row, ...] = ()
    ends: Literal["success", "fail"] = "success"

    def draws(self, name: str) -> bool:
        """Whether the file of this parameter has to be a picture that can be opened."""
        return any(row.source == name and row.make != "same" for row in self.rows)


_PICTURE: Final[Mapping[str, Parameter]] = {
    "input_image": Parameter("image"),
    "prompt": Parameter("text", optional=True),
    "seed": Parameter("int", optional=True),
    "strength": Parameter("float", optional=True),
}

KNOWN: Final[Mapping[str, WorkflowSpec]] = {
    "1234": WorkflowSpec(
        "a picture, repainted",
        _PICTURE,
        (Row("9", "Save Image 保存图像", source="input_image", make="png"),),
    ),
    "88": WorkflowSpec(
        "a person of a picture dances as in a video (the video comes back unchanged)",
        {
            "input_image": Parameter("image"),
            "input_video": Parameter("video"),
            "mask": Parameter("image", optional=True),
        },
        (Row("81", "Video Combine 🎥🅥🅗🅢", source="input_video"),),
    ),
    "video": WorkflowSpec(
        "a video, passed through unchanged",
        {"input_video": Parameter("video")},
        (Row("81", "Video Combine 🎥🅥🅗🅢", source="input_video"),),
    ),
    "any": WorkflowSpec(
        "any file, passed through unchanged",
        {"input_file": Parameter("any")},
        (Row("12", "Pass Through", source="input_file"),),
    ),
    "several": WorkflowSpec(
        "a picture; answers three media, a warning and an error",
        _PICTURE,
        (
            Row("9", "Save Image 保存图像", source="input_image", make="png"),
            Row("10", "Save JPEG", source="input_image", make="jpg"),
            Row("40", "Image Scale", "warning", "图像尺寸不是 8 的倍数,已自动裁剪 (size is no multiple of 8: cropped)"),
            Row("81", "Video Combine 🎥🅥🅗🅢", source="input_image", ending=".mp4"),
            Row("55", "Face Detailer", "error", "未检测到人脸 (no face was found)"),
        ),
    ),
    "text": WorkflowSpec(
        "a text, drawn as a picture",
        {"prompt": Parameter("text"), "seed": Parameter("int", optional=True)},
        (Row("9", "Save Image 保存图像", make="drawn"),),
    ),
    "styled": WorkflowSpec(
        "a picture, repainted in the style of another one",
        {**_PICTURE, "style": Parameter("image"), "mask": Parameter("image", optional=True)},
        (Row("9", "Save Image 保存图像", source="input_image", make="png"),),
    ),
    "silent": WorkflowSpec("a picture; succeeds without any media", _PICTURE),
    "fails": WorkflowSpec(
        "a picture; the task fails",
        _PICTURE,
        (Row("3", "KSampler", "error", "显存不足,渲染失败 (out of GPU memory)"),),
        ends="fail",
    ),
}
