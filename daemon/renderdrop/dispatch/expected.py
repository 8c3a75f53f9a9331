"""The policy `expected-completion`: a job goes where it is expected to be finished first, or waits for a place there.

Pure: what it knows is a `Situation`. It forecasts each cluster (`window`), reckons when all that waits can be done at
the earliest (`level`), and reads from that whether this job should go now, and where.

**Who is worth it.** A cluster is worth a job if it would finish one, late by RISK and by what is not known of it,
before the others together have finished all that waits. Otherwise the job waits for one of them, though a slow cluster
is free. With two servers and one queue that is the threshold policy which is optimal there (Lin & Kumar 1984): the slow
server is used only while the queue is long enough. It is what holds the tail of a batch back from slow clusters, with
no threshold to set. Nothing is planned ahead: the next choice reckons anew.

**Who is best for what.** Where several workflows wait, each cluster should get those that it is comparatively good
at. The prices of `level` tell: of an instance-second on each cluster, at which all the work costs as much as all the
capacity is worth. A workflow goes only where it costs within DEAR of its cheapest (complementary slackness).

**What is not known.** A run of which the logarithm is known to a standard deviation of `doubt` (`learned`) is with 93 %
no longer than exp(DOUBT·doubt) times what is expected, the quantile of a log-normal. So a cluster that is hardly known
must be clearly better: wrongly left out it costs the batch a share of its capacity, wrongly taken it may hold up the
end for one long run. It is explored, though, with care: where a workflow has never ended while it is known elsewhere,
PROBES of it may be under way, and no more until one has ended.

**Late binding.** Of those that are worth it the one that finishes first gets the job, if its window has a place
(`window`): what is not sent can still go anywhere. Only where other people queue (a crowded cluster) a job is sent
ahead of its turn: whoever comes later waits behind it, so a place in that line is worth more than the freedom to go
elsewhere. And only where it would be finished before all that waits is, even if its run took LATE times what it is
expected to take, and what is not known besides; and not while any of the route's clusters is ejected, for it may be
back soon. So the tail stays free, and slow clusters are not queued at.

**Hysteresis.** The cluster chosen last for a workflow stays the best unless another is better by more than STEADY.

**Every wait ends.** One is told to wait only for a cluster on which a task of ours waits already (else it has a place).
The longer that one waits while nothing moves or others queue, the later the cluster is expected to finish anything
(`window`), until another is worth it; and after LONGEST_HOLD in which no job of the workflow was sent that may go to
the same clusters, windows no longer count.
"""

import math
from collections.abc import Mapping
from typing import Final

from renderdrop.dispatch.choose import Choice, Hold, Situation
from renderdrop.dispatch.level import Fluid, level, prices
from renderdrop.dispatch.window import Forecast, forecast
from renderdrop.model.units import spoken

RISK: Final = 1.3
"""How much later than expected the first job of a slow cluster may end and still be no later than the batch."""
DOUBT: Final = 1.5
"""Standard deviations by which a run may be longer than it is known to be: 93 % are within."""
PROBES: Final = 2
"""Tasks of a workflow that may be under way on a cluster where none has ended yet: one may be unlucky."""
DEAR: Final = 1.15
"""How much dearer than on its cheapest cluster a workflow may be."""
LATE: Final = 2.0
"""How many times as long as expected a job may run that is sent ahead, and still be finished with the rest."""
STEADY: Final = 0.05
"""How much sooner, as a share, another cluster must finish for a workflow to change over."""
RETURN: Final = 60.0
"""Seconds after which an ejected cluster is hoped to be back."""
LONGEST_HOLD: Final = 900.0
"""Seconds after which windows no longer count for jobs of which none could be sent."""


def expect(situation: Situation) -> Choice | Hold | None:
    """Where the job goes now; a Hold, if it had better wait; None: none of the allowed clusters is active."""
    able = usable(situation)
    if not able:
        return None
    lines = {name: forecast(situation, name) for name in able}
    ranked = _ranked(situation, {name: line.end for name, line in lines.items()})
    out = [name for name in situation.allowed if name in situation.active and name not in lines]
    worth, limit = _worth(situation, lines, {name: forecast(situation, name) for name in out}, ranked)
    worth = [name for name in worth if not _is_tried_out(situation, lines, name)] or worth
    overdue = situation.held > LONGEST_HOLD
    free = [name for name in worth if overdue or lines[name].has_place or _may_queue(situation, lines, name, limit)]
    if not free:
        return Hold(_why_not(lines, worth, ranked))
    room = sum(max(1, lines[name].window - lines[name].waiting) for name in free)
    return Choice(free[0], _why(free[0], lines, ranked, situation), room)


