"""When all that waits and runs now will be finished: a likely moment, and one that holds nine times of ten.

Pure. It knows what a choice knows, a `Situation` for each line of jobs. Only what may go now belongs into it: when
hours open or a new day begins is known to the minute (`limits`), and must not be mixed with what is guessed. It must
never be the ground of a choice, for it says nothing of where a job had better go.

**Openings.** Like `window`, but with shares for chances. Instances at our work open when their run ends. The others
that exist come to us at once while no task of ours is seen to wait for one, else after half a run; most are other
people's, so each counts as OTHERS of one. Those below the ceiling come a boot after a task of ours was sent that waits
for one. And where things look hopeless, something comes of it in the end.

**Whole jobs.** By time T an instance that opens at s, where a run takes m seconds on the mean, has finished

    1 + max(0, (T - s - g·r) / m - 1/2)   from T = s + g·r on, nothing before,

since what has begun by T - g·r has ended by T, with r the run of the longest workflow there and g·r that of the last
to end (below), and since one that is never idle has begun t/m + 1/2 runs by t on the mean (the renewal function; Cox
1962). The T by which that adds up to all jobs is the estimate: `level`, with whole jobs for the tail. A cluster whose
run is longer than what is left gets nothing, as the policy has it. With m the mean over all jobs, the share of them
that is done by T falls with every further job and grows with every instance: more work is never sooner, more instances
never later.

**Jobs that may not go everywhere** (a route's list; tasks that wait on a cluster already) are not done before those
clusters alone could do all that is bound to them. So each of these lists is reckoned alone, with all that fits into
it, and then all together; the latest counts (Hall's condition; exact for a fluid where lists are nested or apart).

**The last to end.** Runs are log-normal, of the σ that is learned. The longest of M lasts, with the chance q, no more
than g = exp(σ·z - σ²/2) times the mean, where z is the normal quantile of q^(1/M). M is the number of jobs, but LAST at
the most: the last runs began one after the other, so few of them are near the end. Of what runs already the same is
asked, given how long it has lasted. What has lasted so long that no log-normal run explains it hangs, perhaps, and may
last as much longer again: its tail is taken for Pareto's (α = 2), by which it has 1 / √(1 - q) - 1 times as long left
as it has lasted.

**Tasks at once.** A route that may have only so many at once takes as many turns as that makes, each of a run where it
is shortest.

**Uploads.** Nothing is done before its upload; of so many on so few hands the last one ends late.

**What makes it wrong** widens `late`. *Run times*: late takes each for as much longer as its `doubt` has it, a standard
deviation of its logarithm (`learned`). *Other people*, whose queues nobody tells: late stretches all time by DRIFT.
*Ejections*: likely has the clusters that rest back after RETURN, late after the longest pause. What is left out:
clusters that are yet to fail, and what is yet to be dropped. So of small batches on clusters that fail, or that are
hardly known, fewer than nine of ten are in time: `bench/dispatch` measures it.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import NormalDist
from typing import Final, NamedTuple

from renderdrop.dispatch.choose import ClusterView, Situation
from renderdrop.dispatch.ejection import FAILED
from renderdrop.dispatch.expected import RETURN
from renderdrop.dispatch.learned import SPOT, Learned
from renderdrop.dispatch.window import BLOCKED, UNTOLD_ROOM
from renderdrop.model.hours import Wall, spoken

LATE: Final = 0.9
"""The chance that all is finished by `late`."""
OTHERS: Final = 0.15
"""The share that comes to us of the instances that exist and are not at our work."""
LAST: Final = 4
"""Runs at the most of which any may be the last to end."""
DRIFT: Final = 0.2
"""Standard deviation of the logarithm of what other people do to the time that all takes."""
UPLOAD: Final = 2.0
"""Seconds of an upload, where nothing is known."""
_SMALLEST: Final = 1e-9
"""A run of which a log-normal one would last so long with a smaller chance is none."""
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Hands:
    """Uploads at once, and the mean seconds from a choice to the platform's answer."""

    number: int
    seconds: float = UPLOAD


