"""Jobs of graph routes against the real stand-in: uploads remembered and forgotten, graphs read anew."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from renderdrop.ledger import moves, queries
from renderdrop.model.job import Job
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Input, Route
from renderdrop.model.wishes import TICKET, Wishes
from renderdrop.runtime.budget import Budget
from renderdrop.sandbox import GRAPHS, Sandbox, SandboxOptions
from renderdrop.tracking.track import Track

if TYPE_CHECKING:
    from tests.conftest import Books, FakeClock
    from tests.dispatch.conftest import Yard as YardType


def picture(color: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 24), color).save(out, "PNG")
    return out.getvalue()


RED, BLUE = picture("red"), picture("blue")


class Works:
    """The stand-in, dispatch and tracking on one graph route."""

    def __init__(self, sandbox: Sandbox, yard: YardType) -> None:
        self.sandbox, self.yard = sandbox, yard
        self.track = Track(
            yard.client, yard.books.ledger, yard.clock, yard.troubles, Budget(1000, yard.clock.at), yard.tasks,
            lambda: None, lambda: None, lambda: None,
        )  # fmt: skip

    @property
    def uploads(self) -> list[dict[str, Any]]:
        return list(self.sandbox.ledger()["uploads"])

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return list(self.sandbox.ledger()["tasks"])

    async def job(self, name: str, data: bytes = RED, wishes: Wishes | None = None) -> Job:
        return await self.yard.job({"73.image": (name, data)}, wishes=wishes)

    async def see(self, job: Job) -> Job:
        return await self.yard.books.see(job)

    async def followed(self, job: Job) -> Job:
        """The job after its task has ended."""
        async with asyncio.timeout(20):
            while (now := await self.see(job)).state is State.SUBMITTED:
                await self.track.take_up()
                self.yard.clock.run(40)
                await self.track.tick()
                while running := set(self.yard.tasks._running):
                    await asyncio.wait(running)
                    await asyncio.sleep(0)
                await asyncio.sleep(0.01)
        return now


def write_graph(path: Path, **changes: Any) -> str:
    """The stand-in's graph, with values changed by `node.input`; returns the file's hash."""
    graph = json.loads(json.dumps(GRAPHS["upscale"]))
    for key, value in changes.items():
        node, _, name = key.partition("_")
        graph[node.removeprefix("n")]["inputs"][name] = value
    path.write_text(json.dumps(graph))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def graph_route(route: Route, tmp_path: Path) -> Route:
    write_graph(tmp_path / "upscale_api.json")
    return replace(
        route, kind="graph", graph=tmp_path / "upscale_api.json", inputs=(Input("73.image", "image"),),
        workflow_id="upscale_api.json", params={"3.seed": 42}, params_allowed=("3.seed",),
    )  # fmt: skip


@pytest.fixture
async def works(
    tmp_path: Path, books: Books, clock: FakeClock, graph_route: Route, new_yard: Callable[..., YardType]
) -> AsyncIterator[Works]:
    options = SandboxOptions(folder=tmp_path / "sandbox", render_seconds=(0.01, 0.02), boot_seconds=0.01)
    async with Sandbox(options) as sandbox:
        yard = new_yard(graph_route, sandbox.base_url)
        yield Works(sandbox, yard)
        await yard.tasks.stop(0.0)
        await yard.client.close()


async def test_a_file_is_uploaded_and_its_graph_submitted_with_the_values_of_the_job(works: Works) -> None:
    job = await works.job("肖像.png", wishes=Wishes().over({"3.seed": 7}, TICKET))
    await works.yard.rounds()
    now = await works.see(job)
    assert now.state is State.SUBMITTED
    [upload], [task] = works.uploads, works.tasks
    assert (upload["sent_as"], upload["sha256"]) == ("肖像.png", hashlib.sha256(RED).hexdigest())
    assert (task["graph"]["73"]["inputs"]["image"], task["graph"]["3"]["inputs"]["seed"]) == (upload["filename"], 7)
    assert now.sent.uploads == (upload["filename"],)
    assert not now.sent.remembered
    assert now.sent.graph_sha256 == hashlib.sha256(works.yard.route.graph.read_bytes()).hexdigest()  # type: ignore[union-attr]
    assert now.source.sha256 == hashlib.sha256(RED).hexdigest()
    assert (await works.followed(job)).state is State.RENDERED


async def test_the_same_content_is_uploaded_once_whatever_it_is_called(works: Works) -> None:
    jobs = []
    for name, data in (("a.png", RED), ("b.png", RED), ("c.png", BLUE), ("d.png", RED)):
        jobs.append(await works.job(name, data))
        await works.yard.rounds()
    assert [upload["sent_as"] for upload in works.uploads] == ["a.png", "c.png"]
    seen = [await works.see(job) for job in jobs]
    assert [job.sent.remembered for job in seen] == [False, True, False, True]
    assert seen[3].sent.uploads == seen[0].sent.uploads
    assert seen[3].source.sha256 == hashlib.sha256(RED).hexdigest()
    assert len(works.tasks) == 4


async def test_after_a_restart_uploads_are_remembered(works: Works) -> None:
    await works.job("a.png")
    await works.yard.rounds()
    works.yard.again(works.yard.route)
    await works.job("b.png")
    await works.yard.rounds()
    assert (len(works.uploads), len(works.tasks)) == (1, 2)


async def test_an_upload_that_the_platform_has_forgotten_is_made_again_and_burns_nothing(works: Works) -> None:
    await works.job("a.png")
    await works.yard.rounds()
    works.sandbox.forget()
    job = await works.job("b.png")
    await works.yard.rounds(2)
    now = await works.see(job)
    assert (now.state, now.attempts, now.error) == (State.SUBMITTED, 0, None)
    assert [s.outcome for s in now.submissions] == ["refused", "accepted"]
    assert [upload["sent_as"] for upload in works.uploads] == ["a.png", "b.png"]
    assert len(works.tasks) == 2
    assert works.yard.troubles.of("route", "portrait") is None
    third = await works.job("c.png")
    await works.yard.rounds()
    assert (await works.see(third)).sent.uploads == now.sent.uploads
    assert len(works.uploads) == 2


async def test_many_jobs_that_name_a_forgotten_upload_do_not_pause_the_route(works: Works) -> None:
    await works.job("first.png")
    await works.yard.rounds()
    works.sandbox.forget()
    jobs = [await works.job(f"{n}.png") for n in range(5)]
    await works.yard.rounds(4)
    seen = [await works.see(job) for job in jobs]
    assert [(job.state, job.attempts) for job in seen] == [(State.SUBMITTED, 0)] * 5
    assert works.yard.troubles.of("route", "portrait") is None


async def test_a_task_that_fails_for_a_forgotten_upload_is_queued_once_more(works: Works) -> None:
    await works.job("a.png")
    await works.yard.rounds()
    works.sandbox.forget(late_missing=True)
    job = await works.job("b.png")
    await works.yard.rounds()
    assert (await works.see(job)).sent.remembered
    now = await works.followed(job)
    assert now.state is State.QUEUED
    assert "uploaded again" in (now.error or "")
    await works.yard.rounds()
    assert len(works.uploads) == 2
    assert (await works.followed(job)).state is State.RENDERED


async def test_a_second_such_failure_is_a_failure_even_where_others_uploaded_meanwhile(works: Works) -> None:
    await works.job("a.png")
    await works.yard.rounds()
    works.sandbox.forget(late_missing=True)
    job = await works.job("b.png")
    await works.yard.rounds()
    assert (await works.followed(job)).state is State.QUEUED
    at = works.yard.clock.text()
    forgotten = works.uploads[0]["filename"]
    sha256 = hashlib.sha256(RED).hexdigest()
    # As if another job had uploaded the same content, and the platform had forgotten that too.
    await works.yard.books.ledger.write(
        lambda c: moves.remember_upload(c, sha256=sha256, size=len(RED), filename=forgotten, at=at)
    )
    await works.yard.rounds()
    assert (await works.see(job)).sent.remembered
    now = await works.followed(job)
    assert now.state is State.FAILED
    assert [s.outcome for s in now.submissions] == ["accepted"] * 2
    # A person who says retry begins anew.
    await works.yard.books.ledger.write(lambda c: moves.retry(c, job.id, State.FAILED, at))
    await works.yard.rounds()
    assert (await works.followed(job)).state is State.QUEUED


async def test_a_failure_of_a_fresh_upload_is_a_failure_whatever_it_says(works: Works) -> None:
    works.sandbox.faults = [{"call": "submit", "do": "fail_task", "msg": "Invalid image file: example.png"}]
    job = await works.job("a.png")
    await works.yard.rounds()
    assert (await works.followed(job)).state is State.FAILED


async def test_a_graph_that_was_saved_anew_counts_for_the_next_job(works: Works) -> None:
    path = works.yard.route.graph
    assert path is not None
    first = await works.job("a.png")
    await works.yard.rounds()
    sha256 = write_graph(path, n6_text="a water colour")
    second = await works.job("b.png", BLUE)
    await works.yard.rounds()
    assert [task["graph"]["6"]["inputs"]["text"] for task in works.tasks] == ["an oil painting", "a water colour"]
    assert (await works.see(second)).sent.graph_sha256 == sha256 != (await works.see(first)).sent.graph_sha256


BROKEN: dict[str, tuple[str, str]] = {
    "half": ('{"73": {"class_type"', "no JSON"),
    "editor's": ('{"nodes": [], "links": []}', "editor's format"),
    "another": ('{"1": {"class_type": "PrimitiveInt", "inputs": {"value": 1}}}', "no node"),
}


@pytest.mark.parametrize("how", [*BROKEN, "gone"])
async def test_a_broken_graph_makes_its_route_wait_with_the_reason_and_go_on_by_itself(how: str, works: Works) -> None:
    path = works.yard.route.graph
    assert path is not None
    await works.job("a.png")
    await works.yard.rounds()
    whole = path.read_bytes()
    said = "cannot be read"
    if how == "gone":
        path.unlink()
    else:
        text, said = BROKEN[how]
        path.write_text(text)
    jobs = [await works.job(f"{n}.png", BLUE) for n in range(3)]
    await works.yard.rounds(5, apart=100)
    trouble = works.yard.troubles.of("route", "portrait")
    assert trouble is not None
    assert "upscale_api.json" in trouble.sentence
    assert said in trouble.sentence
    seen = [await works.see(job) for job in jobs]
    assert [(job.state, job.attempts) for job in seen] == [(State.QUEUED, 0)] * 3
    assert {s.outcome for job in seen for s in job.submissions} <= {"not_sent"}
    path.write_bytes(whole)
    await works.yard.rounds(4, apart=200)
    assert works.yard.troubles.of("route", "portrait") is None
    assert [(await works.see(job)).state for job in jobs] == [State.SUBMITTED] * 3


async def test_a_tickets_parameter_that_the_graph_does_not_have_fails_that_job_alone(works: Works) -> None:
    job = await works.job("a.png", wishes=Wishes().over({"3.sede": 7}, TICKET))
    other = await works.job("b.png")
    await works.yard.rounds(2)
    now = await works.see(job)
    assert now.state is State.FAILED
    assert 'has no input "sede"' in (now.error or "")
    assert "seed" in (now.error or "")
    assert now.submissions[0].outcome == "not_sent"
    assert (await works.see(other)).state is State.SUBMITTED
    assert works.yard.troubles.of("route", "portrait") is None


async def test_a_constant_file_is_uploaded_once_for_all_jobs(works: Works, tmp_path: Path) -> None:
    (tmp_path / "style.png").write_bytes(BLUE)
    route = replace(works.yard.route, inputs=(Input("6.text", "text"),), constants={"73.image": tmp_path / "style.png"})
    works.yard.use(route)
    for n in range(3):
        wishes = Wishes().over({"6.text": f"text {n}"}, "text")
        await works.yard.job(text=(f"{n}.txt", f"text {n}".encode()), wishes=wishes)
        await works.yard.rounds()
    assert [upload["sent_as"] for upload in works.uploads] == ["style.png"]
    assert [task["graph"]["6"]["inputs"]["text"] for task in works.tasks] == ["text 0", "text 1", "text 2"]
    [one, *_] = await works.yard.books.ledger.read(lambda c: queries.listed(c))
    assert [(c.input, c.name, c.sha256) for c in one.sent.constants] == [
        ("73.image", "style.png", hashlib.sha256(BLUE).hexdigest())
    ]
