"""What counts as a notice of ours: what `sentence` writes, whole and unchanged, and whatever that costs to find out."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model.job import Job, Source, Times
from renderdrop.model.lifecycle import State
from renderdrop.model.notice import LONGEST, sentence, told_by

NOTICE = (
    b"a.png could not be rendered: no.\n"
    b"When that is put right, move the file back into the inbox: that is a fresh try.\n"
    b"Job 01kabc, route portrait.\n"
)


@given(
    st.text(st.characters(exclude_characters="/"), min_size=1), st.none() | st.just("...") | st.text(),
    st.sampled_from([State.FAILED, State.CANCELLED]), st.booleans(),
)  # fmt: skip
def test_every_notice_that_is_written_is_recognised(name: str, error: str | None, state: State, paid: bool) -> None:
    job = Job(
        id="01kabcdefghjkmnp", route="portrait", kind="app", state=state, priority=0, attempts=1, workflow_id="1",
        version_id=None, params={}, cluster=None, task_id=None, paid=paid, status=None, progress=None, node=None,
        error=error, base=None, created="", updated="", times=Times(), sources=(Source("i", name, 1, 1),),
    )  # fmt: skip
    assert told_by(sentence(job, job.source).encode()) == job.id


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n\n\n", NOTICE[:-1], NOTICE + b"\n", NOTICE + b"mine", b"mine\n" + NOTICE,
        NOTICE.replace(b".\n", b"\n", 1), NOTICE.replace(b"try.", b"try"), NOTICE.replace(b"portrait.", b"portrait"),
        NOTICE.replace(b"could not be", b"could be"), NOTICE.replace(b"\n", b"\r\n"),
        NOTICE.replace(b"When that is put right,", b"When"), NOTICE.replace(b"01kabc", b"01K"),
        NOTICE.replace(b"01kabc", b""), NOTICE.replace(b"01kabc", "é".encode()), NOTICE.replace(b"portrait", b""),
        NOTICE.replace(b", route ", b" on "), NOTICE.replace(b"a.png ", b" "), NOTICE.replace(b"\nJob", b"\nmine\nJob"),
    ],
)  # fmt: skip
def test_what_somebody_has_changed_is_theirs(data: bytes) -> None:
    assert told_by(NOTICE) == "01kabc"
    assert told_by(data) is None


def test_what_is_longer_than_any_notice_is_none() -> None:
    long = NOTICE.replace(b": no", b": " + b"o" * (LONGEST - len(NOTICE)))
    assert told_by(long.replace(b"o" * 9, b"", 1)) == "01kabc"
    assert told_by(long + b"o") is None


@pytest.mark.parametrize("unit", [b"a could not be rendered: ", b" was cancelled: ", b"Job 0, route ", b".\n", b"0"])
def test_no_file_makes_it_slow(unit: bytes) -> None:
    """Once, 64 KiB of these took more than a third of a second, and 4 MiB half an hour, in which nothing else ran."""
    began = time.process_time()
    for _ in range(100):
        told_by(unit * (LONGEST // len(unit)))
        told_by(NOTICE.partition(b"\n")[0] * (LONGEST // 40) + b".\n" + unit)
    told_by(unit * (2**22 // len(unit)))
    assert time.process_time() - began < 10
