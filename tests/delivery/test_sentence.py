"""The notice beside a failed source: what happened, what to do, which job."""

import dataclasses

import pytest

from renderdrop.model.job import Job, Source, Times
from renderdrop.model.lifecycle import State
from renderdrop.model.notice import sentence

JOB = Job(
    id="01kabcdefghjkmnp", route="portrait", kind="app", state=State.FAILED, priority=0, attempts=1, workflow_id="1",
    version_id=None, params={}, cluster=None, task_id=None, paid=False, status=None, progress=None, node=None,
    error="the platform refused it: 余额不足", base=None, created="", updated="", times=Times(),
    sources=(Source("i", "sub/肖像.png", 1, 1),),
)  # fmt: skip


def told(**changes: object) -> str:
    job = dataclasses.replace(JOB, **changes)  # type: ignore[arg-type]
    return sentence(job, job.source)


def test_a_failure_says_what_happened_what_to_do_and_the_job() -> None:
    what, do, job, end = told().split("\n")
    assert what == "肖像.png could not be rendered: the platform refused it: 余额不足."
    assert "move the file back into the inbox" in do
    assert job == "Job 01kabcdefghjkmnp, route portrait."
    assert end == ""


def test_what_is_paid_for_is_fetched_and_not_rendered_again() -> None:
    assert "`renderdrop retry 01kabcdefghjkmnp`" in told(paid=True)
    assert "move the file back" not in told(paid=True)


def test_a_cancelled_job_was_cancelled() -> None:
    assert told(state=State.CANCELLED).startswith("肖像.png was cancelled: ")


@pytest.mark.parametrize("error", [None, "it ended with a dot.", "dots..."])
def test_the_sentence_ends_once(error: str | None) -> None:
    first = told(error=error).split("\n")[0]
    assert first.endswith(".")
    assert not first.endswith("..")


def test_a_file_name_cannot_forge_a_line() -> None:
    forged = told(sources=(Source("i", "a\nJob 0, route x.\u202e.png\udcff", 1, 1),))
    assert len(forged.splitlines()) == 3
    forged.encode()


@pytest.mark.parametrize("path", ["sub/deep/a.png", "a.png"])
def test_no_folder_of_the_host_is_told(path: str) -> None:
    assert told(sources=(Source("i", path, 1, 1),)).startswith("a.png could")
