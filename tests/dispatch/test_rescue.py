"""A second task for a job whose first one lags: only where its route says so, once, and when it can be sent now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection

from renderdrop.dispatch import rescue
from renderdrop.dispatch.ejection import Ejection, Record, replay
from renderdrop.dispatch.limits import Limits
from renderdrop.ledger import engine, experience, moves, spares
from renderdrop.model.errors import Busy, Fault, PlatformDown, Refused, Temporary, Unknown
from renderdrop.model.experience import blames
from renderdrop.model.hours import hours
from renderdrop.model.job import Job, Outcome, Spare
from renderdrop.model.lifecycle import State
from renderdrop.model.route import OnUnknown, Route
from renderdrop.model.wishes import Wishes
from renderdrop.platform.client import Client
from renderdrop.platform.reports import Report, Status

if TYPE_CHECKING:
    from tests.dispatch.conftest import Yard


class Ward:
    """A route that rescues, a job of it whose task 230 on GPU-4090 lags, and what the platform says of that task."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.says: Status | Fault = "pending"
        self.asked: list[str] = []
        self.meanwhile: Callable[[], Any] = lambda: None
        yard.again(replace(yard.route, rescue=True))

    async def ask(self, _: Client, task: str, __: object) -> Report:
        self.asked.append(task)
        self.meanwhile()
        if isinstance(self.says, Fault):
            raise self.says
        return Report(self.says, None, None, (), (), ())

    async def lagging(self, path: str = "a.png", **changes: Any) -> Job:
        wishes = Wishes(clusters=changes.pop("clusters", ()))
        job = await self.yard.picture(path, path.encode(), wishes=wishes)
        await self.yard.rounds()
        at = self.yard.clock.text()
        marks = {"status": "pending", "lags_since": at, "error": "task 230 lags", **changes}
        await self.yard.books.ledger.write(lambda c: moves.change(c, job.id, State.SUBMITTED, at, **marks))
        return await self.see(job)

    async def see(self, job: Job) -> Job:
        return await self.yard.books.see(job)

    async def left(self, path: str = "a.png") -> Job:
        """A job that has left its task behind; its second one was not sent for a fault of the moment."""
        job = await self.lagging(path)
        self.yard.answers.append(Temporary("reset"))
        await self.yard.rounds()
        now = await self.see(job)
        assert (now.state, now.spare and now.spare.task_id) == (State.QUEUED, "230")
        self.asked.clear()
        return now


