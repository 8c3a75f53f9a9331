"""Logs: one line an event, readable on a terminal, one JSON object elsewhere.

Owns: the way of every log line from a call to the stream, ours and the libraries' alike. File names and
the platform's words come from strangers: no value can forge a line, turn the direction of a text or
break the encoding, and the token is replaced wherever it appears. It must never raise because of what
is logged, nor because the stream is gone: a daemon does not die of its log.
"""

import json
import logging
import sys
import threading
import traceback
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from renderdrop.model.errors import Fault
from renderdrop.model.mask import MASKED, Mask
from renderdrop.model.names import shown
from renderdrop.runtime.events import EVENTS

FORMATS: Final = ("auto", "console", "json")
_FIRST: Final = ("ts", "level", "event", "route", "job", "task")
_FRAMES: Final = 12
_DEEPEST: Final = 8
_LONGEST: Final = 4_000
"""Characters of one text in a line."""
_MOST: Final = 200
"""Members of a list that are told: a job may have thousands of outputs."""
_harmless: "_Harmless | None" = None


def configure(log_format: str, stream: TextIO, redact: str | None) -> None:
    """Send every log line to `stream` from now on; may be called again.

    `log_format` is "console", "json" or "auto" (console on a terminal, JSON lines elsewhere).
    `redact` is a text, the token, that is written as `[token]` wherever it would appear.
    """
    if log_format not in FORMATS:
        raise ValueError(f"{log_format!r} is no log format; use one of {', '.join(FORMATS)}")
    global _harmless
    _harmless = _Harmless(redact)
    terminal = _is_terminal(stream)
    console = log_format == "console" or (log_format == "auto" and terminal)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%fZ", utc=True, key="ts"),
            _known_event,
            _exception_in_words,
            _harmless,
            _in_order,
            _console(colors=terminal) if console else _json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Steady(stream))),
        cache_logger_on_first_use=False,
    )
    logging.captureWarnings(True)  # a library's warning is a log line as well, not a stray one on stderr
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Libraries)]:
        root.removeHandler(handler)
    root.addHandler(_Libraries())
    root.setLevel(logging.WARNING)


def heed_threads() -> None:
    """From now on what ends a thread, a library's too, is one line of the log and no bare trace beside it."""
    threading.excepthook = _thread_ended


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread is not None else "a thread"
    structlog.get_logger().error("unforeseen_error", work=f"thread {name}", exc_info=ended.exc_value)


def hide(secret: str) -> None:
    """From now on write `[token]` for this one as well: the token was renewed."""
    if _harmless is not None:
        _harmless.hide(secret)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return json.dumps(event, ensure_ascii=False, default=str)


def _console(colors: bool) -> Processor:
    # What comes here is harmless already, so a plain formatter of exceptions never has work.
    return structlog.dev.ConsoleRenderer(
        colors=colors, sort_keys=False, timestamp_key="ts", pad_event_to=20, exception_formatter=lambda *_: None
    )


def _known_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if event.get("event") not in EVENTS:
        event["unlisted_event"] = True
    return event


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Fixed keys first; the time of day in milliseconds, which is as fine as anybody compares logs."""
    event["ts"] = event["ts"][:23] + "Z"
    return {key: event[key] for key in _FIRST if key in event} | dict(event)


def _exception_in_words(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """`exc_info` becomes `error`, class and message on one line; what nobody foresaw brings its trace."""
    given = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else given
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        leaves = _leaves(error)
        event["error"] = "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves)
        unforeseen = [leaf for leaf in leaves if not isinstance(leaf, Fault)]
        if unforeseen:
            event["traceback"] = _trace(unforeseen[0])
    return event


def _leaves(error: BaseException, depth: int = 0) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup) and depth < _DEEPEST:
        return [leaf for inner in error.exceptions for leaf in _leaves(inner, depth + 1)]
    return [error]


def _trace(error: BaseException) -> str:
    """The way to the fault on one line, outermost first: `app.py:41 run > sweep.py:88 look`."""
    steps = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    trace = " > ".join(f"{_short(step.filename)}:{step.lineno} {step.name}" for step in steps)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"{trace} (after {type(cause).__name__}: {cause})" if cause is not None else trace


def _short(filename: str) -> str:
    """A module's path from its package on: where it is installed says nothing about the fault."""
    parts = filename.split("/")
    for root in ("site-packages", "daemon"):
        if root in parts:
            return "/".join(parts[parts.index(root) + 1 :])
    return parts[-1]


class _Harmless:
    """Every text escaped and without the token; everything else in types that JSON knows."""

    def __init__(self, secret: str | None) -> None:
        self._secret = secret
        self._mask = Mask(secret or "")

    def hide(self, secret: str) -> None:
        """A renewed token as well."""
        self._mask.add(secret)

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        # A very short secret must not break the words that every line has.
        return {key if key in _FIRST else self._text(key): self._value(value, 0) for key, value in event.items()}

    def _value(self, value: object, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        # JSON has neither infinities nor NaN, and few readers take larger integers.
        if isinstance(value, (int, float)) and type(value) in (int, float) and abs(value) < 2**63:
            return value
        if depth < _DEEPEST:
            if isinstance(value, Mapping):
                return {self._text(str(key)): self._value(inner, depth + 1) for key, inner in value.items()}
            if isinstance(value, (list, tuple, set, frozenset)):
                told = [self._value(inner, depth + 1) for inner in islice(value, _MOST)]
                return [*told, f"and {len(value) - _MOST} more"] if len(value) > _MOST else told
        return self._text(_spoken(value))

    def _text(self, text: str) -> str:
        if self._secret:
            text = text.replace(self._secret, MASKED)
        # Masked before it is cut: what a cut leaves of a token would not be known again.
        text = shown(self._mask.text(text)[: _LONGEST + 1])
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _spoken(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001  # a value that cannot be told must not cost the line
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


class _Steady:
    """A stream that swallows what cannot be written: a full disk or a closed pipe is no reason to stop rendering."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:
            return self._again(text)
        except (OSError, ValueError):
            return 0

    def _again(self, text: str) -> int:
        encoding = getattr(self._stream, "encoding", None) or "ascii"
        try:
            return self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError):
            return 0

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            pass


class _Libraries(logging.Handler):
    """The standard library's logging, from WARNING on, through the same lines as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  # wrong arguments are the library's mistake; its words are worth having
            message = str(record.msg)
        level: Literal["warning", "error", "critical"] = "warning"
        if record.levelno >= logging.CRITICAL:
            level = "critical"
        elif record.levelno >= logging.ERROR:
            level = "error"
        exception = {"exc_info": record.exc_info} if record.exc_info else {}
        getattr(structlog.get_logger(), level)("library", logger=record.name, message=message, **exception)
