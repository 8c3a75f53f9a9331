"""What becomes of a submission: every outcome, with the job's next state, who waits and what was burnt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection

from renderdrop.dispatch.farm import Farm
from renderdrop.dispatch.graphs import Graphs
from renderdrop.dispatch.kinds import Errand, Kinds
from renderdrop.dispatch.opened import Opened
from renderdrop.dispatch.publish import Publisher
from renderdrop.dispatch.submit import Submit
from renderdrop.dispatch.upload import Stopping
from renderdrop.ledger import moves
from renderdrop.model.errors import (
    Busy,
    Fault,
    PlatformDown,
    Refused,
    ShareOffline,
    SourceChanged,
    Temporary,
    Unknown,
)
from renderdrop.model.experience import blames
from renderdrop.model.job import Job, Outcome, Place
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.platform import apps
from renderdrop.platform.answers import Nonsense, OwnError
from renderdrop.platform.client import Client
from renderdrop.runtime.disk import Disk, Disks
from renderdrop.runtime.hands import Hands
from renderdrop.runtime.recovery import after_crash
from renderdrop.runtime.tasks import Tasks
from renderdrop.runtime.troubles import SUBMISSIONS, Troubles

if TYPE_CHECKING:
    from tests.conftest import Books, FakeClock

Answers = list[Fault | str]


async def no_doubt() -> str | None:
    return None


class Sent:
    """One sender on a platform that gives the answers of a list."""

    def __init__(self, books: Books, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.books = books
        self.answers: Answers = []
        self.rested: list[str] = []
        self.woken: list[str] = []
        self.requests = 0
        self.doubt: Callable[[], Awaitable[str | None]] = no_doubt
        """What is found wrong with the address when it is looked at."""
        self.troubles = Troubles(books.ledger, clock)
        self.hands = Hands(4, Tasks(), clock, "submit")
        client = Client("http://127.0.0.1:1", SecretStr("AI-x"))
        farm = cast(Farm, self)
        self.submit = Submit(
            Kinds(client, books.ledger, clock, Graphs(Disks()), Publisher(books.ledger)), books.ledger, clock,
            self.troubles, farm, self.hands,
            lambda: self.woken.append("submitted"), lambda: self.woken.append("ended"),
        )  # fmt: skip
        monkeypatch.setattr(apps, "run", self.run)

    def accepted(self, cluster: str) -> None:
        pass

    def leave_alone(self, cluster: str) -> None:
        self.rested.append(cluster)

    async def astray(self) -> str | None:
        return await self.doubt()

    async def run(
        self, _: Client, request: apps.Request, before_last: Callable[[], Awaitable[None]], __: datetime
    ) -> str:
        self.requests += 1
        answer = self.answers.pop(0)
        if not isinstance(answer, (Temporary, ShareOffline, SourceChanged, Stopping)) or isinstance(answer, OwnError):
            async for _chunk in request.files[0].chunks():
                pass
            await before_last()
        if isinstance(answer, Fault):
            raise answer
        return answer

    async def job(self, name: str = "a.png", route: Route | None = None) -> Job:
        path = self.books.route.inbox / name
        path.write_bytes(b"abc")
        return await self.books.job(path=name, size=3, mtime_ns=path.stat().st_mtime_ns, route=route)

    async def once(self, job: Job, answer: Fault | str, route: Route | None = None) -> Job:
        """One submission, as `dispatch` begins it."""
        home = route or self.books.route
        self.answers.append(answer)
        job = await self.books.see(job)

        def begin(c: Connection) -> int | None:
            return moves.begin_submission(
                c, job.id, "2026", cluster="GPU-4090", note="", workflow_id="1", version_id=None, params={}, priority=0
            )

        number = await self.books.ledger.write(begin)
        assert number is not None
        with Opened.of(Disk(), home, job, lambda: self.submit.stopped) as files:
            await self.submit.send(Errand(home, job, number, "GPU-4090", {}, files))
        return await self.books.see(job)


@pytest.fixture
def sent(books: Books, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Sent:
    return Sent(books, clock, monkeypatch)


async def test_an_accepted_job_has_its_task_and_the_hash_of_what_was_sent(sent: Sent) -> None:
    job = await sent.once(await sent.job(), "230")
    assert (job.state, job.task_id, job.error, job.times.submitted is not None) == (State.SUBMITTED, "230", None, True)
    assert job.source.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    [submission] = job.submissions
    assert (submission.outcome, submission.task_id, submission.complete) == (Outcome.ACCEPTED, "230", True)
    assert sent.woken == ["submitted"]


TABLE: list[tuple[Fault, State, Outcome, int, str | None]] = [
    (Refused("余额不足"), State.QUEUED, Outcome.REFUSED, 1, None),
    (Temporary("reset"), State.QUEUED, Outcome.NOT_SENT, 1, None),
    (Nonsense("html"), State.QUEUED, Outcome.NOT_SENT, 1, None),
    (OwnError("500"), State.QUEUED, Outcome.NOT_SENT, 1, None),
    (Busy("429", 5.0), State.QUEUED, Outcome.NOT_SENT, 0, "submissions"),
    (PlatformDown("401"), State.QUEUED, Outcome.NOT_SENT, 0, "platform"),
    (ShareOffline("full"), State.QUEUED, Outcome.NOT_SENT, 0, "share"),
    (Stopping("the end"), State.QUEUED, Outcome.NOT_SENT, 0, None),
    (Unknown("silence"), State.QUEUED, Outcome.UNKNOWN, 0, None),
    (SourceChanged("it changed"), State.CANCELLED, Outcome.NOT_SENT, 0, None),
]


@pytest.mark.parametrize(
    ("fault", "state", "outcome", "burnt", "trouble"), TABLE, ids=[type(t[0]).__name__ for t in TABLE]
)
async def test_what_a_fault_does_to_its_job(
    fault: Fault, state: State, outcome: Outcome, burnt: int, trouble: str | None, sent: Sent
) -> None:
    job = await sent.once(await sent.job(), fault)
    assert (job.state, job.submissions[0].outcome, job.attempts, job.task_id) == (state, outcome, burnt, None)
    assert fault.sentence in (job.error or "")
    assert (sent.troubles.platform is not None) == (trouble == "platform")
    assert sent.troubles.stops(SUBMISSIONS) == (trouble in ("platform", "submissions"))
    assert (sent.troubles.of("share", "portrait") is not None) == (trouble == "share")
    assert sent.rested == (["GPU-4090"] if isinstance(fault, Refused) else [])


async def test_a_changed_source_is_let_go_so_that_it_settles_again_as_a_new_job(sent: Sent) -> None:
    job = await sent.once(await sent.job(), SourceChanged("it changed"))
    assert (job.source.place, job.source.filed) == (Place.GONE, True)
    assert await sent.books.history(job) == [
        (None, State.QUEUED), (State.QUEUED, State.SUBMITTING), (State.SUBMITTING, State.QUEUED),
        (State.QUEUED, State.CANCELLED),
    ]  # fmt: skip


@pytest.mark.parametrize("fault", [Refused("余额不足"), Temporary("reset")])
async def test_the_attempts_of_a_job_come_to_an_end_and_it_says_why(fault: Fault, sent: Sent) -> None:
    job = await sent.job()
    states = [(await sent.once(job, fault)).state for _ in range(3)]
    assert states == [State.QUEUED, State.QUEUED, State.FAILED]
    now = await sent.books.see(job)
    assert now.attempts == 3
    assert fault.sentence in (now.error or "")
    assert sent.woken == ["ended"]


async def test_a_busy_platform_burns_no_attempt_however_often_it_says_so(sent: Sent) -> None:
    job = await sent.job()
    for _ in range(6):
        assert (await sent.once(job, Busy("429"))).state is State.QUEUED
    assert (await sent.books.see(job)).attempts == 0


async def test_an_unknown_submission_is_sent_once_more_and_then_held(sent: Sent) -> None:
    job = await sent.job()
    assert (await sent.once(job, Unknown("silence"))).state is State.QUEUED
    held = await sent.once(job, Unknown("silence"))
    assert (held.state, [s.outcome for s in held.submissions]) == (State.HELD, [Outcome.UNKNOWN] * 2)


async def test_where_the_route_says_hold_an_unknown_submission_is_held_at_once(
    sent: Sent, make_route: Callable[..., Route]
) -> None:
    route = make_route(on_unknown_submit="hold")
    assert (await sent.once(await sent.job(route=route), Unknown("silence"), route)).state is State.HELD


async def test_three_refusals_with_one_message_on_different_files_pause_the_route(sent: Sent) -> None:
    jobs = [await sent.job(f"{n}.png") for n in range(4)]
    for n, job in enumerate(jobs[:3]):
        assert sent.troubles.of("route", "portrait") is None
        now = await sent.once(job, Refused("工作流不存在"))
        assert now.state is State.QUEUED
        assert now.attempts == (1 if n < 2 else 0)
    trouble = sent.troubles.of("route", "portrait")
    assert trouble is not None
    assert "工作流不存在" in trouble.sentence
    # A trial that is refused again burns nothing; one that is accepted ends the pause.
    assert (await sent.once(jobs[2], Refused("工作流不存在"))).attempts == 0
    assert (await sent.once(jobs[3], "230")).state is State.SUBMITTED
    assert sent.troubles.of("route", "portrait") is None


async def test_refusals_of_one_file_or_with_different_words_are_the_files_own(sent: Sent) -> None:
    one = await sent.job("one.png")
    for said in ("a", "a", "a"):
        await sent.once(one, Refused(said))
    for n, said in enumerate(("b", "c", "b")):
        await sent.once(await sent.job(f"{n}.png"), Refused(said))
    assert sent.troubles.of("route", "portrait") is None


async def test_temporary_faults_on_several_jobs_in_a_row_are_the_platforms(sent: Sent) -> None:
    jobs = [await sent.job(f"{n}.png") for n in range(3)]
    burnt = [(await sent.once(job, Temporary("502"))).attempts for job in jobs]
    assert burnt == [1, 0, 0]
    assert sent.troubles.stops(SUBMISSIONS)
    assert sent.troubles.platform is None  # what is paid for is asked after and fetched all the same


async def test_a_task_of_a_job_that_was_cancelled_meanwhile_is_remembered(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await sent.job()

    async def slowly(*_: object) -> str:
        await sent.books.ledger.write(lambda c: moves.cancel(c, job.id, State.SUBMITTING, "2026", "not wanted"))
        return "230"

    monkeypatch.setattr(apps, "run", slowly)
    now = await sent.once(job, "230")
    assert (now.state, now.submissions[0].task_id) == (State.CANCELLED, "230")
    assert sent.woken == []


async def test_a_message_with_line_breaks_cannot_forge_a_line_of_the_notice(sent: Sent) -> None:
    job = await sent.once(await sent.job(), Refused("no\n\x1b[2JForged: yes"))
    assert len((job.error or "").splitlines()) == 1
    assert Path(job.source.path).name == "a.png"


@pytest.mark.parametrize(
    ("whole", "outcome"), [(True, Outcome.UNKNOWN), (False, Outcome.NOT_SENT)], ids=["after the last byte", "before"]
)
async def test_an_error_that_nobody_foresaw_does_not_leave_a_job_on_the_wire(
    whole: bool, outcome: Outcome, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(_: Client, request: apps.Request, before_last: Callable[[], Awaitable[None]], __: datetime) -> str:
        if whole:
            async for _chunk in request.files[0].chunks():
                pass
            await before_last()
        raise KeyError("nobody foresaw this")

    monkeypatch.setattr(apps, "run", run)
    job = await sent.job()
    with pytest.raises(KeyError):
        await sent.once(job, "230")
    job = await sent.books.see(job)
    assert (job.state, job.submissions[0].outcome) == (State.QUEUED, outcome)


async def test_lost_answers_on_several_jobs_in_a_row_stop_the_submissions(sent: Sent) -> None:
    jobs = [await sent.once(await sent.job(f"{n}.png"), Unknown("no answer came")) for n in range(3)]
    assert [job.state for job in jobs] == [State.QUEUED] * 3
    assert sent.troubles.stops(SUBMISSIONS)


async def test_a_platform_that_stumbles_now_and_then_burns_no_attempts(sent: Sent, clock: FakeClock) -> None:
    one, other = await sent.job("one.png"), await sent.job("other.png")
    for n in range(4):  # each fault has a success behind it, so that it is no row
        await sent.once(one, Temporary("reset"))
        await sent.once(other, Temporary("reset"))
        await sent.once(await sent.job(f"{n}.png"), str(n))
    assert (await sent.books.see(one)).state is State.QUEUED
    assert (await sent.books.see(other)).attempts == 0
    clock.run(120)
    before = (await sent.books.see(one)).attempts
    assert (await sent.once(one, Temporary("reset"))).attempts == before + 1


async def test_a_job_that_only_ever_meets_faults_fails_in_the_end_whoever_else_stumbles(sent: Sent) -> None:
    one = await sent.job("one.png")
    for n in range(40):
        await sent.once(await sent.job(f"other {n}.png"), Temporary("reset"))
        job = await sent.once(one, Temporary("reset"))
        await sent.once(await sent.job(f"{n}.png"), str(n))
        if job.state is State.FAILED:
            break
    assert job.state is State.FAILED
    assert 4 < len(job.submissions) < 20


@pytest.mark.parametrize("status", [404, 405])
async def test_a_platform_that_knows_none_of_its_calls_is_an_address_that_is_wrong_and_burns_nothing(
    status: int, sent: Sent
) -> None:
    job, unknown_call = await sent.job(), Refused(f"the platform answered HTTP {status}", str(status), status)

    async def wrong_address() -> str | None:
        return "nothing is known there: is platform.base_url right?"

    sent.doubt = wrong_address
    for _ in range(5):
        now = await sent.once(job, unknown_call)
        assert (now.state, now.attempts, now.submissions[-1].outcome) == (State.QUEUED, 0, Outcome.NOT_SENT)
        trouble = sent.troubles.platform
        assert trouble is not None
        assert "base_url" in trouble.sentence
    sent.doubt = no_doubt
    assert (await sent.once(job, unknown_call)).attempts == 1


async def test_a_refusal_is_on_disk_before_the_address_is_doubted_which_may_take_longer_than_the_daemon_lives(
    sent: Sent,
) -> None:
    job, sorted_after_a_crash = await sent.job(), []

    async def look_at_the_ledger() -> str | None:
        sorted_after_a_crash.append(after_crash(await sent.books.see(job), "hold"))
        return None

    sent.doubt = look_at_the_ledger
    assert (await sent.once(job, Refused("there is no such thing", "404", 404))).state is State.QUEUED
    [verdict] = sorted_after_a_crash
    assert (verdict.to, verdict.outcome) == (State.QUEUED, Outcome.REFUSED)
    assert "there is no such thing" in verdict.sentence
    assert not blames(verdict.outcome, verdict.sentence)  # its cluster may be blamed once the address is known