@pytest.fixture
def ward(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> Ward:
    made = Ward(yard)
    monkeypatch.setattr(rescue, "ASK", dict.fromkeys(("app", "graph", "model"), made.ask))
    return made


async def test_a_job_that_lags_is_sent_once_more_to_another_cluster(ward: Ward) -> None:
    job = await ward.lagging()
    assert (job.task_id, job.cluster) == ("230", "GPU-4090")
    await ward.yard.rounds()
    now = await ward.see(job)
    assert (now.state, now.task_id, now.cluster) == (State.SUBMITTED, "231", "GPU-A800")
    assert now.spare == Spare("230", "GPU-4090", now.submissions[0].left_at or "")
    assert [asked.cluster for asked in ward.yard.asked] == ["GPU-4090", "GPU-A800"]
    assert ward.asked == ["230"]
    assert ward.yard.farm.left == ["GPU-4090"]
    notes = [step.note for step in await ward.yard.books.ledger.read(lambda c: _steps(c, job))]
    assert "task 230 lags; it is sent once more, and whichever task comes first is used" in notes


def _steps(c: Connection, job: Job) -> Any:
    from renderdrop.ledger import queries

    return queries.steps(c, job.id)


async def test_a_restart_knows_of_tasks_left_behind_and_of_refusals_as_the_daemon_did(ward: Ward) -> None:
    lived, farm, clock = Ejection(), ward.yard.farm, ward.yard.clock
    for path in ("a.png", "b.png", "c.png"):
        await ward.lagging(path)
        before = len(farm.left), len(farm.blamed)
        await ward.yard.rounds()
        assert (len(farm.left), len(farm.blamed)) == (before[0] + 1, before[1])
    for cluster in farm.left:
        lived = lived.failed(cluster, str(len(lived.records.get(cluster, Record()).jobs)), clock.at)
    ward.yard.answers += [Refused("no"), Refused("no such call", "404", 404), Refused("no such call", "404", 404)]
    for path, wrong in (("d.png", None), ("e.png", None), ("f.png", "the address is wrong")):
        farm.wrong = wrong
        await ward.yard.picture(path, path.encode())
        await ward.yard.dispatch.round()
        while running := set(ward.yard.tasks._running):
            await asyncio.wait(running)
    tries = await ward.yard.books.ledger.read(experience.tries)
    assert [one.left is not None for one in tries].count(True) == len(farm.left) == 3
    assert [one.cluster for one in tries if blames(one.outcome, one.detail)] == farm.blamed
    assert len(farm.blamed) == 2
    replayed = replay([one for one in tries if one.left is not None], [], clock.now().timestamp(), clock.at)
    assert replayed.out(clock.at) == lived.out(clock.at) == {"GPU-4090"}


async def test_never_twice_in_a_jobs_life(ward: Ward) -> None:
    job = await ward.lagging()
    await ward.yard.rounds()
    at = ward.yard.clock.text()
    marks = {"status": "pending", "lags_since": at}
    await ward.yard.books.ledger.write(lambda c: moves.change(c, job.id, State.SUBMITTED, at, **marks))
    await ward.yard.rounds(10, apart=60.0)
    assert len(ward.yard.asked) == 2
    await ward.yard.books.ledger.write(
        lambda c: spares.take_back(c, job.id, State.SUBMITTED, at, "") and moves.change(
            c, job.id, State.SUBMITTED, at, **marks
        )
    )  # fmt: skip
    ward.yard.again(ward.yard.route)  # nor after a restart
    await ward.yard.rounds(10, apart=60.0)
    assert len(ward.yard.asked) == 2
    assert (await ward.see(job)).task_id == "230"


async def test_no_route_that_does_not_say_so_pays_twice(ward: Ward) -> None:
    job = await ward.lagging()
    ward.yard.again(replace(ward.yard.route, rescue=False))
    await ward.yard.rounds(5, apart=60.0)
    assert await ward.see(job) == job
    assert (len(ward.yard.asked), ward.asked) == (1, [])


@pytest.mark.parametrize(
    "says",
    ["running", "success", "fail", Temporary("reset"), Refused("任务不存在"), Busy("429", 1.0), PlatformDown("401")],
    ids=str,
)
async def test_nothing_is_paid_that_is_not_pending_by_the_platforms_word_of_this_moment(
    says: Status | Fault, ward: Ward
) -> None:
    job = await ward.lagging()
    ward.says = says
    await ward.yard.rounds(3)
    assert await ward.see(job) == job
    assert (len(ward.yard.asked), ward.asked) == (1, ["230"])  # nor is the platform asked every second


async def test_a_look_is_no_licence_for_ever(ward: Ward) -> None:
    job = await ward.lagging()
    ward.meanwhile = lambda: ward.yard.clock.run(120.0)  # as long as the answer took
    await ward.yard.rounds()
    assert await ward.see(job) == job
    assert len(ward.yard.asked) == 1


@pytest.mark.parametrize(
    "changes",
    [{"status": "running"}, {"lags_since": None}, {"rescued": True}, {"paid": True, "status": "success"}],
    ids=str,
)
async def test_a_job_that_does_not_lag_is_left_alone(changes: dict[str, Any], ward: Ward) -> None:
    job = await ward.lagging(**changes)
    await ward.yard.rounds(3, apart=60.0)
    assert await ward.see(job) == job


async def test_a_job_that_has_lost_an_answer_is_not_sent_again(ward: Ward) -> None:
    ward.yard.answers.append(Unknown("silence"))
    job = await ward.lagging()
    for _ in range(3):
        await ward.yard.rounds()
    at = ward.yard.clock.text()
    marks = {"status": "pending", "lags_since": at}
    await ward.yard.books.ledger.write(lambda c: moves.change(c, job.id, State.SUBMITTED, at, **marks))
    before = len(ward.yard.asked)
    await ward.yard.rounds(5, apart=60.0)
    now = await ward.see(job)
    assert [s.outcome for s in now.submissions] == [Outcome.UNKNOWN, Outcome.ACCEPTED]
    assert (now.state, len(ward.yard.asked)) == (State.SUBMITTED, before)


LIMITS: dict[str, dict[str, Any]] = {
    "hours": {"submit_between": (hours("03:00-03:01"),)},
    "day": {"max_tasks_per_day": 1},
    "at once": {"max_in_flight": 1},
}


@pytest.mark.parametrize("limit", LIMITS)
async def test_what_hours_and_limits_forbid_goes_on_pending(limit: str, ward: Ward) -> None:
    job = await ward.lagging()
    ward.yard.use(replace(ward.yard.route, **LIMITS[limit]))
    await ward.yard.rounds(3, apart=60.0)
    assert await ward.see(job) == job
    ward.yard.use(replace(ward.yard.route, submit_between=(), max_tasks_per_day=2, max_in_flight=2))
    await ward.yard.rounds(1)
    assert (await ward.see(job)).task_id == "231"


async def test_the_budget_of_all_routes_is_kept(ward: Ward) -> None:
    job = await ward.lagging()
    ward.yard.dispatch.set_limits(Limits(a_day=1))
    await ward.yard.rounds(3, apart=60.0)
    assert await ward.see(job) == job


async def test_where_every_other_cluster_is_left_alone_it_goes_on_pending(ward: Ward) -> None:
    job = await ward.lagging()
    ward.yard.farm.resting = frozenset({"GPU-A800"})
    await ward.yard.rounds(3, apart=60.0)
    assert await ward.see(job) == job
    assert ward.yard.troubles.of("route", "portrait") is None
    ward.yard.farm.resting = frozenset()
    await ward.yard.rounds()
    assert (await ward.see(job)).task_id == "231"


async def test_a_job_whose_ticket_allows_one_cluster_has_nowhere_to_go(ward: Ward) -> None:
    job = await ward.lagging(clusters=("GPU-4090",))
    await ward.yard.rounds(3, apart=60.0)
    assert await ward.see(job) == job
    assert ward.yard.troubles.of("route", "portrait") is None


@pytest.mark.parametrize("what", ["gone", "changed"])
async def test_a_source_that_is_not_there_any_more_is_no_reason_to_give_the_first_task_up(
    what: str, ward: Ward
) -> None:
    job = await ward.lagging()
    _spoil(ward.yard.route, what)
    await ward.yard.rounds(3, apart=60.0)
    assert await ward.see(job) == job


def _spoil(route: Route, what: str) -> None:
    path = route.inbox / "a.png"
    if what == "gone":
        path.unlink()
    elif what == "changed":
        path.write_bytes(b"something else")
    else:
        path.unlink()
        path.symlink_to(Path("/etc/hostname"))


@pytest.mark.parametrize("what", ["gone", "changed", "link"])
async def test_a_job_in_the_queue_whose_source_is_spoilt_takes_its_first_task_back(what: str, ward: Ward) -> None:
    job = await ward.left()
    _spoil(ward.yard.route, what)
    await ward.yard.rounds(2, apart=60.0)
    now = await ward.see(job)
    assert (now.state, now.task_id, now.spare) == (State.SUBMITTED, "230", None)


async def test_a_second_task_that_could_not_be_sent_is_tried_again_while_the_first_is_pending(ward: Ward) -> None:
    job = await ward.left()
    await ward.yard.rounds(3, apart=60.0)
    now = await ward.see(job)
    assert (now.state, now.task_id, now.cluster, ward.asked) == (State.SUBMITTED, "231", "GPU-A800", ["230"])
    assert [s.outcome for s in now.submissions] == [Outcome.ACCEPTED, Outcome.NOT_SENT, Outcome.ACCEPTED]


@pytest.mark.parametrize("says", ["running", "success", "fail"])
async def test_a_first_task_that_goes_on_is_taken_back_before_a_second_one_is_sent(says: Status, ward: Ward) -> None:
    job = await ward.left()
    ward.says = says
    ward.yard.again(ward.yard.route)  # a restart, long after
    await ward.yard.rounds()
    now = await ward.see(job)
    assert (now.state, now.task_id, now.spare, len(ward.yard.asked)) == (State.SUBMITTED, "230", None, 1)


async def test_a_start_sends_no_second_task_for_a_lag_that_was_found_before_it(ward: Ward) -> None:
    job, new = await ward.left(), await ward.yard.picture("new.png")
    ward.yard.again(ward.yard.route)
    await ward.yard.rescue.begin_anew()
    now = await ward.see(job)
    assert (now.state, now.task_id, now.spare, now.error) == (State.SUBMITTED, "230", None, rescue._LONG_AGO)
    await ward.yard.rounds(5, apart=60.0)
    assert ((await ward.see(job)).task_id, ward.asked) == ("230", [])
    assert (await ward.see(new)).state is State.SUBMITTED
    # Once it is late by this process's own sight it has its second one, for none was sent yet.
    at = ward.yard.clock.text()
    marks = {"status": "pending", "lags_since": at}
    await ward.yard.books.ledger.write(lambda c: moves.change(c, job.id, State.SUBMITTED, at, **marks))
    await ward.yard.rounds()
    assert (await ward.see(job)).task_id == "232"


async def test_a_route_that_does_not_say_so_any_more_sends_no_second_task(ward: Ward) -> None:
    job = await ward.left()
    ward.yard.again(replace(ward.yard.route, rescue=False))
    await ward.yard.rounds(3, apart=60.0)
    now = await ward.see(job)
    assert (now.state, now.task_id, now.spare, len(ward.yard.asked)) == (State.SUBMITTED, "230", None, 1)


async def test_a_first_task_of_which_nothing_can_be_told_is_neither_doubled_nor_given_up(ward: Ward) -> None:
    job = await ward.left()
    ward.says = Temporary("reset")
    await ward.yard.rounds(5, apart=60.0)
    now = await ward.see(job)
    assert (now.state, now.spare is not None, len(ward.yard.asked)) == (State.QUEUED, True, 1)


async def test_a_lost_answer_of_the_second_is_no_reason_for_a_third_nor_for_a_person(ward: Ward) -> None:
    ways: tuple[tuple[OnUnknown, str], ...] = (("resubmit", "a.png"), ("hold", "b.png"))
    for on_unknown, path in ways:
        ward.yard.again(replace(ward.yard.route, on_unknown_submit=on_unknown))
        job = await ward.lagging(path)
        first, before = job.task_id, len(ward.yard.asked)
        ward.yard.answers.append(Unknown("silence"))
        await ward.yard.rounds(5, apart=60.0)
        now = await ward.see(job)
        assert (now.state, now.task_id, now.spare) == (State.SUBMITTED, first, None)
        assert [s.outcome for s in now.submissions] == [Outcome.ACCEPTED, Outcome.UNKNOWN]
        assert now.submissions[-1].detail == "silence: it may be running and paid for"
        assert (
            now.error
            == "silence: it may be running and paid for; the job goes on with the task that it had left behind"
        )
        assert len(ward.yard.asked) == before


async def test_a_second_task_that_is_refused_for_good_gives_way_to_the_first(ward: Ward) -> None:
    ward.yard.again(replace(ward.yard.route, attempts=2))
    job = await ward.lagging()
    ward.yard.answers += [Refused("no"), Refused("no")]
    await ward.yard.rounds(6, apart=60.0)
    now = await ward.see(job)
    assert (now.state, now.task_id, now.spare) == (State.SUBMITTED, "230", None)
    assert [s.outcome for s in now.submissions] == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.REFUSED]
    assert ward.yard.woken.count("submitted") == 1


