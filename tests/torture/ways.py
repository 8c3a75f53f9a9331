"""The way to each commit point: what has to be dropped, gone wrong or be decided, so that the daemon comes by there.

Each way ends in that death, and begins wherever the deaths before it have left the ledger. Some pass by other points
first, and die there too.
"""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from tests.rig.platform import DEADLINE
from tests.torture.lives import STUCK, Life, Moment

from renderdrop.ledger.failpoints import Point
from renderdrop.model.job import Job, Outcome
from renderdrop.model.lifecycle import OPEN, State

Way = Callable[[Life, Moment], None]


def dropping(point: Point, route: str = "portrait", *, several: bool = True) -> Way:
    """Where every job comes by; it falls upon one of those that are on their way."""

    def way(life: Life, moment: Moment) -> None:
        number = life.chance.randint(1, 3)
        for _ in range(number):
            life.drop(route)
        life.die(point, moment, life.chance.randint(1, number) if several else 1)

    return way


def in_doubt(point: Point) -> Way:
    """Where nobody can know whether the platform has taken a job, of a route that says hold."""

    def caught(life: Life) -> bool:
        on_the_wire = [job for job in life.daemon.jobs(State.SUBMITTING) if job.route == "careful"]
        if not (found := any(job.submissions[-1].complete for job in on_the_wire)):
            life.drop("careful")
        return found

    def way(life: Life, moment: Moment) -> None:
        life.drop("careful")
        life.die_until(point, moment, lambda: caught(life))

    return way


def failing(point: Point, route: str = "portrait", may_pay: int = 1) -> Way:
    """Where a job comes by whose task fails."""

    def way(life: Life, moment: Moment) -> None:
        life.drop(route, may_pay=may_pay)
        life.harm("fail_task")
        life.die(point, moment)

    return way


def recovered(life: Life, moment: Moment) -> None:
    """A submission that an earlier death interrupted is sorted."""
    earlier: tuple[tuple[Point, Moment], ...] = (
        ("submitting", "after"), ("complete", "before"), ("complete", "after"), ("accepted", "before"),
    )  # fmt: skip
    life.drop(life.chance.choice(["portrait", "careful"]))
    life.die(*life.chance.choice(earlier))
    life.die("recovered", moment)


def share_seen(life: Life, moment: Moment) -> None:
    """A route is new, and so are its folders."""
    life.drop(life.open_route())
    life.die("share_seen", moment)


def trouble(point: Point) -> Way:
    """The platform does not know us any more, or a share is not there; for a moment."""

    def way(life: Life, moment: Moment) -> None:
        life.drop("portrait")
        if life.chance.random() < 0.5:
            life.platform.faults({"call": "any", "do": "unauthorized", "count": 1 if point == "trouble" else 2})
            life.die(point, moment)
            return
        share = life.shares["careful"]
        if not share.inbox.exists():
            life.rest()
        aside = share.folder.with_name("unmounted")
        share.folder.rename(aside)
        share.folder.mkdir()
        before = len(life.daemon.events("share_waits"))

        def back() -> None:
            assert not list(share.folder.iterdir()), "written under a missing mount"
            share.folder.rmdir()
            aside.rename(share.folder)

        def waits() -> None:
            life.daemon.wait(lambda: len(life.daemon.events("share_waits")) > before, "the share is offline")
            back()

        def dies() -> None:
            assert life.daemon.process is not None
            life.daemon.process.wait(DEADLINE)
            back()

        life.die(point, moment, meanwhile=dies if point == "trouble" else waits)

    return way


def disbanded(life: Life, moment: Moment) -> None:
    """A picture waits for its video, and is taken away again."""
    path = life.drop("pair", may_pay=0)

    def over() -> bool:
        # An earlier death may have left another one, which is disbanded first.
        assert life.daemon.process is not None
        return life.daemon.process.poll() is not None

    def taken() -> None:
        life.daemon.wait(
            lambda: over() or [j for j in life.daemon.jobs(State.QUEUED) if j.waiting_for and j.source.path == path],
            "it waits",
        )
        life.take(life.shares["pair"].inbox / path)

    life.die("disbanded", moment, meanwhile=taken)


def retried(point: Point) -> Way:
    """A person wants an ended job again."""

    def way(life: Life, moment: Moment) -> None:
        job = life.ended("careful", State.DELIVERED, State.FAILED)
        life.retry(job)
        if point == "renamed":
            life.drop("careful", job.source.path)
        if point == "given_up":
            life.take(life.where(job))
        life.die(point, moment)

    return way


def chain_unsaid(life: Life, moment: Moment) -> None:
    """A link failed, the end of its chain was told, and the link is tried again."""
    life.retry(life.ended("first", State.FAILED, failing=True))
    life.die("chain_unsaid", moment)


def the_same(point: Point) -> Way:
    """The very same twice, of which only one is rendered."""

    def way(life: Life, moment: Moment) -> None:
        data = life.picture()
        life.drop("thrifty", data=data)
        life.drop("thrifty", data=data, may_pay=0)
        life.die(point, moment)

    return way


