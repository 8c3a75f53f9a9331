"""Third-party models: submit a wish, ask after its result (platform-api.md, section 4).

Owns the form of the two calls; the table of types is `model.route`'s. How a result's answer is read stands in
`model_result`: the platform's page shows none. What the end of a submission is called is `submission`'s.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from renderdrop.model.errors import Refused
from renderdrop.model.route import MODEL_TYPES
from renderdrop.platform.answers import TEXTS, Answer, opened, told
from renderdrop.platform.client import Client
from renderdrop.platform.model_result import FAILURES, read_result
from renderdrop.platform.reports import Report
from renderdrop.platform.submission import BeforeLast, JsonBody, submit_once, task_id

GENERATE: Final = "/openapi/v1/generate/"
RESULT: Final = "/openapi/v1/generate/result/"
RESULT_CAP: Final = 48 * 2**20
"""Bytes of a result's answer: pictures may come inside it, as data: URIs."""


def path(type: str) -> str:
    """Where a model of this type, one of MODEL_TYPES, is asked."""
    return GENERATE + MODEL_TYPES[type].makes


async def submit(
    client: Client,
    provider: str,
    model: str,
    type: str,
    parameters: Mapping[str, Any],
    before_last: BeforeLast,
    now: datetime,
) -> str:
    """Submit once, `type` being one of MODEL_TYPES; returns the task's id. Raises Refused, Busy, Temporary, Unknown,
    PlatformDown, or what `before_last` raised (then the request never left whole)."""
    wish = {"model": {"provider": provider, "model": model, "type": type}, "parameters": dict(parameters)}
    body = JsonBody(wish, before_last)
    return await submit_once(client, path(type), body, lambda answer: _taken(answer, now))


async def ask(client: Client, task: str, now: datetime) -> Report:
    """One poll. Raises Busy, Temporary, Refused or PlatformDown; none of them says anything of the task."""
    answer = await client.get(RESULT + quote(task, safe=""), RESULT_CAP)
    return read_result(opened(answer, now), client.base_url)


def _taken(answer: Answer, now: datetime) -> str:
    """The id of the accepted task. A bare answer without one that calls itself failed is a refusal, like an
    envelope's; any other is Nonsense, after which nobody knows."""
    found = opened(answer, now)
    inner = found.get("data") if isinstance(found, dict) and "task_id" not in found else None
    place = inner if isinstance(inner, dict) else found
    word = place.get("status") if isinstance(place, dict) and place.get("task_id") is None else None
    if isinstance(word, str) and word.strip().lower() in FAILURES:
        text = next((text for key in TEXTS if (text := told(place.get(key)))), "")
        raise Refused(text or f"status {word.strip()}, no message", word.strip().lower(), answer.status)
    return task_id(place)
