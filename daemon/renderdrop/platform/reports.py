"""What a poll says of a task, as a value; and the platform's usual form of it, read tolerantly. Pure.

Owns the words that every kind of task is reported in (`Report`) and the reading of the form that apps and native
graphs share (platform-api.md, sections 1 and 3). It must never decide what a report means for a job.
"""

from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from renderdrop.model.job import Level, Output, Remark
from renderdrop.platform.answers import Nonsense, number
from renderdrop.platform.data_uri import is_data_uri

Status = Literal["pending", "running", "success", "fail"]


@dataclass(frozen=True, slots=True)
class Report:
    """What a poll says. `strange` names what was not understood, to be logged."""

    status: Status
    progress: float | None
    node: str | None
    outputs: tuple[Output, ...]
    remarks: tuple[Remark, ...]
    strange: tuple[str, ...]


def read_report(found: Any, base_url: str) -> Report:
    """A poll's `data` as a report, as tolerantly as platform-api.md asks. Raises Nonsense without a status word."""
    if not isinstance(found, dict) or not isinstance(found.get("status"), str):
        raise Nonsense("the platform's answer about the task has no status")
    strange: list[str] = []
    word = found["status"].strip().lower()
    status: Status = "running"
    if word in ("pending", "running", "success", "fail"):
        status = word
    else:
        strange.append(f"status {found['status'][:40]!r}")
    progress, node = read_progress(found.get("progress"))
    outputs, remarks = read_outputs(found.get("outputs"), base_url, strange)
    return Report(status, progress, node, outputs, remarks, tuple(strange))


def read_progress(found: Any) -> tuple[float | None, str | None]:
    """Percentage (0 to 100) and the title of the node at work; None for what is missing."""
    if not isinstance(found, dict):
        return None, None
    current = found.get("curr_node")
    title = current.get("title") if isinstance(current, dict) else None
    return percent(found.get("total_progress")), title if isinstance(title, str) and title.strip() else None


def percent(found: Any) -> float | None:
    """A number out of JSON as a percentage, bounded to 0 to 100; None for what is no number."""
    value = number(found)
    return None if value is None else min(100.0, max(0.0, value))


def read_outputs(found: Any, base_url: str, strange: list[str]) -> tuple[tuple[Output, ...], tuple[Remark, ...]]:
    """Media rows as outputs, warning and error rows as remarks, in their order."""
    outputs: list[Output] = []
    remarks: list[Remark] = []
    if found is not None and not isinstance(found, list):
        strange.append(f"outputs that are no list but {type(found).__name__}")
    for row in found if isinstance(found, list) else []:
        if not isinstance(row, dict):
            strange.append("an output row that is no object")
            continue
        node_id, title = _text(row.get("id")), _text(row.get("title"))
        kind, value = _text(row.get("error_type")).strip().lower(), row.get("output")
        if kind in ("warning", "error"):
            remarks.append(Remark(Level(kind), _text(value) or f"({kind} without a text)", node_id, title))
        elif isinstance(value, str) and value.strip():
            if kind != "info":
                strange.append(f"error_type {kind[:40]!r}")
            outputs.append(Output(len(outputs), node_id, title, output_url(value.strip(), base_url)))
        else:
            strange.append(f"an output row of node {node_id or '?'} without a value")
    return tuple(outputs), tuple(remarks)


def output_url(value: str, base_url: str) -> str:
    """Where an output is fetched: a full URL or a data: URI as it is, a path below the platform, else a bare name
    by /api/view."""
    if is_data_uri(value) or "://" in value.split("?")[0]:
        return value
    if value.startswith("/"):
        return base_url + value
    return f"{base_url}/api/view?type=output&filename={quote(value, safe='')}"


def _text(value: Any) -> str:
    return "" if value is None else str(value)