def dropped(life: Life, moment: Moment) -> None:
    """Between its acceptance and its sending a file is taken away, or becomes another one."""
    path = life.drop("careful", life.fresh(), may_pay=0)
    life.die_until("adopted", "after", lambda: any(job.source.path == path for job in life.daemon.jobs()))
    life.take(life.shares["careful"].inbox / path)
    if life.chance.random() < 0.5:
        life.drop("careful", path)
    life.die("dropped", moment)


def not_takeable(life: Life, moment: Moment) -> None:
    """Between its acceptance and its sending a file becomes a link to somebody else's."""
    path = life.drop("careful", life.fresh(), may_pay=0)
    life.die_until("adopted", "after", lambda: any(job.source.path == path for job in life.daemon.jobs()))
    at = life.shares["careful"].inbox / path
    life.take(at)
    at.symlink_to(life.daemon.settings_file)
    life.die("not_takeable", moment)


def not_accepted(life: Life, moment: Moment) -> None:
    """The platform is busy, or refuses."""
    life.drop("portrait")
    if life.chance.random() < 0.5:
        life.harm("refuse")
    else:
        life.harm("status", status=429)
    life.die("not_accepted", moment)


def uploads_lost(point: Point, *, late: bool) -> Way:
    """The platform has forgotten an upload, and says so at once or when the task runs (`late`)."""

    def way(life: Life, moment: Moment) -> None:
        life.drop("graph")
        life.die("uploaded", "after")
        for job in life.daemon.jobs(*OPEN) if late else []:
            if job.route == "graph":
                life.allow(life.sha256(job))
        life.platform.forget(late_missing=late)
        life.die(point, moment)

    return way


def changed(life: Life, moment: Moment) -> None:
    """A file is written on while it is uploaded."""
    # More than the sockets' buffers hold, so that the upload has to wait for the platform in its middle.
    path = life.drop("careful", life.fresh(), life.picture() + bytes(16 * 2**20), may_pay=0)
    life.harm("slow", seconds=2.0)

    def uploading() -> bool:
        ours = {event["job"] for event in life.daemon.events("job_queued") if event["path"] == path}
        return any(event["job"] in ours for event in life.daemon.events("job_submitting"))

    def write_on() -> None:
        life.daemon.wait(uploading, "the upload has begun")
        life.write_on(life.shares["careful"].inbox / path)

    life.die("changed", moment, meanwhile=write_on)


def names_taken(life: Life, moment: Moment) -> None:
    """Between the choice of the names and the publishing somebody takes one of them."""
    life.drop("careful", life.fresh())

    def named() -> list[Path]:
        found = [job for job in life.daemon.jobs(State.RENDERED) if job.base is not None and job.route != "first"]
        paths = [life.shares[job.route].outbox / job.folder / str(job.outputs[-1].file) for job in found]
        return [path for path in paths if not path.exists()]

    life.die_until("names", "after", named)
    for path in named():
        life.put_in_the_way(path)
    life.die("names_taken", moment)


def no_place(point: Point, root: Literal["outbox", "done"]) -> Way:
    """Somebody's own file lies where a folder of the outbox or of done/ should be; it is taken away again later."""

    def way(life: Life, moment: Moment) -> None:
        path, share = life.fresh(), life.shares["careful"]
        at = (share.outbox if root == "outbox" else share.done) / f"folder-{path}"
        life.put_in_the_way(at)
        life.drop("careful", f"folder-{path}/{path}")
        life.die(point, moment)
        life.out_of_the_way(at)

    return way


def too_large(point: Point) -> Way:
    """A result is larger than allowed: it is paid for and cannot be delivered, until a person allows more."""

    def way(life: Life, moment: Moment) -> None:
        life.settle(cap="50B")
        if point == "undeliverable":
            life.drop("tight")
            life.die(point, moment)
            life.settle()
            return
        job = life.ended("tight", State.FAILED)
        life.settle()
        life.retry(job)
        life.die(point, moment)

    return way


def lent_out(point: Point) -> Way:
    """A picture for a model is put where the platform can fetch it, and removed."""

    def way(life: Life, moment: Moment) -> None:
        path = life.drop("repaint")
        life.drop("repaint", path.removesuffix(".png") + ".txt", f"as {path} would be in oil".encode())
        life.die(point, moment)

    return way


def _hedged(life: Life, path: str) -> Job | None:
    return next((job for job in life.daemon.jobs() if job.route == "hedged" and job.source.path == path), None)


def _lost_an_answer(job: Job) -> bool:
    return any(s.outcome is Outcome.UNKNOWN for s in job.submissions)


