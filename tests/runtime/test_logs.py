"""Log lines: one event a line, whatever the names of files and the words of strangers are."""

import io
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model.errors import Temporary
from renderdrop.runtime.logs import configure, heed_threads

TOKEN = "AI-0123456789"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _leave_the_loggers_as_they_were() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if not type(handler).__module__.startswith("renderdrop.")]
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_fixed_keys_first() -> None:
    stream = io.StringIO()
    configure("json", stream, None)
    log = structlog.get_logger().bind(task="230", job="01abc")
    log.info("job_submitted", cluster="GPU-4090", route="portrait", size=12, whole=True, progress=0.5, note=None)
    [line] = written(stream)
    assert list(line)[:6] == ["ts", "level", "event", "route", "job", "task"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("ts"))
    assert line == {
        "level": "info", "event": "job_submitted", "route": "portrait", "job": "01abc", "task": "230",
        "cluster": "GPU-4090", "size": 12, "whole": True, "progress": 0.5, "note": None,
    }  # fmt: skip


def test_values_bound_to_the_context_are_told() -> None:
    stream = io.StringIO()
    configure("json", stream, None)
    structlog.contextvars.bind_contextvars(job="01abc")
    structlog.get_logger().info("job_queued")
    assert written(stream)[0]["job"] == "01abc"


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("json", Terminal(), True),
        ("console", io.StringIO(), False),
    ],
)
def test_auto_is_for_people_on_a_terminal_and_for_programs_elsewhere(
    log_format: str, stream: io.StringIO, is_json: bool
) -> None:
    configure(log_format, stream, None)
    structlog.get_logger().info("job_queued", path="猫.png")
    assert stream.getvalue().startswith("{") == is_json
    assert "猫.png" in stream.getvalue()
    assert ("\x1b[" in stream.getvalue()) == (isinstance(stream, Terminal) and not is_json)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_file_name_cannot_forge_a_line_or_turn_the_text(log_format: str) -> None:
    stream = io.StringIO()
    configure(log_format, stream, None)
    name = 'a\n{"event": "forged"}\r\x1b[2Jb\u202egnp.exe\u2028\udcff猫🎬.png'
    structlog.get_logger().info("job_queued", path=name, **{"key\nforged": 1})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert not set(text) & set("\r\x1b\u202e\u2028\udcff")
    assert "猫🎬.png" in text
    text.encode()


@given(st.text(st.characters(codec=None), max_size=40))
def test_any_text_stays_on_its_line_and_can_be_encoded(name: str) -> None:
    for log_format in ("json", "console"):
        stream = io.StringIO()
        configure(log_format, stream, None)
        structlog.get_logger().warning("job_failed", path=name, parts=[name], by={name: name}, file=Path("x"))
        assert len(stream.getvalue().splitlines()) == 1
        stream.getvalue().encode()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_the_token_is_replaced_wherever_it_appears(log_format: str) -> None:
    stream = io.StringIO()
    configure(log_format, stream, TOKEN)
    log = structlog.get_logger()
    log.info("job_queued", note=f"Bearer {TOKEN}", deep=[{"a": (TOKEN,)}], raw=TOKEN.encode(), **{TOKEN: 1})
    try:
        raise RuntimeError(f"sent {TOKEN}") from ValueError(TOKEN)
    except RuntimeError:
        log.exception("unforeseen_error")
    logging.getLogger("httpx").warning("header %s", TOKEN)
    assert TOKEN not in stream.getvalue()
    assert stream.getvalue().count("[token]") >= 7


def test_a_foreseen_fault_is_one_sentence_and_an_unforeseen_one_brings_its_trace() -> None:
    stream = io.StringIO()
    configure("json", stream, None)
    log = structlog.get_logger()
    for error in (Temporary("the platform is slow"), KeyError("x\ny")):
        try:
            raise error
        except Exception as caught:
            log.error("unforeseen_error", exc_info=caught)
    foreseen, unforeseen = written(stream)
    assert foreseen["error"] == "Temporary: the platform is slow"
    assert "traceback" not in foreseen
    assert unforeseen["error"].startswith("KeyError: ")
    assert re.fullmatch(r"test_logs\.py:\d+ test_a_foreseen\w+", unforeseen["traceback"])
    assert "exc_info" not in unforeseen


