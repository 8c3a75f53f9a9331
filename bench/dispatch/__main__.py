"""`python -m bench.dispatch [--jobs 1,200,600] [--seeds N] [--plot FILE] [--markdown FILE]`: tables from one run."""

import argparse
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from bench.dispatch.bound import bound
from bench.dispatch.evening import Evening
from bench.dispatch.foresight import Asked, foreseen
from bench.dispatch.foresight import table as estimates
from bench.dispatch.plot import drawn
from bench.dispatch.rules import OURS, RULES, SIMPLE
from bench.dispatch.worlds import WORLDS, draw

_FIRST_SEED: Final = 1
"""Reported are the seeds from here on; the policy was tuned on those from 1000 on."""
_PLOTTED: Final = (0, 600)
"""World and number of jobs of the plot."""


class Played(NamedTuple):
    """One evening: by rule, the makespan as a multiple of the bound; and what the product said of when it would end."""

    world: str
    jobs: int
    ratios: dict[str, float]
    asked: list[Asked]


def play(case: tuple[int, int, int]) -> Played:
    """All rules on one evening (world, seed, jobs)."""
    world, seed, jobs = case
    fate = draw(WORLDS[world], seed, jobs)
    least = bound(fate)
    took = {name: Evening(fate, make(seed)).play().makespan for name, make in RULES.items()}
    asked = foreseen(fate, RULES[OURS](seed), took[OURS])
    return Played(fate.world.name, jobs, {name: makespan / least for name, makespan in took.items()}, asked)


def table(played: Sequence[Played], jobs: int) -> str:
    """Markdown: by rule, multiples of the bound."""
    mine = [p for p in played if p.jobs == jobs]
    worlds = [world.name for world in WORLDS]
    head = ["rule", "geometric mean", "mean", "p90", "worst scenario", *worlds]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    best = {w: min(_geometric([p.ratios[n] for p in mine if p.world == w]) for n in RULES) for w in worlds}
    for name in RULES:
        every = sorted(p.ratios[name] for p in mine)
        each = {w: _geometric([p.ratios[name] for p in mine if p.world == w]) for w in worlds}
        p90 = every[min(len(every) - 1, math.ceil(0.9 * len(every)) - 1)]
        figures = [_geometric(list(each.values())), sum(every) / len(every), p90, max(each.values())]
        cells = [f"**{each[w]:.2f}**" if each[w] <= best[w] * 1.03 else f"{each[w]:.2f}" for w in worlds]
        lines.append(f"| {name} | {' | '.join([*(f'{f:.2f}' for f in figures), *cells])} |")
    return "\n".join(lines)


def _geometric(found: Sequence[float]) -> float:
    return math.exp(sum(math.log(x) for x in found) / len(found))


def _titled(jobs: int, seeds: Sequence[int]) -> str:
    return f"{jobs} job{'s' if jobs > 1 else ''} × {len(WORLDS)} scenarios × {len(seeds)} seeds"


def main() -> None:
    """Play, print, and write what was asked for."""
    said = argparse.ArgumentParser(prog="python -m bench.dispatch", description=__doc__)
    said.add_argument("--jobs", default="1,200,600", help="sizes of the batch, with commas between")
    said.add_argument("--seeds", type=int, default=4, help="evenings of each scenario")
    said.add_argument("--plot", type=Path, help="write the plot there (SVG)")
    said.add_argument("--markdown", type=Path, help="write the tables there")
    asked = said.parse_args()
    sizes = [int(size) for size in asked.jobs.split(",")]
    seeds = range(_FIRST_SEED, _FIRST_SEED + asked.seeds)
    cases = [(w, seed, jobs) for jobs in sizes for w in range(len(WORLDS)) for seed in seeds]
    with ProcessPoolExecutor(2) as workers:
        played = list(workers.map(play, cases))
    parts = []
    for jobs in sizes:
        title = f"{_titled(jobs, seeds)}: makespan, as a multiple of the clairvoyant bound"
        parts.append(f"**{title}**\n\n{table(played, jobs)}")
    parts.append("Bold: the best of its scenario, or within 3 % of it (geometric means).")
    for jobs in sizes:
        title = f"{_titled(jobs, seeds)}: the estimate of its end, as a multiple of the time it took"
        parts.append(f"**{title}**\n\n{estimates(one for p in played if p.jobs == jobs for one in p.asked)}")
    text = "\n\n".join(parts) + "\n"
    sys.stdout.write(text)
    if asked.markdown:
        asked.markdown.write_text(text, "utf-8")
    if asked.plot:
        world, jobs = _PLOTTED
        fate = draw(WORLDS[world], _FIRST_SEED, jobs)
        evenings = {name: Evening(fate, RULES[name](_FIRST_SEED), sampled=True).play() for name in (OURS, SIMPLE)}
        asked.plot.write_text(drawn(fate, evenings, bound(fate)), "utf-8")


if __name__ == "__main__":
    main()