def _lagging(life: Life, *, doomed: bool = False) -> str:
    """A task is pending on a cluster that begins nothing, of a route that will send it once more: two tasks for it.
    Returns its file's path. `doomed`: the task fails once it begins."""

    def is_there() -> bool:
        if doomed:
            life.harm("fail_task")
        job = _hedged(life, path)
        return job is not None and (job.state is State.SUBMITTED or _lost_an_answer(job))

    for _ in range(8):
        if any(job.route == "hedged" for job in life.daemon.jobs(*OPEN)):
            # What lagged before would lag again after each death, and go first each time.
            life.let_begin(begins=True)
            life.rest()
            life.let_begin(begins=False)
        life.settle(hedged=[STUCK[0].name])
        path = life.drop("hedged", life.fresh(), may_pay=2)
        if doomed:
            life.harm("fail_task")
        life.die_until("accepted", "after", is_there)
        life.platform.faults()
        job = _hedged(life, path)
        if job is not None and not _lost_an_answer(job):
            return path
        # A death that another job's commit brought has cost it an answer: it must not have a second task.
    raise AssertionError("each of them lost an answer")


def _others(life: Life, enough: Callable[[], bool] = lambda: False) -> Callable[[], None]:
    """Meanwhile others begin elsewhere, until the daemon dies or it is enough."""

    def meanwhile() -> None:
        assert life.daemon.process is not None
        for look in range(120):
            if look % 8 == 0:
                for _ in range(4):
                    life.drop("portrait")
            try:
                life.daemon.process.wait(0.5)
            except subprocess.TimeoutExpired:
                if not enough():
                    continue
            return

    return meanwhile


def _left_behind(life: Life, path: str) -> None:
    """The daemon dies once that one has left its task behind, and the second one was not sent yet."""
    for _ in range(8):
        life.die("left_behind", "after", meanwhile=_others(life))
        job = _hedged(life, path)
        if job is not None and job.spare is not None:
            return
    raise AssertionError("others go first")


def lagging(point: Point) -> Way:
    """A task lags, and a second one is begun."""

    def way(life: Life, moment: Moment) -> None:
        _lagging(life)
        life.settle()
        life.die(point, moment, meanwhile=_others(life))

    return way


def taken_back(life: Life, moment: Moment) -> None:
    """A task was left behind, and its job gets it back at the next start, for the second one was not sent yet."""
    path = _lagging(life)
    life.settle()
    _left_behind(life, path)
    life.die("taken_back", moment)


def spare_lost(life: Life, moment: Moment) -> None:
    """Of two tasks the first one fails, while the second one is with the platform."""
    path = _lagging(life, doomed=True)
    life.settle(hedged=[cluster.name for cluster in STUCK])

    def both_are_there() -> bool:
        job = _hedged(life, path)
        return job is not None and job.spare is not None and job.state is State.SUBMITTED

    def begins() -> None:
        _others(life, both_are_there)()
        life.let_begin(begins=True)

    life.die("spare_lost", moment, meanwhile=begins)
    life.let_begin(begins=False)
    life.settle()


def silent(life: Life, moment: Moment) -> None:
    """A task never says anything new."""
    life.drop("careful")
    life.harm("stuck", count=1)
    life.die("silent", moment)


WAYS: Final[Mapping[Point, Way]] = {
    "start": dropping("start", several=False),
    "recovered": recovered,
    "share_seen": share_seen,
    "trouble": trouble("trouble"),
    "trouble_over": trouble("trouble_over"),
    "adopted": dropping("adopted", several=False),
    "disbanded": disbanded,
    "renamed": retried("renamed"),
    "brought_back": retried("brought_back"),
    "given_up": retried("given_up"),
    "unsaid": retried("unsaid"),
    "chain_unsaid": chain_unsaid,
    "claimed": the_same("claimed"),
    "waits_for_same": the_same("waits_for_same"),
    "shared": the_same("shared"),
    "resumed": too_large("resumed"),
    "dropped": dropped,
    "not_takeable": not_takeable,
    "submitting": dropping("submitting"),
    "uploaded": dropping("uploaded", "graph"),
    "to_publish": lent_out("to_publish"),
    "complete": dropping("complete"),
    "accepted": dropping("accepted"),
    "not_accepted": not_accepted,
    "upload_forgotten": uploads_lost("upload_forgotten", late=False),
    "changed": changed,
    "unpublished": lent_out("unpublished"),
    "clusters_seen": dropping("clusters_seen", several=False),
    "left_behind": lagging("left_behind"),
    "taken_back": taken_back,
    "progress": dropping("progress", "slow"),
    "lags": lagging("lags"),
    "rendered": dropping("rendered"),
    "task_failed": failing("task_failed"),
    "uploads_again": uploads_lost("uploads_again", late=True),
    "silent": silent,
    "spare_lost": spare_lost,
    "fetched": dropping("fetched"),
    "names": dropping("names"),
    "names_taken": names_taken,
    "no_place": no_place("no_place", "outbox"),
    "delivered": dropping("delivered"),
    "undeliverable": too_large("undeliverable"),
    "archive_waits": no_place("archive_waits", "done"),
    "where_to": failing("where_to"),
    "part_name": failing("part_name", "grid", may_pay=2),
    "chain_name": failing("chain_name", "first"),
    "filed": dropping("filed"),
}