@dataclass(frozen=True, slots=True)
class Finish:
    """Seconds until all is finished: as likely sooner as later; and so many that nine of ten are sooner."""

    likely: float
    late: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing can be said, and why."""

    reason: str


class Line(NamedTuple):
    """How things stand for a route that has clusters, and how many of its jobs wait to be sent and may be sent now (0
    where only what is with the platform counts), `at_once` tasks of them at the most (None: any number)."""

    situation: Situation
    jobs: int
    at_once: int | None = None


class _Bound(NamedTuple):
    """So many jobs of a workflow, each of which has to run on one of these clusters."""

    clusters: frozenset[str]
    workflow: str
    jobs: int


class _Opening(NamedTuple):
    """When an instance takes a task of ours, and the share of it that we may count on."""

    at: float
    share: float


@dataclass(frozen=True, slots=True)
class _Guess:
    """The moment that holds with this chance. `last`: how much longer than the mean the last to end runs."""

    chance: float
    learned: Learned
    jobs: int

    @property
    def z(self) -> float:
        return _NORMAL.inv_cdf(self.chance ** (1 / min(self.jobs, LAST)))

    @property
    def last(self) -> float:
        return math.exp(math.sqrt(self.learned.within) * self.z - self.learned.within / 2)

    def run(self, workflow: str, cluster: str) -> float:
        """Seconds of a run there, on the mean, as far as that is known."""
        found = self.learned.run(workflow, cluster)
        return found.seconds * math.exp(_NORMAL.inv_cdf(self.chance) * found.doubt)

    def rest(self, mean: float, passed: float) -> float:
        """Seconds that the last to end has left, of those that have run for so long."""
        sigma = math.sqrt(self.learned.within)
        middle = math.log(mean) - sigma**2 / 2
        longer = 1 - _NORMAL.cdf((math.log(passed) - middle) / sigma) if passed > 0 else 1.0
        if longer < _SMALLEST:
            return passed * (1 / math.sqrt(1 - self.chance) - 1)
        beyond = longer * (1 - _NORMAL.cdf(self.z))
        return max(mean / 8, math.exp(middle - sigma * _NORMAL.inv_cdf(beyond)) - passed)


def estimate(lines: Iterable[Line], hands: Hands) -> Finish | Unknown:
    """Until when all jobs of these lines are finished, and all our tasks on the clusters that they name as active.

    The routes of one look at the ledger share what they see, and what is learned. How old a status is does not matter:
    nothing better is known. The work it takes grows with routes, tasks and instances, not with the jobs that wait.
    """
    lines = list(lines)
    views = {name: (s, view) for s, *_ in lines for name, view in s.active.items()}
    queued = [
        _Bound(frozenset(name for name in s.allowed if name in views), s.workflow, jobs) for s, jobs, _ in lines if jobs
    ]
    if not all(b.clusters for b in queued):
        return Unknown("none of the clusters is active now")
    waiting = [
        _Bound(frozenset([name]), t.workflow, 1) for name, (_, view) in views.items()
        for t in view.tasks if not t.running
    ]  # fmt: skip
    running = sum(t.running for _, view in views.values() for t in view.tasks)
    jobs = sum(b.jobs for b in queued) + len(waiting) + running
    if not jobs:
        return Finish(0.0, 0.0)
    learned = lines[0][0].learned
    workflows = {b.workflow for b in queued} | {t.workflow for _, view in views.values() for t in view.tasks}
    if strange := workflows - {w for (w, _), found in learned.pairs.items() if found.runs}:
        return Unknown(f"no task of {'this workflow' if len(workflows) == 1 else ', '.join(sorted(strange))} has ended")
    guesses = _Guess(0.5, learned, jobs), _Guess(LATE, learned, jobs)
    likely, late = (max(_moment(guess, queued, waiting, views, hands), _in_turns(guess, lines)) for guess in guesses)
    return Finish(likely, max(likely, late * math.exp(_NORMAL.inv_cdf(LATE) * DRIFT)))


def _moment(
    guess: _Guess, queued: Sequence[_Bound], waiting: Sequence[_Bound],
    views: Mapping[str, tuple[Situation, ClusterView]], hands: Hands,
) -> float:  # fmt: skip
    resting = frozenset[str]().union(*(s.resting for s, _ in views.values()))
    pause = FAILED[1] if guess.chance == LATE else RETURN
    opens = {
        name: _openings(guess, s, name, view, pause if name in resting else 0.0) for name, (s, view) in views.items()
    }
    ends = [
        guess.rest(guess.run(t.workflow, name), t.seconds)
        for name, (_, view) in views.items() for t in view.tasks if t.running
    ]  # fmt: skip
    every = _gathered([*queued, *waiting])
    lists = {b.clusters for b in every}
    for clusters in lists | {frozenset[str]().union(*lists)} if every else ():
        fits = [b for b in every if b.clusters <= clusters]
        ends.append(_level(guess, fits, {name: opens[name] for name in clusters}))
    uploaded = sum(b.jobs for b in queued) / hands.number * hands.seconds
    for b in queued:
        begins = {name: max(uploaded, min(opens[name]).at) for name in b.clusters}
        ends.append(min(at + guess.last * guess.run(b.workflow, name) for name, at in begins.items()))
    return max(ends)


def _in_turns(guess: _Guess, lines: Iterable[Line]) -> float:
    """Before when no line is done that may have only so many tasks at once, were they all on the best cluster."""
    return max(
        (
            math.ceil(jobs / at_once) * min(guess.run(s.workflow, name) for name in s.allowed if name in s.active)
            for s, jobs, at_once in lines
            if jobs and at_once
        ),
        default=0.0,
    )


def _gathered(lines: Iterable[_Bound]) -> Collection[_Bound]:
    """The same jobs in as few lines as possible."""
    found: dict[tuple[frozenset[str], str], int] = {}
    for b in lines:
        found[b.clusters, b.workflow] = found.get((b.clusters, b.workflow), 0) + b.jobs
    return [_Bound(*of, jobs) for of, jobs in found.items()]


def _level(guess: _Guess, lines: Collection[_Bound], opens: Mapping[str, Sequence[_Opening]]) -> float:
    """When all jobs of these lines are finished, with all of these instances for them."""
    jobs = sum(b.jobs for b in lines)
    steps = []
    for name, openings in opens.items():
        runs = [
            (min(guess.run(b.workflow, k) for k in ([name] if name in b.clusters else b.clusters)), b.jobs)
            for b in lines
        ]
        mean, tail = sum(run * n for run, n in runs) / jobs, guess.last * max(run for run, _ in runs)
        for at, share in openings:
            steps += [(at + tail, share, 0.0), (at + tail + mean / 2, 0.0, share / mean)]
    done = rate = now = 0.0
    for at, whole, more in sorted(steps):
        if rate and done + rate * (at - now) >= jobs:
            break
        done += rate * (at - now) + whole
        rate, now = rate + more, at
        if done >= jobs:
            return now
    return now + (jobs - done) / rate


def _openings(guess: _Guess, situation: Situation, name: str, view: ClusterView, back: float) -> list[_Opening]:
    """The cluster's instances, from the moment at which it is `back`."""
    boot = guess.learned.boot(name)
    busy = [(guess.run(t.workflow, name), t.seconds) for t in view.tasks if t.running]
    waits = sorted((t.seconds for t in view.tasks if not t.running), reverse=True)
    exist = max(view.nodes, len(busy))
    others = exist - len(busy)
    room = UNTOLD_ROOM if view.ceiling is None else max(0, view.ceiling - exist)
    seen = bool(waits) and waits[0] > SPOT
    run = sum(mean for mean, _ in busy) / len(busy) if busy else guess.run(situation.workflow, name)
    found = [_Opening(max(mean - passed, mean / 8), 1.0) for mean, passed in busy]
    found += [_Opening(run / 2 if seen else 0.0, OTHERS)] * others
    begun = [max(2.0, boot - passed) for passed in waits[:room]]
    found += [_Opening(at, 1.0) for at in [*begun, *[boot] * (room - len(begun))]]
    found.append(_Opening(max([BLOCKED, *waits]), OTHERS))
    return [_Opening(back + at, share) for at, share in found]