def test_a_group_of_errors_tells_each_of_them() -> None:
    stream = io.StringIO()
    configure("json", stream, None)
    group = ExceptionGroup("both", [Temporary("one"), ExceptionGroup("inner", [ValueError("two")])])
    structlog.get_logger().error("unforeseen_error", exc_info=group)
    assert written(stream)[0]["error"] == "Temporary: one; ValueError: two"


def test_what_json_does_not_know_is_told_as_text() -> None:
    class Level(IntEnum):
        HIGH = 3

    class Mute:
        def __str__(self) -> str:
            raise RuntimeError

    stream = io.StringIO()
    configure("json", stream, None)
    structlog.get_logger().info(
        "job_queued", a=float("nan"), b=float("-inf"), c=Level.HIGH, d=Mute(), e=10**5000, f=Path("/x"), g={1: {2}}
    )
    [line] = written(stream)
    assert (line["a"], line["b"], line["c"], line["f"], line["g"]) == ("nan", "-inf", "3", "/x", {"1": [2]})
    assert "Mute that cannot be shown" in line["d"]
    assert isinstance(line["e"], str)


def test_a_value_that_holds_itself_does_not_hang_the_log() -> None:
    stream = io.StringIO()
    configure("json", stream, None)
    circle: list[object] = []
    circle.append(circle)
    structlog.get_logger().info("job_queued", value=circle)
    assert len(written(stream)) == 1


def test_libraries_warnings_take_the_same_way_and_their_chatter_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    configure("json", stream, None)
    configure("json", stream, None)  # again, as after a reload: nothing is told twice
    logging.getLogger("httpx").info("HTTP Request: GET …")
    logging.getLogger("watchdog.observers").warning("queue %s\nfull", 7)
    with monkeypatch.context() as alone:
        # pytest's own handlers raise on a library's wrong arguments; ours may not.
        root = logging.getLogger()
        ours = [handler for handler in root.handlers if type(handler).__module__.startswith("renderdrop.")]
        alone.setattr(root, "handlers", ours)
        logging.getLogger("apscheduler").critical("%d", "no number")
    try:
        raise ValueError("late")
    except ValueError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    warning, critical, error = written(stream)
    assert (warning["event"], warning["logger"], warning["level"]) == ("library", "watchdog.observers", "warning")
    assert warning["message"] == "queue 7\\nfull"
    assert (critical["level"], critical["message"]) == ("critical", "%d")
    assert (error["level"], error["error"]) == ("error", "ValueError: late")


def test_an_event_outside_the_list_is_marked() -> None:
    stream = io.StringIO()
    configure("json", stream, None)
    structlog.get_logger().info("made_up")
    structlog.get_logger().info("job_queued")
    assert ["unlisted_event" in line for line in written(stream)] == [True, False]


def test_debug_lines_are_not_written() -> None:
    stream = io.StringIO()
    configure("json", stream, None)
    structlog.get_logger().debug("clusters_seen")
    assert stream.getvalue() == ""


def test_a_narrow_encoding_costs_letters_and_not_the_line() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    configure("json", stream, None)
    structlog.get_logger().info("job_queued", path="猫")
    stream.flush()
    assert b"\\u732b" in raw.getvalue()
    assert raw.getvalue().endswith(b"\n")


def test_a_stream_that_is_gone_does_not_stop_the_program() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    closed = io.StringIO()
    closed.close()
    for stream in (Full(), closed):
        configure("auto", stream, None)
        structlog.get_logger().error("unforeseen_error")


def test_a_format_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no log format"):
        configure("xml", sys.stderr, None)


def test_a_thread_that_dies_is_one_line_of_the_log(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # put back at the end
    stream = io.StringIO()
    configure("json", stream, TOKEN)
    heed_threads()

    def dies() -> None:
        raise RecursionError(f"too deep\n{TOKEN}")

    thread = threading.Thread(target=dies, name="reader")
    thread.start()
    thread.join()
    [line] = written(stream)
    assert (line["event"], line["work"]) == ("unforeseen_error", "thread reader")
    assert line["error"].startswith("RecursionError: too deep")
    assert TOKEN not in stream.getvalue()
    assert capfd.readouterr().err == ""
