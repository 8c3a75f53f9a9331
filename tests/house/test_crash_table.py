"""Every commit has a name, and every name has its row in ARCHITECTURE's crash table."""

import ast
import re
from pathlib import Path

import renderdrop
from renderdrop.ledger.failpoints import POINTS

ROOT = Path(renderdrop.__file__).parent
PAGE = ROOT.parent / "ARCHITECTURE.md"
TABLE = "### The crash table"
"""The heading under which it stands, to the next heading."""


def commits() -> list[ast.Call]:
    """Every write to the ledger in the program."""
    trees = [ast.parse(path.read_text("utf-8")) for path in ROOT.rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if re.fullmatch(r"(self\._)?ledger\.write", ast.unparse(call.func))]


def named() -> set[str]:
    """The names that are given anywhere."""
    trees = [ast.parse(path.read_text("utf-8")) for path in ROOT.rglob("*.py")]
    given = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.keyword)
             and node.arg == "point" and isinstance(node.value, ast.Constant)]  # fmt: skip
    return {str(value.value) for value in given}


def test_every_commit_bears_a_name() -> None:
    assert len(commits()) > 30
    assert [ast.unparse(call) for call in commits() if "point" not in {word.arg for word in call.keywords}] == []


def test_every_name_is_given_to_a_commit() -> None:
    assert named() == set(POINTS)


def test_every_name_has_one_row_in_the_crash_table() -> None:
    page = PAGE.read_text("utf-8")
    table = page.partition(TABLE)[2].partition("\n#")[0]
    rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(rows) == sorted(POINTS)
