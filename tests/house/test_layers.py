"""The house is built as it says: floors, one room a thing, short files, every door with a name plate."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import renderdrop

ROOT = Path(renderdrop.__file__).parent
REPOSITORY = ROOT.parents[1]
MODULES = sorted(ROOT.rglob("*.py"))
MIGRATIONS = ROOT / "ledger" / "migrations"
"""Their doors are Alembic's, and mean the same in every one of them."""
SANDBOX = ROOT / "sandbox"
LONGEST = 400
Door = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_floors_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(linter), "--no-cache", "--config", "pyproject.toml"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [p for p in MODULES if p.read_text("utf-8").strip()], ids=name_of)
def test_a_module_says_what_it_is_for_and_is_short(path: Path) -> None:
    text = path.read_text("utf-8")
    said = ast.get_docstring(ast.parse(text))
    assert said, "a module docstring says what the module owns"
    assert said.endswith((".", ".)")) or "\n" in said
    assert len(text.splitlines()) <= LONGEST


def doors(tree: ast.Module) -> Iterator[tuple[str, Door]]:
    """Public functions and classes of a module, and what is public in such a class."""
    for node in tree.body:
        if isinstance(node, Door) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, Door) and not inner.name.startswith("_") and not _speaks_for_itself(inner):
                        yield f"{node.name}.{inner.name}", inner


def _speaks_for_itself(node: Door) -> bool:
    """A property of one line, a protocol's method, or one that an outer class has described already."""
    marks = {ast.unparse(mark) for mark in node.decorator_list}
    short = len(node.body) == 1
    return short or bool(marks & {"override", "overload"})


@pytest.mark.parametrize(
    "path", [p for p in MODULES if not (p.is_relative_to(SANDBOX) or p.is_relative_to(MIGRATIONS))], ids=name_of
)
def test_every_door_says_what_is_behind_it(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert [name for name, node in doors(tree) if not ast.get_docstring(node)] == []


def test_no_work_is_left_for_later() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error")
    assert [
        f"{name_of(path)}: {word}" for path in MODULES for word in words if word in path.read_text("utf-8")
    ] == []  # fmt: skip


def test_nobody_manages_handles_or_helps() -> None:
    vague = ("manager", "handler", "helper", "util")
    assert [name_of(path) for path in MODULES if any(word in path.stem.lower() for word in vague)] == []


def test_each_foreign_library_lives_in_the_rooms_that_own_it() -> None:
    owners = {
        "httpx": {"platform"}, "boto3": {"platform"}, "botocore": {"platform"},
        "watchdog": {"intake"}, "apscheduler": {"runtime"}, "alembic": {"ledger"},
        "aiohttp": {"sandbox"}, "PIL": {"sandbox", "cli"}, "pydantic_settings": {"settings"}, "typer": {"cli"},
        "rich": {"cli"},
    }  # fmt: skip
    strange = []
    for path in MODULES:
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import)
                else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            )  # fmt: skip
            for name in names:
                library = name.split(".")[0]
                if library in owners and room not in owners[library] | {"__main__"}:
                    strange.append(f"{name_of(path)} imports {library}")
    assert strange == []
