"""Which clusters are left alone because things went wrong there, until when, and who tries them again.

Pure: times of a monotonic clock are passed in. After the outlier detection and circuit breakers of service meshes
(Envoy's `outlier_detection`: consecutive errors, pauses that grow by each ejection, and a bound on how many may be
out; Nygard, "Release It!": the half-open state with one probe). A refusal rests the cluster at once, for it costs a
whole upload; failed tasks do so when IN_A_ROW different jobs failed there with no success between, for one bad file
is its own fault. Each further ejection lasts twice as long, up to a longest. When the pause is over one job goes ahead
as a probe, and the cluster stays out for PROBE seconds more, for all others; a task that succeeds ends it all (after
a refusal, one that is accepted).
Whoever chooses must treat a situation in which all are out as if none were (`choose`, `expected.usable`): an ejection
can only turn a job to another cluster, never stop it.
The ledger has every deed, so a new process need not begin with clean slates: `replay`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from renderdrop.model.experience import Ended, Try, blames
from renderdrop.model.in_a_row import IN_A_ROW
from renderdrop.model.job import Outcome

REFUSED: Final = (30.0, 240.0)
"""Seconds of the first and of the longest pause after a refusal, which costs an upload and nothing else."""
FAILED: Final = (60.0, 900.0)
"""The same after failed tasks, each of which is somebody's job."""
_REFUSED: Final = "it refused a job"
PROBE: Final = 120.0
"""Seconds for which others wait to see what becomes of a probe."""


@dataclass(frozen=True, slots=True)
class Record:
    """What went wrong on one cluster since the last success. `jobs`: whose tasks failed there; `probed`: a job has been
    sent to it since its last pause."""

    jobs: frozenset[str | int] = frozenset()
    times: int = 0
    until: float = float("-inf")
    why: str = ""
    probed: bool = False

    @property
    def refuses(self) -> bool:
        """Whether it is for a refusal that it was left alone last."""
        return self.why == _REFUSED


@dataclass(frozen=True, slots=True)
class Ejection:
    """All clusters' records; each deed gives a new one."""

    records: Mapping[str, Record] = field(default_factory=dict)

    def out(self, now: float) -> frozenset[str]:
        """The clusters that are left alone now."""
        return frozenset(name for name, r in self.records.items() if r.until > now)

    def refused(self, cluster: str, now: float) -> "Ejection":
        """It refused what was sent to it."""
        return self._eject(cluster, self.records.get(cluster, Record()), now, _REFUSED, REFUSED)

    def accepted(self, cluster: str) -> "Ejection":
        """It took what was sent to it. That says nothing of tasks that fail on it."""
        record = self.records.get(cluster)
        return self.worked(cluster) if record is not None and record.refuses and not record.jobs else self

    def failed(self, cluster: str, job: str | int, now: float) -> "Ejection":
        """A task failed on it, or was left behind there because it never began."""
        record = self.records.get(cluster, Record())
        record = replace(record, jobs=record.jobs | {job})
        if len(record.jobs) < IN_A_ROW and not record.times:
            return self._with(cluster, record)
        return self._eject(cluster, record, now, "tasks of several jobs failed there", FAILED)

    def tried(self, cluster: str, now: float) -> "Ejection":
        """A job is sent to it. Where it was out before, that is the probe, and others wait for what becomes of it."""
        record = self.records.get(cluster)
        if record is None or not record.times or record.until > now:
            return self
        return self._with(cluster, replace(record, until=now + PROBE, probed=True))

    def worked(self, cluster: str) -> "Ejection":
        """A task succeeded on it: all is well again."""
        if cluster not in self.records:
            return self
        return Ejection({name: r for name, r in self.records.items() if name != cluster})

    def _eject(self, cluster: str, record: Record, now: float, why: str, pauses: tuple[float, float]) -> "Ejection":
        if record.until > now and not record.probed:
            return self  # out already: what was on its way is no new offence
        first, longest = pauses
        pause = min(longest, first * 2 ** min(record.times, 16))  # a cluster may refuse for weeks
        return self._with(cluster, Record(frozenset(), record.times + 1, now + pause, why))

    def _with(self, cluster: str, record: Record) -> "Ejection":
        return Ejection({**self.records, cluster: record})


def replay(tries: Iterable[Try], ended: Iterable[Ended], now: float, clock: float) -> Ejection:
    """The records as they would be if this process had been there for all of it. `now`: seconds since 1970; `clock`:
    what the clock shows now by which the records are to be kept. What lies ahead (the machine's clock was set back)
    counts as now: nothing is left alone for longer than from this moment on."""
    deeds: list[tuple[float, Callable[[Ejection, float], Ejection]]] = []
    for one in tries:
        deeds.append((one.begun, partial(_tried, cluster=one.cluster)))
        refused = blames(one.outcome, one.detail)
        if one.answered is not None and (refused or one.outcome is Outcome.ACCEPTED):
            deeds.append((one.answered, partial(_answered, cluster=one.cluster, refused=refused)))
        if one.left is not None:
            deeds.append((one.left, partial(_left, task=one)))
    deeds += [(task.finished, partial(_ended, task=task)) for task in ended]
    found = Ejection()
    for at, deed in sorted(((min(at, now), deed) for at, deed in deeds), key=lambda one: one[0]):
        found = deed(found, clock - (now - at))
    return found


def _tried(records: Ejection, at: float, cluster: str) -> Ejection:
    return records.tried(cluster, at)


def _answered(records: Ejection, at: float, cluster: str, refused: bool) -> Ejection:
    return records.refused(cluster, at) if refused else records.accepted(cluster)


def _left(records: Ejection, at: float, task: Try) -> Ejection:
    return records.failed(task.cluster, task.job, at)


def _ended(records: Ejection, at: float, task: Ended) -> Ejection:
    return records.worked(task.cluster) if task.well else records.failed(task.cluster, task.job, at)