async def test_a_file_that_changes_during_the_second_upload_gives_way_to_the_first_task(ward: Ward) -> None:
    job = await ward.lagging()
    ward.yard.meanwhile = lambda: _spoil(ward.yard.route, "changed")
    await ward.yard.rounds(2)
    now = await ward.see(job)
    assert (now.state, now.task_id, now.spare) == (State.SUBMITTED, "230", None)


async def test_the_very_same_is_not_looked_for_once_more(ward: Ward) -> None:
    ward.yard.again(replace(ward.yard.route, duplicates="skip"))
    job = await ward.lagging()
    await ward.yard.rounds()
    assert (await ward.see(job)).task_id == "231"


async def test_one_after_the_other_while_what_was_never_sent_goes_its_way(ward: Ward) -> None:
    jobs = [await ward.lagging(path) for path in ("a.png", "b.png")]

    async def left() -> list[bool]:
        return [(await ward.see(job)).spare is not None for job in jobs]

    assert await left() == [True, False]  # the first went while the other one was made
    await ward.yard.picture("new.png", b"new")
    await ward.yard.rounds()
    assert await left() == [True, True]
    assert len(ward.yard.asked) == 5


async def test_a_first_task_that_begins_during_the_second_upload_is_taken_back_before_that_is_whole(ward: Ward) -> None:
    job = await ward.lagging()

    def begins() -> None:
        with engine.transaction(ward.yard.books.ledger.path) as conn:
            assert spares.begin(conn, job.id, "230", ward.yard.clock.text())

    ward.yard.meanwhile = begins
    await ward.yard.rounds()
    ward.says = "running"
    await ward.yard.rounds(2, apart=60.0)
    now = await ward.see(job)
    assert (now.state, now.task_id, now.spare) == (State.SUBMITTED, "230", None)
    assert [s.outcome for s in now.submissions] == [Outcome.ACCEPTED, Outcome.NOT_SENT]


async def test_a_queued_job_that_finds_no_other_cluster_goes_back_to_its_first_task(ward: Ward) -> None:
    """Where that never says anything again, a person is asked as for any other."""
    job = await ward.left()
    ward.yard.farm.resting = frozenset({"GPU-A800"})
    await ward.yard.rounds(2, apart=60.0)
    now = await ward.see(job)
    assert (now.state, now.task_id, now.spare) == (State.SUBMITTED, "230", None)
    assert ward.asked == []