def told(found: Finish | Unknown, waiting: int, running: int, now: datetime, wall: Wall) -> str:
    """The estimate in a sentence for people, without a full stop; empty where there is nothing to do. `waiting`: jobs
    that are not at work yet, sent or not; `running`: those that are."""
    numbers = [f"{n} {what}" for n, what in ((waiting, "waiting"), (running, "rendering")) if n]
    if not numbers:
        return ""
    if isinstance(found, Unknown):
        return f"{', '.join(numbers)}: no estimate yet, {found.reason}"
    at = spoken(_rounded(now, found.likely, wall), now, wall)
    by = spoken(_rounded(now, found.late, wall, up=True), now, wall)
    likely = f"done in {_about(found.likely)} ({at})"
    return f"{', '.join(numbers)}: {likely}, very likely by {by}, as things look"


def _step(seconds: float) -> int:
    """Minutes to which so distant a moment can be told in earnest."""
    return next((step for most, step in ((10, 1), (60, 5), (300, 15)) if seconds < most * 60), 60)


def _about(seconds: float) -> str:
    minutes = max(1, round(seconds / 60 / _step(seconds))) * _step(seconds)
    if seconds < 45:
        return "less than a minute"
    if minutes < 60:
        return f"about {minutes} min"
    if minutes >= 48 * 60:
        return f"about {round(minutes / 60 / 24)} days"
    return f"about {minutes // 60} h {minutes % 60} min" if minutes % 60 else f"about {minutes // 60} h"


def _rounded(now: datetime, seconds: float, wall: Wall, *, up: bool = False) -> datetime:
    """The instant after so many seconds, to as many minutes on the wall's clock as can be told in earnest."""
    at, step = now + timedelta(seconds=seconds), _step(seconds)
    local = wall(at)
    over = (local.minute % step) * 60 + local.second + local.microsecond / 1e6
    later = over > 0 if up else over >= step * 30
    return at + timedelta(seconds=(step * 60 if later else 0) - over)
