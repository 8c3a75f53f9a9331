"""What the proofs about shares in trouble have in common: a route whose share falls ill beside one that is well."""

from collections.abc import Callable
from pathlib import Path

from tests.rig.daemon import Daemon
from tests.rig.platform import Platform, digest
from tests.rig.share import Share
from tests.torture.table import Tally

from renderdrop.model.job import Job
from renderdrop.model.lifecycle import ENDS, State

TELLING = ("share_waits", "archive_waits", "delivery_waits", "job_requeued", "folder_unreadable", "daemon_waits")
"""The events by which an operator learns that something keeps work waiting."""


class Ward:
    """A route `portrait` on the share that falls ill, a route `well` on a healthy one, one daemon for both."""

    def __init__(self, daemon: Daemon, platform: Platform, sick: Share, well: Share, **places: Path) -> None:
        """`sick` is the share as people at other machines see it, beside all faults; `places` are the daemon's."""
        self.daemon, self.platform, self.sick, self.well = daemon, platform, sick, well
        self.dropped: dict[str, bytes] = {}
        self.others: dict[str, bytes] = {}
        self._told = 0
        daemon.configure("intake", settle_network="300ms", sweep_network="1s")
        self.configure(**{name: str(place) for name, place in places.items()})

    def configure(self, **keys: str) -> None:
        """These keys for the route of the sick share."""
        common = {"workflow_id": "1234", "clusters": ["GPU-4090", "GPU-A800"], "inputs": {"input_image": "image"}}
        self.daemon.routes(portrait={**common, **keys}, well={**common, "folder": str(self.well.folder)})

    def drop(self, number: int, others: int = 0) -> None:
        """So many files on the sick share, and on the healthy one."""
        for _ in range(number):
            name = f"{len(self.dropped)}.png"
            self.dropped[name] = self.sick.drop(name, self._bytes())
        for _ in range(others):
            name = f"{len(self.others)}.png"
            self.others[name] = self.well.drop(name, self._bytes())

    def _bytes(self) -> bytes:
        """No two alike, on both shares together."""
        return self.sick.picture() + b"on the ward"

    @property
    def jobs(self) -> list[Job]:
        """The sick route's jobs."""
        return [job for job in self.daemon.jobs() if job.route == "portrait"]

    def told(self) -> bool:
        """Whether anything was told of what keeps work waiting since this was last true."""
        count = sum(len(self.daemon.events(event)) for event in TELLING)
        before, self._told = self._told, max(count, self._told)
        return count > before

    def others_go_on(self, number: int = 2) -> None:
        """The healthy route renders new files while the other one is in trouble."""
        self.drop(0, number)
        self.daemon.wait(lambda: self.well.at_rest(len(self.others)), "the healthy share goes on", within=90)

    def recovered(self, within: float = 120) -> None:
        """Everything on the sick share comes to its end by itself."""
        self.daemon.wait(lambda: self.sick.at_rest(len(self.dropped)), "the sick share has caught up", within)

    def delivered_is_there(self) -> None:
        """Whatever the ledger calls delivered lies whole in the outbox, with its sidecar."""
        for job in self.jobs:
            if job.state is State.DELIVERED:
                assert (self.sick.outbox / f"{job.base}.json").is_file()
                for output in job.outputs:
                    assert output.file is not None
                    assert digest(self.sick.outbox / output.file) == output.sha256

    def lost(self) -> int:
        """Sources whose bytes are nowhere, or that ended without their result."""
        lying = [digest(path) for root in (self.sick.inbox, self.sick.done) for path in self.sick.files(root).values()]
        gone = sum(lying.count(digest(data)) != 1 for data in self.dropped.values())
        return gone + sum(job.state in ENDS and job.state is not State.DELIVERED for job in self.jobs)

    def paid_twice(self) -> int:
        """Tasks beyond one for each source."""
        return len(self.platform.tasks()) - len({task["files"][0]["sha256"] for task in self.platform.tasks()})

    def count(self, tally: Tally, leaked: int = 0) -> None:
        """Put the figures of a run that has recovered into the table. `leaked`: files beneath a missing mount."""
        tally.run(lost=self.lost(), paid_twice=self.paid_twice(), leaked=leaked)

    def check(self) -> None:
        """At the end: each source once, whole, with its result, on both shares."""
        self.sick.check_delivered(self.platform, self.dropped)
        self.well.check_delivered(self.platform, self.others)
        assert len(self.platform.tasks()) == len(self.dropped) + len(self.others)


def under_way(ward: Ward, number: int, wanted: Callable[[Job], bool] = lambda _: True) -> None:
    """Drop files and go on as soon as one of their jobs is as far as wanted: others are behind it."""
    known = {job.id for job in ward.jobs}
    ward.drop(number, 1)
    ward.daemon.wait(lambda: [j for j in ward.jobs if j.id not in known and wanted(j)], "jobs are under way")
