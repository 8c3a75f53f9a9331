"""What a task that came to nothing says, as one sentence. Pure."""

from collections.abc import Sequence
from typing import Final

from renderdrop.model.job import Level
from renderdrop.model.names import shown
from renderdrop.platform.reports import Report

_LONGEST_REASON: Final = 2_000
"""Characters of what a failed task said that a person is told at once."""


def failure(report: Report) -> str:
    """One sentence out of what a failed task said."""
    texts = [shown(r.message) for r in report.remarks if r.level is Level.ERROR]
    return f"the platform could not render it: {_joined(texts)}" if texts else "the platform says the task failed"


def no_media(report: Report) -> str:
    """The same of one that succeeded and gave nothing."""
    texts = _joined([shown(r.message) for r in report.remarks])
    return "the platform says the task succeeded, but it gave no media file" + (f": {texts}" if texts else "")


def _joined(texts: Sequence[str]) -> str:
    """All of them as far as a sentence goes; the sidecar has them whole."""
    text = "; ".join(texts)
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"
