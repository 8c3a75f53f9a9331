"""Judges an app's form: what its parts mean to a workflow, and whether it takes them.

Owns: the rules of parameters, scalars and media classes. Pure: the parts are off the wire already (`intake.py`).
"""

import math
import re
from dataclasses import dataclass
from typing import Final

from renderdrop.sandbox.intake import Part, Refusal
from renderdrop.sandbox.tasks import Upload
from renderdrop.sandbox.workflows import FILE_KINDS, Parameter, WorkflowSpec

_INT: Final = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Submission:
    """A form that the platform understands."""

    workflow_id: str
    version_id: str
    cluster: str
    fields: dict[str, str]
    files: tuple[Upload, ...]


def workflow_of(parts: list[Part]) -> str:
    """The form's workflow_id. Raises Refusal for repeated parts and where it is missing."""
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise Refusal(40015, f"参数 {name} 重复", f"the part {name} is there more than once")
    return _required(parts, "workflow_id")


def judge(parts: list[Part], workflow_id: str, spec: WorkflowSpec) -> Submission:
    """What the parts mean to this workflow. Raises Refusal."""
    cluster = _required(parts, "cluster_name")
    version = _required(parts, "version_id") if any(part.name == "version_id" for part in parts) else ""
    fields: dict[str, str] = {}
    files: list[Upload] = []
    for part in parts:
        if part.name in {"workflow_id", "cluster_name", "version_id"}:
            continue
        parameter = spec.parameters.get(part.name)
        if parameter is None:
            raise Refusal(40016, f"未知参数 {part.name}", f"workflow {workflow_id} has no parameter {part.name}")
        if part.upload is None:
            fields[part.name] = _fits(part.name, part.value, parameter)
        else:
            files.append(_matches(part.upload, parameter))
    sent = fields.keys() | {upload.name for upload in files}
    for name, parameter in spec.parameters.items():
        if not parameter.optional and name not in sent:
            raise Refusal(40017, f"缺少参数 {name}", f"the parameter {name} is missing")
    return Submission(workflow_id, version, cluster, fields, tuple(files))


def _required(parts: list[Part], name: str) -> str:
    part = next((part for part in parts if part.name == name), None)
    if part is None or part.upload is not None or not part.value:
        raise Refusal(40018, f"缺少参数 {name}", f"{name} is required, as a plain part that is not empty")
    return part.value


def _fits(name: str, value: str, parameter: Parameter) -> str:
    if parameter.kind in FILE_KINDS:
        raise Refusal(40019, f"参数 {name} 应为文件", f"{name} must be a file part, not a plain one")
    if parameter.kind == "int" and not _INT.fullmatch(value):
        raise Refusal(40020, f"参数 {name} 应为整数", f"{name} must be a whole number")
    if parameter.kind == "float" and not _is_number(value):
        raise Refusal(40020, f"参数 {name} 应为数字", f"{name} must be a number")
    return value


def _is_number(value: str) -> bool:
    try:
        return value == value.strip() and "_" not in value and math.isfinite(float(value))
    except ValueError:
        return False


def _matches(upload: Upload, parameter: Parameter) -> Upload:
    if parameter.kind not in FILE_KINDS:
        raise Refusal(40021, f"参数 {upload.name} 不应为文件", f"{upload.name} must be a plain part, not a file")
    if parameter.kind not in ("any", upload.media):
        raise Refusal(
            40022, f"文件 {upload.name} 类型错误", f"{upload.name} takes {parameter.kind}/…, not {upload.content_type}"
        )
    return upload