def usable(situation: Situation) -> list[str]:
    """The active ones among the allowed; without those that rest, unless that leaves none."""
    candidates = [name for name in situation.allowed if name in situation.active]
    return [name for name in candidates if name not in situation.resting] or candidates


def _is_tried_out(situation: Situation, lines: Mapping[str, Forecast], name: str) -> bool:
    """Whether enough is under way there to learn from, of a workflow that is known on others but not there."""
    learned, workflow = situation.learned, situation.workflow
    if learned.run(workflow, name).runs or not any(learned.run(workflow, other).runs for other in lines):
        return False
    return sum(task.workflow == workflow for task in situation.active[name].tasks) >= PROBES


def _unknown(situation: Situation, name: str) -> float:
    """How many times as long as expected a run may well take there, for all that is known of its mean."""
    return math.exp(DOUBT * situation.learned.run(situation.workflow, name).doubt)


def _may_queue(situation: Situation, lines: Mapping[str, Forecast], name: str, limit: float) -> bool:
    """Whether a job had better queue there among other people's than wait for a place."""
    line = lines[name]
    end = min(line.starts) + line.run * LATE * _unknown(situation, name)
    return line.crowded and situation.resting.isdisjoint(situation.allowed) and end <= limit


def _ranked(situation: Situation, finish: Mapping[str, float]) -> list[str]:
    """The first to finish comes first; where they are equal, the preferred one."""
    ends = dict(finish)
    if situation.last in ends:
        ends[situation.last] = min(ends[situation.last], max(ends[situation.last] / (1 + STEADY), min(ends.values())))
    return sorted(ends, key=lambda name: (ends[name], name != situation.last, situation.allowed.index(name)))


def _worth(
    situation: Situation, lines: Mapping[str, Forecast], out: Mapping[str, Forecast], ranked: list[str]
) -> tuple[list[str], float]:
    """The clusters that are worth the job, in their rank, and when all that waits can be finished."""
    learned, queue = situation.learned, situation.queue or {situation.workflow: 1}
    jobs = sum(queue.values())
    runs = {w: {k: learned.run(w, k).seconds for k in [*lines, *out]} for w in queue}
    mean = {k: sum(n * runs[w][k] for w, n in queue.items()) / jobs for k in [*lines, *out]}
    limit = level({k: line.starts for k, line in lines.items()}, mean, jobs)
    late = {name: line.end * _unknown(situation, name) for name, line in lines.items()}
    worth = []
    for name in ranked:
        end = late[name] * RISK
        others = sum(line.by(end, mean[other]) for other, line in lines.items() if other != name)
        if others + sum(line.by(end - RETURN, mean[other]) for other, line in out.items()) < jobs:
            worth.append(name)
    if len(queue) > 1 and len(worth) > 1:
        work = [[n * runs[w][k] for k in worth] for w, n in queue.items()]
        found = prices(Fluid([len(lines[k].starts) for k in worth], [sum(lines[k].starts) for k in worth], work))
        cost = {k: price * lines[k].run for k, price in zip(worth, found, strict=True)}
        cheapest = min(cost.values())
        worth = [k for k in worth if cost[k] <= cheapest * DEAR]
    return worth or _ranked(situation, late)[:1], limit


def _why(chosen: str, lines: Mapping[str, Forecast], ranked: list[str], situation: Situation) -> str:
    line, runs = lines[chosen], situation.learned.run(situation.workflow, chosen).runs
    known = f"known from {runs} runs" if runs else "not seen there yet"
    run = f"a run takes {spoken(_whole(line.run))}, {known}"
    said = f"{chosen}: expected to be finished in {spoken(_whole(line.end))} ({run})"
    others = [name for name in ranked if name != chosen]
    if not others:
        return f"{said}; the only one of the route's clusters that can be used now"
    best = f"{others[0]}, in {spoken(_whole(lines[others[0]].end))}"
    if ranked[0] != chosen:
        return f"{said}; not sooner on {best}, where enough of ours wait for now"
    return f"{said}; the next best, {best}"


def _why_not(lines: Mapping[str, Forecast], worth: list[str], ranked: list[str]) -> str:
    slower = [name for name in ranked if name not in worth]
    longer = f"; {', '.join(slower)} would take longer" if slower else ""
    return f"waits for a free place on {' or '.join(worth)}{longer}"


def _whole(seconds: float) -> float:
    return float(max(1, round(seconds)))
