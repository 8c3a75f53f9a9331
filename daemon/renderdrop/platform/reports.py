"""What a poll says of a task, as a value; and the platform's usual form of it, read tolerantly. Pure.

Owns the words that every kind of task is reported in (`Report`) and the reading of the form that apps and native
graphs share (platform-api.md, sections 1 and 3). It must never decide what a report means for a job.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

from renderdrop.model.errors import Refused
from renderdrop.model.job import Level, Output, Remark
from renderdrop.platform.answers import Nonsense, number
from renderdrop.platform.data_uri import is_data_uri

MOST_OUTPUTS: Final = 10_000
"""Outputs taken from one answer: a sequence of single frames may well have thousands."""
MOST_REMARKS: Final = 100
LONGEST_TEXT: Final = 4_000
"""Characters of a node's warning or error; a traceback of Python fits."""
LONGEST_URL: Final = 8_000
"""Characters of an address; servers take no longer ones (RFC 9110, 4.1)."""
LONGEST_NAME: Final = 200
"""Characters of a node's id or title."""
MOST_STRANGE: Final = 20
_GONE: Final = ("404", "410")
_NO_SUCH: Final = re.compile(
    r"\b(not found|no such|(not|doesn't) exists?|unknown task|has been deleted)\b|不存在|未找到|找不到|已删除", re.ASCII
)

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


def names_no_task(refusal: Refused) -> bool:
    """Whether the refusal of a poll says that there is no such task (any more): by its status, by its code, or in
    words. Whatever else a platform may refuse with (it is busy, it is out of order) says nothing of the task."""
    status = str(refusal.http_status) in _GONE or refusal.code in _GONE
    return status or _NO_SUCH.search(refusal.message.casefold()) is not None


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
    node = title[:LONGEST_NAME] if isinstance(title, str) and title.strip() else None
    return percent(found.get("total_progress")), node


def percent(found: Any) -> float | None:
    """A number out of JSON as a percentage, bounded to 0 to 100; None for what is no number."""
    value = number(found)
    return None if value is None else min(100.0, max(0.0, value))


def read_outputs(found: Any, base_url: str, strange: list[str]) -> tuple[tuple[Output, ...], tuple[Remark, ...]]:
    """Media rows as outputs, warning and error rows as remarks, in their order; of neither more than anybody needs,
    whatever a server sends, and none of a length that fills logs or sidecars."""
    outputs: list[Output] = []
    remarks: list[Remark] = []
    if found is not None and not isinstance(found, list):
        strange.append(f"outputs that are no list but {type(found).__name__}")
    left_out = 0
    for row in found if isinstance(found, list) else []:
        if not isinstance(row, dict):
            strange.append("an output row that is no object")
            continue
        node_id, title = _text(row.get("id"), LONGEST_NAME), _text(row.get("title"), LONGEST_NAME)
        kind, value = _text(row.get("error_type"), LONGEST_NAME).strip().lower(), row.get("output")
        if kind in ("warning", "error"):
            remarks.append(Remark(Level(kind), _text(value) or f"({kind} without a text)", node_id, title))
        elif not isinstance(value, str) or not value.strip():
            strange.append(f"an output row of node {node_id[:40] or '?'} without a value")
        elif len(outputs) >= MOST_OUTPUTS or (len(value) > LONGEST_URL and not is_data_uri(value.strip())):
            left_out += 1
        else:
            if kind != "info":
                strange.append(f"error_type {kind[:40]!r}")
            outputs.append(Output(len(outputs), node_id, title, output_url(value.strip(), base_url)))
    if left_out:
        told = f"{left_out} outputs were left out: there were more than {MOST_OUTPUTS}, or their addresses are too long"
        remarks.insert(0, Remark(Level.WARNING, told, "", ""))
    del remarks[MOST_REMARKS:], strange[MOST_STRANGE:]
    return tuple(outputs), tuple(remarks)


def output_url(value: str, base_url: str) -> str:
    """Where an output is fetched: a full URL or a data: URI as it is, a path below the platform, else a bare name
    by /api/view."""
    if not value.isascii():
        # Half of a surrogate pair is in no name that a server has; it must not stop the reading of the others.
        value = value.encode("utf-8", "replace").decode()
    if value.startswith("/"):
        return base_url + value
    if is_data_uri(value) or "://" in value.split("?")[0]:
        return value
    return f"{base_url}/api/view?type=output&filename={quote(value, safe='')}"


def _text(value: Any, most: int = LONGEST_TEXT) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= most else text[: most - 1] + "…"
