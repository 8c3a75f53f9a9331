"""How wrong the estimate of a batch's end is: asked during evenings that are played with the product's policy.

Owns the moments at which it is asked, and the table of its errors. What it is told is what a rule is told, and how long
uploads have taken, which the daemon sees itself.
"""

from collections.abc import Iterable, Sequence
from statistics import quantiles
from typing import Final, NamedTuple

from bench.dispatch.evening import Evening, Rule
from bench.dispatch.worlds import Fate
from renderdrop.dispatch.estimate import UPLOAD, Finish, Hands, Line, Unknown, estimate

_AT_FIRST: Final = 10.0
"""Seconds after the drop at which it is asked first."""
_SHARES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Then, as shares of the batch's true time."""
MOMENTS: Final = (f"after {_AT_FIRST:.0f} s", *(f"at {share:.0%}" for share in _SHARES))
"""Their names, in the table's order."""


class Asked(NamedTuple):
    """What was said at a moment (its name), and the seconds that it truly took from then on."""

    moment: str
    said: Finish | Unknown
    truth: float


class _Foreseen(Evening):
    """The same evening, in which the estimate is asked at these seconds. That changes nothing of what happens."""

    def __init__(self, fate: Fate, rule: Rule, moments: Sequence[float]) -> None:
        super().__init__(fate, rule)
        self.said: list[Finish | Unknown] = []
        for moment in moments:
            self._at(moment, self._ask)

    def _ask(self) -> None:
        learned = self._lesson()
        situations = [self._situation(w, learned) for w in self.world.workflows]
        lines = [Line(s, s.queue.get(s.workflow, 0)) for s in situations]
        seen = self.uploads[-50:]
        self.said.append(estimate(lines, Hands(self.world.uploads, sum(seen) / len(seen) if seen else UPLOAD)))


def foreseen(fate: Fate, rule: Rule, makespan: float) -> list[Asked]:
    """Asks at each moment of an evening that this rule plays, which is known to last so long."""
    moments = dict(zip(MOMENTS, [_AT_FIRST, *(share * makespan for share in _SHARES)], strict=True))
    moments = {name: at for name, at in moments.items() if at < makespan}
    evening = _Foreseen(fate, rule, sorted(moments.values()))
    if evening.play().makespan != makespan:
        raise RuntimeError(f"{fate.world.name}: an evening went otherwise because it was looked at")
    said = dict(zip(sorted(moments.values()), evening.said, strict=True))
    return [Asked(name, said[at], makespan - at) for name, at in moments.items()]


def table(asked: Iterable[Asked]) -> str:
    """Markdown: by moment, what was said as a multiple of what it truly took."""
    found: dict[str, list[Asked]] = {}
    for one in asked:
        found.setdefault(one.moment, []).append(one)
    head = ["asked", "times", "no estimate", "median", "middle half", "nine of ten", "truth by `late`", "late / likely"]
    rows = [_row(moment, found[moment]) for moment in MOMENTS if moment in found]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _row(moment: str, asked: Sequence[Asked]) -> list[str]:
    said = [(one.said, one.truth) for one in asked if isinstance(one.said, Finish)]
    counts = [moment, str(len(asked)), str(len(asked) - len(said))]
    if len(said) < 2:
        return [*counts, *["-"] * 5]
    cuts = quantiles((one.likely / truth for one, truth in said), n=20, method="inclusive")
    held = sum(truth <= one.late for one, truth in said) / len(said)
    wide = quantiles((one.late / one.likely for one, _ in said), n=2, method="inclusive")[0]
    spans = [f"{cuts[4]:.2f} to {cuts[14]:.2f}", f"{cuts[0]:.2f} to {cuts[18]:.2f}"]
    return [*counts, f"{cuts[9]:.2f}", *spans, f"{held:.0%}", f"{wide:.2f}"]
