"""The table with which the torture ends: scenario, runs, lost, paid twice, leaked, recovered.

A proof counts each of its runs in a `Tally`; the rows of all workers are put together and printed at the end of the
session, whether the proofs held or not. Nothing here decides what is lost or paid twice: the proofs look
for themselves.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

WHOLE: Final = bool(os.environ.get("RENDERDROP_TORTURE"))
"""The whole size (`make torture`), not the quick one of `make test`."""

REPORT: Final = os.environ.get("RENDERDROP_TORTURE_TABLE", "")
"""Where the table is written as Markdown too, if anywhere."""

_KEY: Final = "torture"
_COLUMNS: Final = ("runs", "lost", "paid_twice", "leaked", "recovered")


@dataclass
class Tally:
    """The figures of one scenario. What is told as `lost` and the like is counted and, at the end, is a failure."""

    scenario: str
    runs: int = 0
    lost: int = 0
    """Sources that are nowhere whole, results that were paid for and are nowhere, partial files under a final name."""
    paid_twice: int = 0
    """Tasks beyond the one that a job needs."""
    leaked: int = 0
    """Bytes of other files sent, files outside the share, tokens outside requests to the platform's own origin."""
    recovered: int = 0
    """Runs after which everything came to its right end by itself."""
    open_window: int = 0
    """Of `paid_twice`: as many as the one window that the platform leaves open allows, each told in its sidecar."""

    def run(self, *, lost: int = 0, paid_twice: int = 0, leaked: int = 0, recovered: bool = True) -> None:
        """Count one run."""
        self.runs += 1
        self.lost += lost
        self.paid_twice += paid_twice
        self.leaked += leaked
        self.recovered += recovered

    def check(self) -> None:
        """Zeros where zeros belong."""
        assert self.runs, "a proof without runs proves nothing"
        assert (self.lost, self.paid_twice - self.open_window, self.leaked) == (0, 0, 0), self
        assert self.recovered == self.runs, self


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Tally]]:
    """Makes the tally of a scenario; the tests of one scenario add up to one row. Checked when the test is over."""
    made: list[Tally] = []

    def make(scenario: str) -> Tally:
        made.append(Tally(scenario))
        # Live, and plain enough to cross from a worker to the session.
        request.node.user_properties.append((_KEY, vars(made[-1])))
        return made[-1]

    yield make
    for one in made:
        one.check()


def rows(reports: list[Any]) -> list[Tally]:
    """Every scenario's figures, put together from the reports of the tests."""
    found: dict[str, Tally] = {}
    for report in reports:
        for key, value in getattr(report, "user_properties", ()):
            if key != _KEY or report.when != "call":
                continue
            one = Tally(**value)
            row = found.setdefault(one.scenario, Tally(one.scenario))
            for column in (*_COLUMNS, "open_window"):
                setattr(row, column, getattr(row, column) + getattr(one, column))
    return [found[name] for name in sorted(found)]


def markdown(found: list[Tally]) -> str:
    """The table as Markdown."""
    lines = [f"| scenario | {' | '.join(c.replace('_', ' ') for c in _COLUMNS)} |", "|---" + "|--:" * 5 + "|"]
    for row in found:
        twice = f"{row.paid_twice} (open window)" if row.open_window else str(row.paid_twice)
        lines.append(f"| {row.scenario} | {row.runs} | {row.lost} | {twice} | {row.leaked} | {row.recovered} |")
    return "\n".join(lines)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, if any proof was run."""
    stats = terminalreporter.stats
    found = rows([report for name in ("passed", "failed") for report in stats.get(name, [])])
    if not found:
        return
    width = max(len(row.scenario) for row in found)
    terminalreporter.section("torture" if WHOLE else "torture, the quick size")
    terminalreporter.write_line(f"{'scenario':<{width}}  " + "  ".join(f"{c.replace('_', ' '):>10}" for c in _COLUMNS))
    for row in found:
        figures = "  ".join(f"{getattr(row, column):>10}" for column in _COLUMNS)
        window = f"  ({row.open_window} in the open window, each told)" if row.open_window else ""
        terminalreporter.write_line(f"{row.scenario:<{width}}  {figures}{window}")
    if REPORT:
        Path(REPORT).write_text(markdown(found) + "\n")
