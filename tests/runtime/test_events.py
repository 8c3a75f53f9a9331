"""The program logs no event that the list does not explain."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import renderdrop
from renderdrop.runtime.events import EVENTS

ROOT = Path(renderdrop.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
NOT_OURS = {"sandbox"}  # the platform's stand-in keeps its own log


def test_every_logged_event_is_in_the_list() -> None:
    unknown = []
    for path in sorted(ROOT.rglob("*.py")):
        inside = path.relative_to(ROOT)
        if inside.parts[0] in NOT_OURS:
            continue
        tree = ast.parse(path.read_text("utf-8"))
        for call in _log_calls(tree):
            names = list(_names(call.args[0], tree)) if call.args else []
            wrong = [name for name in names if not any(re.fullmatch(name, event) for event in EVENTS)]
            if wrong or not names:
                unknown.append(f"{inside}:{call.lineno} {wrong or 'no name in sight'}")
    assert unknown == [], "add them to runtime/events.py"


def test_every_event_has_a_plain_name_and_one_sentence() -> None:
    for name, sentence in EVENTS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
        assert sentence.endswith(".")


def test_the_reader_of_names_sees_through_the_ways_they_are_written() -> None:
    code = """
event = {1: "b", 2: "c"}.get(state, "d")
log.info("a"); log.bind(x=1).warning(event); self._log.error(f"{reach}_waits")
log.info("e" if late else "f"); bound.exception(other); math.log(5); text.info("no")
"""
    tree = ast.parse(code)
    assert [sorted(_names(call.args[0], tree)) for call in _log_calls(tree)] == [
        ["a"], ["b", "c", "d"], [".+_waits"], ["e", "f"], [],
    ]  # fmt: skip


def _log_calls(tree: ast.AST) -> list[ast.Call]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    ours = [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr in LEVELS and _is_log(c.func.value)]
    return sorted(ours, key=lambda call: (call.lineno, call.col_offset))


def _is_log(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):  # log.bind(…)
        return isinstance(node.func, ast.Attribute) and _is_log(node.func.value)
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name == "bound" or name.endswith("log")


def _names(node: ast.expr, tree: ast.AST) -> Iterator[str]:
    """The names that an expression can be, as patterns."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield re.escape(node.value)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(re.escape(str(p.value)) if isinstance(p, ast.Constant) else ".+" for p in node.values)
    elif isinstance(node, ast.IfExp):
        yield from _names(node.body, tree)
        yield from _names(node.orelse, tree)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from _names(value, tree)
    elif isinstance(node, ast.Subscript):
        yield from _names(node.value, tree)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        for part in (node.func.value, *node.args[1:]):
            yield from _names(part, tree)
    elif isinstance(node, ast.Name):
        for assigned in ast.walk(tree):
            if isinstance(assigned, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == node.id for target in assigned.targets
            ):
                yield from _names(assigned.value, tree)
