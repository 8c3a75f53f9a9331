"""The very same is not paid for twice where the route says so, and what only looks alike is rendered."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection

from renderdrop.dispatch.opened import Opened
from renderdrop.dispatch.upload import Upload
from renderdrop.ledger import moves
from renderdrop.model.errors import Refused
from renderdrop.model.job import Job, Output
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Input, Model, Route
from renderdrop.model.wishes import MATRIX, RERUN, TICKET, Wishes
from renderdrop.runtime.disk import Disk

if TYPE_CHECKING:
    from tests.dispatch.conftest import Yard


@pytest.fixture
def thrifty(yard: Yard) -> Yard:
    yard.use(replace(yard.route, duplicates="skip"))
    return yard


async def fingerprint(yard: Yard, route: Route, job: Job) -> str:
    with Opened.of(Disk(), route, job, lambda: False) as files:
        return await yard.same.fingerprint(route, job, files)


ALIKE: dict[str, tuple[dict[str, Any], Wishes]] = {
    "priority and clusters": ({"priority": 9, "clusters": ("GPU-A800",)}, Wishes(clusters=("GPU-A800",))),
    "the route's name": ({"name": "other", "attempts": 1, "after": "keep"}, Wishes()),
    "where a parameter came from": ({}, Wishes().over({"prompt": "oil"}, TICKET)),
    "the label and the notes": ({}, Wishes(label="seed-1", notes=("cropped",))),
    "the version said by a ticket": ({"version_id": None}, Wishes(version_id="7")),
}
OTHER: dict[str, tuple[dict[str, Any], Wishes]] = {
    "a parameter": ({"params": {"prompt": "water"}}, Wishes()),
    "a parameter of a ticket": ({}, Wishes().over({"prompt": "water"}, TICKET)),
    "one more parameter": ({}, Wishes().over({"seed": 1}, MATRIX)),
    "the type of a value": ({"params": {"prompt": "oil", "strength": "1"}}, Wishes()),
    "the workflow": ({"workflow_id": "88"}, Wishes()),
    "the version": ({"version_id": "8"}, Wishes()),
    "the version of a ticket": ({}, Wishes(version_id="8")),
    "the kind": ({"kind": "model", "model": Model("google", "gemini", "image2image")}, Wishes()),
    "a constant": ({"constants": ...}, Wishes()),
}


@pytest.fixture
def first(yard: Yard) -> Route:
    return replace(yard.route, duplicates="skip", version_id="7")


@pytest.mark.parametrize("what", ALIKE)
async def test_what_does_not_change_the_picture_does_not_change_the_fingerprint(
    what: str, yard: Yard, first: Route
) -> None:
    changes, wishes = ALIKE[what]
    a, b = await yard.picture("a.png"), await yard.picture("sub/b.jpg", wishes=wishes)
    assert await fingerprint(yard, first, a) == await fingerprint(yard, replace(first, **changes), b)


@pytest.mark.parametrize("what", OTHER)
async def test_what_changes_the_picture_changes_the_fingerprint(what: str, yard: Yard, first: Route) -> None:
    changes, wishes = OTHER[what]
    if changes.get("constants") is ...:
        yard.drop("style.png", b"in oil")
        changes = {"constants": {"style": yard.route.inbox / "style.png"}}
    a, b = await yard.picture("a.png"), await yard.picture("b.png", wishes=wishes)
    assert await fingerprint(yard, first, a) != await fingerprint(yard, replace(first, **changes), b)


async def test_the_content_its_input_and_the_outbox_are_in_the_fingerprint(
    yard: Yard, first: Route, make_route: Callable[..., Route]
) -> None:
    a, same = await yard.picture("a.png"), await yard.picture("b.png")
    jobs = [
        await yard.picture("other.png", b"xyz"),
        await yard.job({"mask": ("c.png", b"abc")}),
        await yard.job({"input_image": ("d.png", b"abc"), "mask": ("d_mask.png", b"abc")}),
    ]
    prints = [await fingerprint(yard, first, job) for job in (a, same, *jobs)]
    assert prints[0] == prints[1]
    elsewhere = replace(first, outbox=make_route("elsewhere").outbox)
    model = replace(first, kind="model", model=Model("google", "gemini", "image2image"))
    others = [await fingerprint(yard, r, a) for r in (elsewhere, model, replace(model, model=Model("x", "y", "z")))]
    assert len({*prints, *others}) == 7


async def test_which_file_feeds_which_input_is_in_the_fingerprint(yard: Yard, first: Route) -> None:
    one = await yard.job({"plate": ("a.png", b"abc"), "mask": ("a_mask.png", b"xyz")})
    other = await yard.job({"plate": ("b.png", b"xyz"), "mask": ("b_mask.png", b"abc")})
    assert await fingerprint(yard, first, one) != await fingerprint(yard, first, other)


async def deliver(yard: Yard, job: Job, data: bytes = b"rendered") -> Job:
    """As delivery does it: a file in the outbox, its name and hash in the ledger."""
    at, name = yard.clock.text(), f"{job.stem}.png"
    (yard.route.outbox / name).write_bytes(data)

    def end(c: Connection) -> None:
        moves.set_results(c, job.id, [Output(0, "9", "Save", "http://platform/x.png")], ())
        assert moves.move(c, job.id, State.SUBMITTED, State.RENDERED, at, paid=True, finished_at=at, base=job.stem)
        moves.record_output(
            c, job.id, 0, file=name, size=len(data), sha256=hashlib.sha256(data).hexdigest(), media_type="image/png",
            fetched=True,
        )  # fmt: skip
        assert moves.move(c, job.id, State.RENDERED, State.DELIVERED, at, delivered_at=at)

    await yard.books.ledger.write(end)
    return await yard.books.see(job)


async def test_what_was_rendered_before_is_given_again_and_nothing_is_sent(thrifty: Yard) -> None:
    first = await thrifty.picture("a.png")
    await thrifty.rounds()
    await deliver(thrifty, first)
    again = await thrifty.picture("b.png")
    await thrifty.rounds(2)
    now = await thrifty.books.see(again)
    assert (now.state, now.duplicate_of, now.task_id, now.submissions) == (State.RENDERED, first.id, None, ())
    assert (now.paid, now.cluster, now.error) == (False, None, None)
    assert now.source.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert [(o.url, o.fetched, o.file) for o in now.outputs] == [("http://platform/x.png", False, None)]
    assert len(thrifty.asked) == 1
    assert thrifty.woken[-1] == "shared"


@pytest.mark.parametrize("harm", ["gone", "altered", "shorter"])
async def test_where_the_earlier_files_are_not_what_they_were_it_is_rendered(harm: str, thrifty: Yard) -> None:
    first = await thrifty.picture("a.png")
    await thrifty.rounds()
    await deliver(thrifty, first)
    result = thrifty.route.outbox / "a.png"
    if harm == "gone":
        result.unlink()
    else:
        result.write_bytes(b"RENDERED" if harm == "altered" else b"r")
    again = await thrifty.picture("b.png")
    await thrifty.rounds()
    assert await thrifty.state(again) is State.SUBMITTED
    # And the next one is given what that one made.
    await deliver(thrifty, again)
    third = await thrifty.picture("c.png")
    await thrifty.rounds()
    assert (await thrifty.books.see(third)).duplicate_of == again.id


async def test_a_route_that_does_not_ask_renders_everything(yard: Yard) -> None:
    await yard.picture("a.png")
    await yard.picture("b.png")
    await yard.rounds()
    assert len(yard.asked) == 2


async def test_of_two_that_are_the_same_one_is_sent_and_the_other_gets_its_results(thrifty: Yard) -> None:
    jobs = [await thrifty.picture(f"{name}.png") for name in "abc"]
    await thrifty.rounds(3)
    assert len(thrifty.asked) == 1
    seen = [await thrifty.books.see(job) for job in jobs]
    [sent] = [job for job in seen if job.state is State.SUBMITTED]
    waiting = [job for job in seen if job.state is State.QUEUED]
    assert len(waiting) == 2
    assert all(sent.id in (job.error or "") for job in waiting)
    await deliver(thrifty, sent)
    await thrifty.rounds()
    assert [(await thrifty.books.see(job)).duplicate_of for job in waiting] == [sent.id] * 2
    assert len(thrifty.asked) == 1


async def test_what_waits_for_another_is_not_read_through_again_and_again(
    thrifty: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, read = Upload.digest, 0

    async def counted(upload: Upload) -> str:
        nonlocal read
        read += 1
        return await digest(upload)

    monkeypatch.setattr(Upload, "digest", counted)
    first = await thrifty.picture("a.png")
    await thrifty.rounds()
    waiting = await thrifty.picture("b.png")
    await thrifty.rounds(20)
    assert read == 2
    before = (await thrifty.books.see(waiting)).updated
    await thrifty.rounds()
    assert (await thrifty.books.see(waiting)).updated == before
    await deliver(thrifty, first)
    await thrifty.rounds()
    assert (await thrifty.state(waiting), read) == (State.RENDERED, 3)


async def test_a_first_that_is_delivered_while_the_second_asks_is_not_paid_for_again(
    thrifty: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await thrifty.picture("a.png")
    await thrifty.rounds()
    again = await thrifty.picture("b.png")

    async def just_then(deed: Any, point: Any = None) -> Any:
        if point == "claimed" and await thrifty.state(first) is State.SUBMITTED:
            await deliver(thrifty, first)
        return await write(deed, point)

    write = thrifty.books.ledger.write
    monkeypatch.setattr(thrifty.books.ledger, "write", just_then)
    await thrifty.rounds(2)
    assert len(thrifty.asked) == 1
    assert (await thrifty.books.see(again)).duplicate_of == first.id


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED])
async def test_if_the_first_comes_to_nothing_the_second_is_sent(end: State, thrifty: Yard) -> None:
    first = await thrifty.picture("a.png")
    await thrifty.rounds()
    second, third = await thrifty.picture("b.png"), await thrifty.picture("c.png")
    await thrifty.rounds(2)
    at = thrifty.clock.text()
    if end is State.FAILED:
        await thrifty.books.ledger.write(lambda c: moves.move(c, first.id, State.SUBMITTED, end, at, error="no face"))
    else:
        await thrifty.books.ledger.write(lambda c: moves.cancel(c, first.id, State.SUBMITTED, at, "not wanted"))
    await thrifty.rounds(2)
    assert len(thrifty.asked) == 2
    assert {await thrifty.state(second), await thrifty.state(third)} == {State.SUBMITTED, State.QUEUED}


async def test_a_first_that_goes_back_to_the_queue_is_still_the_first(thrifty: Yard) -> None:
    thrifty.answers = [Refused("busy"), "230"]
    first, second = await thrifty.picture("a.png"), await thrifty.picture("b.png")
    await thrifty.rounds(4, apart=60)
    states = {await thrifty.state(first), await thrifty.state(second)}
    assert (len(thrifty.asked), states) == (1, {State.SUBMITTED, State.QUEUED})


async def test_after_a_restart_the_first_is_still_the_first(thrifty: Yard) -> None:
    first = await thrifty.picture("a.png")
    await thrifty.rounds()
    second = await thrifty.picture("b.png")
    await thrifty.rounds()
    thrifty.again(thrifty.route)
    await thrifty.rounds(2)
    assert len(thrifty.asked) == 1
    await deliver(thrifty, first)
    await thrifty.rounds()
    assert (await thrifty.books.see(second)).duplicate_of == first.id


async def test_a_rerun_is_always_rendered_and_stands_for_nobody(thrifty: Yard) -> None:
    first = await thrifty.picture("a.png")
    await thrifty.rounds()
    await deliver(thrifty, first)
    whole = Wishes(params={"prompt": "oil"}, origins={"prompt": RERUN}, whole=True)
    again = await thrifty.picture("b.png", wishes=whole)
    await thrifty.rounds()
    assert (await thrifty.state(again), len(thrifty.asked)) == (State.SUBMITTED, 2)


async def test_a_duplicate_that_is_retried_after_its_results_vanished_is_rendered(thrifty: Yard) -> None:
    first = await thrifty.picture("a.png")
    await thrifty.rounds()
    await deliver(thrifty, first)
    again = await thrifty.picture("b.png")
    await thrifty.rounds()
    (thrifty.route.outbox / "a.png").unlink()
    at = thrifty.clock.text()

    def fail_and_retry(c: Connection) -> None:
        assert moves.move(c, again.id, State.RENDERED, State.FAILED, at, error="taken away")
        assert moves.retry(c, again.id, State.FAILED, at)

    await thrifty.books.ledger.write(fail_and_retry)
    await thrifty.rounds()
    now = await thrifty.books.see(again)
    assert (now.state, now.duplicate_of, len(thrifty.asked)) == (State.SUBMITTED, None, 2)


async def test_two_inputs_fed_in_another_order_are_the_same(yard: Yard, first: Route) -> None:
    route = replace(first, inputs=(Input("plate", "image"), Input("mask", "image")))
    one = await yard.job({"plate": ("a.png", b"abc"), "mask": ("a_mask.png", b"xyz")})
    other = await yard.job({"mask": ("b_mask.png", b"xyz"), "plate": ("b.png", b"abc")})
    assert await fingerprint(yard, route, one) == await fingerprint(yard, route, other)
