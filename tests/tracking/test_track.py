"""Following tasks: what a poll's answer does to a job, and what it must never do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs
from tests.tracking.conftest import OUT, Followed, report

from renderdrop.ledger import moves, queries
from renderdrop.model.errors import Busy, Fault, PlatformDown, Refused, Temporary
from renderdrop.model.job import Level, Remark
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.platform.answers import Nonsense
from renderdrop.platform.client import CALLS
from renderdrop.platform.reports import Report, Status
from renderdrop.runtime.budget import RECOVERS
from renderdrop.runtime.troubles import PLATFORM, POLLS


async def test_progress_and_node_are_written_down_when_they_change(followed: Followed) -> None:
    job = await followed.job()
    await followed.look(report("pending"))
    assert (await followed.books.see(job)).times.started is None
    await followed.look(report("running", 40.0, "KSampler"))
    now = await followed.books.see(job)
    assert (now.state, now.status, now.progress, now.node) == (State.SUBMITTED, "running", 40.0, "KSampler")
    started = now.times.started
    assert started == followed.clock.text()
    await followed.look(report("running", 60.0, "VAE"))
    assert ((await followed.books.see(job)).times.started, (await followed.books.see(job)).progress) == (started, 60.0)
    assert await followed.books.history(job) == await followed.books.history(await followed.books.see(job))
    assert followed.asked == ["230"] * 3


async def test_success_is_the_word_and_not_the_percentage(followed: Followed) -> None:
    job = await followed.job()
    await followed.look(report("running", 100.0))
    assert (await followed.books.see(job)).state is State.SUBMITTED
    note = Remark(Level.WARNING, "cropped", "40", "Scale")
    await followed.look(report("success", 94.0, outputs=(OUT,), remarks=(note,)))
    now = await followed.books.see(job)
    assert (now.state, now.paid, now.progress, now.outputs, now.remarks) == (
        State.RENDERED,
        True,
        94.0,
        (OUT,),
        (note,),
    )
    assert now.times.finished == followed.clock.text()
    assert followed.woken == ["rendered"]
    await followed.look()
    assert followed.asked == ["230"] * 2  # what is over is asked after no more


@pytest.mark.parametrize("late", ["success", "fail"])
async def test_a_late_answer_changes_nothing_of_what_is_being_delivered(late: Status, followed: Followed) -> None:
    job = await followed.job()

    def deliver(c: Connection) -> None:
        at = followed.clock.text()
        moves.set_results(c, job.id, (OUT,), ())
        assert moves.move(c, job.id, State.SUBMITTED, State.RENDERED, at, paid=True, finished_at=at)
        moves.record_output(c, job.id, 0, file="a.png", fetched=True)

    await followed.books.ledger.write(deliver)
    before = await followed.books.see(job)
    await followed.look(report(late, outputs=(OUT,)))
    assert followed.asked == ["230"]
    assert await followed.books.see(job) == before


async def test_errors_beside_media_deliver_the_media(followed: Followed) -> None:
    job = await followed.job()
    await followed.look(report("success", outputs=(OUT,), remarks=(Remark(Level.ERROR, "no face", "5", "F"),)))
    assert (await followed.books.see(job)).state is State.RENDERED


async def test_success_without_media_is_a_failure_that_says_what_the_nodes_said(followed: Followed) -> None:
    job = await followed.job()
    notes = (Remark(Level.ERROR, "未检测到人脸", "5", "F"), Remark(Level.WARNING, "two\nlines", "6", "G"))
    await followed.look(report("success", outputs=(), remarks=notes))
    now = await followed.books.see(job)
    assert (now.state, now.remarks, now.paid) == (State.FAILED, notes, False)
    assert "未检测到人脸" in (now.error or "")
    assert "two\\nlines" in (now.error or "")
    assert followed.woken == ["ended"]


@pytest.mark.parametrize(
    "notes", [(), (Remark(Level.ERROR, "显存不足", "3", "K"), Remark(Level.WARNING, "w", "3", "K"))]
)
async def test_the_platforms_fail_ends_the_job_with_its_words(notes: tuple[Remark, ...], followed: Followed) -> None:
    job = await followed.job()
    await followed.look(report("fail", 10.0, remarks=notes))
    now = await followed.books.see(job)
    assert (now.state, now.status, now.remarks) == (State.FAILED, "fail", notes)
    assert ("显存不足" if notes else "failed") in (now.error or "")


FAULTS = [Temporary("reset"), Nonsense("html"), Refused("任务不存在"), Busy("429", 1.0), PlatformDown("401")]


@pytest.mark.parametrize("fault", FAULTS, ids=[type(f).__name__ for f in FAULTS])
async def test_no_failed_poll_fails_a_task(fault: Fault, followed: Followed) -> None:
    job = await followed.job()
    before = await followed.books.see(job)
    for _ in range(10):
        await followed.look(fault)
        for calls in (PLATFORM, POLLS):
            await followed.troubles.end("platform", calls)
    assert await followed.books.see(job) == before
    await followed.look(report("success", outputs=(OUT,)), after=200)
    await followed.look(after=200)
    assert (await followed.books.see(job)).state is State.RENDERED


async def test_failed_polls_come_ever_more_rarely(followed: Followed) -> None:
    await followed.job()
    followed.clock.luck = 0.999
    followed.answer = Temporary("reset")
    for _ in range(120):
        await followed.look(after=1.0)
    assert 5 <= len(followed.asked) <= 20


async def test_a_platform_that_is_down_is_told_and_not_asked_until_it_is_back(followed: Followed) -> None:
    job = await followed.job()
    await followed.look(PlatformDown("401"))
    assert followed.troubles.platform is not None
    for _ in range(5):
        await followed.look(report("running", 5.0), after=3600)
    assert len(followed.asked) == 1
    await followed.troubles.end("platform", PLATFORM)
    await followed.look()
    # It was the line that was silent, not the task: nobody is held for the night that the platform was away.
    assert (await followed.books.see(job)).state is State.SUBMITTED
    assert len(followed.asked) == 2


async def test_busy_pauses_every_poll_and_not_this_one_alone(followed: Followed) -> None:
    await followed.job("a.png", task="1")
    followed.answer = Busy("429", 60.0)
    await followed.look(after=1.0)
    await followed.job("b.png", task="2")
    followed.answer = report()
    await followed.look(after=30.0)
    assert followed.asked == ["1"]
    await followed.look(after=31.0)
    assert sorted(followed.asked) == ["1", "1", "2"]


async def test_a_task_that_says_nothing_new_is_held_for_a_person(followed: Followed) -> None:
    job = await followed.job()
    await followed.look(report("running", 40.0, "K"))
    for _ in range(50):
        await followed.look()
    now = await followed.books.see(job)
    assert now.state is State.HELD
    assert now.task_id == "230"
    for word in ("230", "30 min", "release", "cancel"):
        assert word in (now.error or "")
    asked = len(followed.asked)
    assert 44 <= asked <= 47
    await followed.look()
    assert len(followed.asked) == asked


async def test_anything_new_breaks_the_silence(followed: Followed) -> None:
    job = await followed.job()
    for n in range(120):
        await followed.look(report("running", float(n % 100), None if n % 2 else "K"))
    assert (await followed.books.see(job)).state is State.SUBMITTED


async def test_a_route_sets_its_own_silence_and_a_route_that_is_gone_keeps_the_usual(
    followed: Followed, make_route: Callable[..., Route]
) -> None:
    followed.track.set_routes((make_route(silence=60.0),))
    quick = await followed.job("a.png")
    slow = await followed.job("b.png", route=make_route("gone"))
    for _ in range(3):
        await followed.look()
    assert (await followed.books.see(quick)).state is State.HELD
    assert (await followed.books.see(slow)).state is State.SUBMITTED


async def test_a_job_that_was_cancelled_meanwhile_stays_cancelled_and_is_let_go(followed: Followed) -> None:
    for n, answer in enumerate((report("running", 5.0), report("success", outputs=(OUT,)), report("fail"))):
        job = await followed.job(f"{n}.png", task=f"t{n}")
        await followed.books.ledger.write(
            lambda c, j=job: moves.cancel(c, j.id, State.SUBMITTED, "2026", "not wanted")  # type: ignore[misc]
        )
        await followed.look(answer)
        now = await followed.books.see(job)
        assert (now.state, now.error) == (State.CANCELLED, "not wanted")
        await followed.look()
        assert followed.asked.count(f"t{n}") == 1
    assert followed.woken == []


async def test_a_released_job_is_followed_by_the_task_that_it_has(followed: Followed) -> None:
    job = await followed.job()
    await followed.books.ledger.write(lambda c: moves.move(c, job.id, State.SUBMITTED, State.HELD, "2026"))
    await followed.track.take_up()
    await followed.look()
    assert followed.asked == []
    await followed.books.ledger.write(lambda c: moves.move(c, job.id, State.HELD, State.SUBMITTED, "2026"))
    await followed.track.take_up()
    await followed.look(report("success", outputs=(OUT,)))
    assert (await followed.books.see(job)).state is State.RENDERED


async def test_after_a_restart_every_open_task_is_followed(followed: Followed) -> None:
    for n in range(20):
        await followed.books.job(State.SUBMITTED, f"{n}.png", task=str(n))
    await followed.track.take_up()
    await followed.track.take_up()  # twice is as good as once
    for _ in range(4):
        await followed.look(after=1.0)
    assert {int(task) for task in followed.asked} == set(range(20))


async def test_polls_keep_to_the_budget_and_to_the_slots(followed: Followed) -> None:
    for n in range(40):
        await followed.books.job(State.SUBMITTED, f"{n}.png", task=str(n))
    await followed.track.take_up()
    gate, now, most = asyncio.Event(), 0, 0

    async def slowly(_: str) -> Report:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await gate.wait()
        now -= 1
        return report()

    followed.answer = slowly
    followed.clock.run(10)
    for _ in range(3):
        await followed.track.tick()
        await asyncio.sleep(0)
    assert most == now == CALLS
    gate.set()
    followed.budget.rate = 4
    followed.budget.take(followed.clock.at)
    asked = len(followed.asked)
    for _ in range(10):
        await followed.look(after=0.5)
    assert len(followed.asked) - asked <= 4 * 5 + 2


async def test_a_stopped_tracker_asks_nothing(followed: Followed) -> None:
    await followed.job()
    followed.track.stopped = True
    await followed.look()
    assert followed.asked == []


async def test_when_nobody_hears_anything_no_task_is_held_for_its_silence(followed: Followed) -> None:
    jobs = [await followed.job(f"{n}.png", task=str(n)) for n in range(3)]
    await followed.look(report("running", 10.0))
    await followed.look(Nonsense("502"), after=followed.books.route.silence * 2)
    assert followed.troubles.stops(POLLS)
    assert followed.troubles.platform is None
    await followed.troubles.end("platform", POLLS)
    await followed.look(report("running", 10.0))
    assert [(await followed.books.see(job)).state for job in jobs] == [State.SUBMITTED] * 3


async def test_one_task_that_only_ever_says_nonsense_is_held_in_the_end(followed: Followed) -> None:
    odd, well = await followed.job("odd.png", task="1"), await followed.job("well.png", task="2")
    progress = iter(range(1, 100))

    async def answer(task: str) -> Report | Fault:
        return Nonsense("no status") if task == "1" else report("running", float(next(progress)))

    followed.answer = answer
    for _ in range(int(followed.books.route.silence / 40) + 2):
        await followed.look(after=40.0)
    assert (await followed.books.see(odd)).state is State.HELD
    assert (await followed.books.see(well)).state is State.SUBMITTED
    assert not followed.troubles.stops(POLLS)


async def test_a_task_that_was_too_quick_to_be_seen_at_work_started_when_it_was_found_finished(
    followed: Followed,
) -> None:
    job = await followed.job()
    await followed.look(report("success", outputs=(OUT,)))
    times = (await followed.books.see(job)).times
    assert times.started == times.finished is not None


async def test_a_task_that_took_the_place_of_another_is_asked_after_once_at_a_time(followed: Followed) -> None:
    job = await followed.job(task="1")
    at = followed.clock.text()
    await followed.books.ledger.write(lambda c: moves.change(c, job.id, State.SUBMITTED, at, task_id="2"))
    await followed.track.take_up()
    await followed.look(report("running"))
    await followed.look(report("running"))
    assert followed.asked == ["2", "2"]


GONE = report("fail", remarks=(Remark(Level.ERROR, "Invalid image file: abc_a.png", "73", "Load"),))


@pytest.mark.parametrize(
    ("kind", "sent", "state"),
    [
        ("graph", {"uploads": ["abc_a.png"], "remembered": True}, State.QUEUED),
        ("graph", {"uploads": ["abc_a.png"], "remembered": False}, State.FAILED),
        ("app", {"uploads": ["abc_a.png"], "remembered": True}, State.FAILED),
    ],
)
async def test_only_a_remembered_upload_that_was_forgotten_brings_a_task_back_to_the_queue(
    kind: str, sent: dict[str, Any], state: State, followed: Followed
) -> None:
    at = followed.clock.text()
    await followed.books.ledger.write(lambda c: moves.remember_upload(c, "f" * 64, 3, "abc_a.png", at))
    job = await followed.job(kind=kind, sent=sent)
    await followed.look(GONE)
    now = await followed.books.see(job)
    assert (now.state, followed.woken) == (state, ["requeued" if state is State.QUEUED else "ended"])
    left = await followed.books.ledger.read(lambda c: queries.upload_of(c, "f" * 64))
    assert left == (None if state is State.QUEUED else "abc_a.png")
    assert (now.attempts, now.status) == (0, None if state is State.QUEUED else "fail")


async def test_a_graph_that_fails_for_another_reason_is_not_sent_again(followed: Followed) -> None:
    job = await followed.job(kind="graph", sent={"uploads": ["abc_a.png"], "remembered": True})
    await followed.look(report("fail", remarks=(Remark(Level.ERROR, "显存不足 (out of GPU memory)", "3", "K"),)))
    assert (await followed.books.see(job)).state is State.FAILED


async def test_a_new_status_word_is_told_once_and_not_for_every_task(followed: Followed) -> None:
    for task in ("230", "231", "232"):
        await followed.job(f"{task}.png", task=task)
    with capture_logs() as logs:
        for _ in range(3):
            await followed.look(report(strange=("status 'denoising'",)))
    assert len(followed.asked) == 9
    told = [entry["what"] for entry in logs if entry["event"] == "answer_not_understood"]
    assert told == [["status 'denoising'"]]


VANISHED = Refused("任务不存在", "40400", 404)


def gone_or(answer: Report, *vanished: str) -> Callable[[str], Any]:
    """A platform that does not know some tasks and answers for the others."""

    async def said(task: str) -> Report | Fault:
        return VANISHED if task in vanished else answer

    return said


async def test_a_task_that_vanished_while_others_are_answered_is_held_and_not_before_two_minutes(
    followed: Followed,
) -> None:
    job = await followed.job(task_id="230")
    other = await followed.job("b.png", task_id="231")
    followed.answer = gone_or(report("running"), "230")
    for _ in range(12):
        await followed.look(after=9.0)
    assert (await followed.books.see(job)).state is State.SUBMITTED  # only 108 s so far
    for _ in range(5):
        await followed.look(after=9.0)
    now = await followed.books.see(job)
    assert now.state is State.HELD
    assert "任务不存在" in (now.error or "")
    assert "--resubmit" in (now.error or "")
    assert (await followed.books.see(other)).state is State.SUBMITTED


async def test_a_task_alone_that_is_refused_is_held_only_once_a_probe_found_the_platform_well(
    followed: Followed,
) -> None:
    job = await followed.job()
    for _ in range(9):
        await followed.look(VANISHED)
    assert (await followed.books.see(job)).state is State.SUBMITTED
    assert followed.troubles.of("platform", POLLS) is not None  # which makes the daemon look at the clusters
    followed.track.status_answered()
    await followed.troubles.end("platform", POLLS)
    await followed.look(VANISHED)
    assert (await followed.books.see(job)).state is State.HELD


@pytest.mark.parametrize(("minutes", "state"), [(25, State.SUBMITTED), (40, State.HELD)])
async def test_a_refusal_that_does_not_speak_of_the_task_is_no_more_than_silence(
    minutes: int, state: State, followed: Followed
) -> None:
    job = await followed.job()
    for _ in range(minutes):
        await followed.look(Refused("系统繁忙", "500"), after=60.0)
        followed.track.status_answered()
        await followed.troubles.end("platform", POLLS)
    now = await followed.books.see(job)
    assert now.state is state
    assert state is State.SUBMITTED or "nothing new for 30 min" in (now.error or "")


async def test_nothing_is_held_while_every_task_is_refused_for_a_night(followed: Followed) -> None:
    jobs = [await followed.job(f"{n}.png", task_id=str(230 + n)) for n in range(4)]
    for _ in range(200):
        await followed.look(VANISHED, after=100.0)
        followed.track.status_answered()
        await followed.troubles.end("platform", POLLS)
    assert {(await followed.books.see(job)).state for job in jobs} == {State.SUBMITTED}
    await followed.look(report("success", outputs=(OUT,)))
    await followed.look(after=100.0)
    assert {(await followed.books.see(job)).state for job in jobs} == {State.RENDERED}


async def test_too_many_requests_halve_the_pace_of_all_polls(followed: Followed) -> None:
    await followed.job()
    await followed.look(Busy("429", 1.0), after=1.0)
    assert followed.budget.pace == 500.0
    assert followed.budget.rate == 1000.0


async def test_a_pace_that_has_come_back_is_known_though_no_task_was_due_meanwhile(followed: Followed) -> None:
    followed.budget.too_many(followed.clock.at, followed.clock.at)
    await followed.track.tick()
    assert followed.track._plan.pace == 500.0
    followed.clock.run(RECOVERS)
    await followed.track.tick()
    assert followed.track._plan.pace == 1000.0


@pytest.mark.parametrize("cluster", ["GPU-4090", ""], ids=["on a cluster", "of a model"])
async def test_run_times_of_the_ledger_tell_how_long_a_task_may_be_left_alone(cluster: str, followed: Followed) -> None:
    begun = followed.clock.text()
    followed.clock.run(300.0)
    done = followed.clock.text()
    for n in range(30):
        await followed.books.job(State.DELIVERED, f"{n}.png", started_at=begun, finished_at=done, cluster=cluster)
    await followed.job("new.png", task="7", cluster=cluster)
    followed.answer = report()
    for _ in range(60):
        await followed.look(after=1.0)
    assert len(followed.asked) <= 5


async def test_a_task_that_ran_before_a_restart_is_as_old_as_it_is(followed: Followed) -> None:
    begun = followed.clock.text()
    followed.clock.run(300.0)
    done = followed.clock.text()
    for n in range(30):
        await followed.books.job(State.DELIVERED, f"{n}.png", started_at=begun, finished_at=done)
    await followed.job("new.png", task="7", started_at=begun, status="running")
    followed.answer = report()
    for _ in range(20):
        await followed.look(after=1.0)
    assert len(followed.asked) >= 6  # its end is due


async def test_a_task_whose_success_could_not_be_written_down_is_asked_after_again(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await followed.job()
    with monkeypatch.context() as patch, capture_logs():

        async def broken(*_: object, **__: object) -> bool:
            raise OSError("no")

        patch.setattr(followed.books.ledger, "write", broken)
        await followed.look(report("success", outputs=(OUT,)))
    await followed.look(report("success", outputs=(OUT,)))
    assert (await followed.books.see(job)).state is State.RENDERED
