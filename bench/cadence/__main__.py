"""`python -m bench.cadence [--markdown FILE]`: every rule on the same evenings, one table."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bench.cadence.history import made
from bench.cadence.rules import RULES
from bench.cadence.watch import Outcome, mean, p95, watched

SEEDS: Final = {3: (211, 212, 213, 214), 20: (221,), 80: (281,), 300: (231,)}
"""Not those that the product's constants were chosen on (101 to 103)."""
RATES: Final = (2.0, 5.0, 10.0, 20.0)
WARM: Final = 600.0
EVENING: Final = {3: 9_000.0, 20: 3_600.0, 80: 3_600.0, 300: 2_700.0}
"""Seconds; the first ten minutes, in which everything is learned from nothing, and the last fifteen do not count."""
LAST: Final = 900.0

HEADER: Final = ("live", "budget/s", "rule", "mean s", "p95 s", "under a minute: mean s", "p95 s", "requests/task")


def rows(lives: Iterable[int], rates: Iterable[float]) -> Iterable[tuple[str, ...]]:
    """The table, line by line."""
    for live in lives:
        evening = EVENING[live]
        evenings = [made(live, evening, seed) for seed in SEEDS[live]]
        for rate in rates:
            for name, rule in RULES.items():
                outcome = Outcome()
                for tasks in evenings:
                    outcome.add(watched(tasks, rule(), rate, WARM, evening - LAST))
                figures = (mean(outcome.delays), p95(outcome.delays), mean(outcome.short), p95(outcome.short))
                requests = outcome.looks / max(1, outcome.tasks)
                yield str(live), f"{rate:g}", name, *(f"{figure:.2f}" for figure in figures), f"{requests:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cadence", description=__doc__)
    parser.add_argument("--live", default="3,20,80,300", help="tasks with the platform at a time")
    parser.add_argument("--rates", default=",".join(f"{rate:g}" for rate in RATES), help="requests_per_second")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there too")
    given = parser.parse_args()
    lives = [int(word) for word in given.live.split(",")]
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---:|' * 2}---|{'---:|' * 5}"]
    sys.stdout.write("\n".join(lines) + "\n")
    for row in rows(lives, [float(word) for word in given.rates.split(",")]):
        lines.append(f"| {' | '.join(row)} |")
        sys.stdout.write(lines[-1] + "\n")
        sys.stdout.flush()
    if given.markdown is not None:
        given.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
