"""The notice beside a failed source: one sentence for whoever dropped it. Pure.

Owns its form, written and recognised. A notice may be removed only where it is recognised: a file that merely bears its
name, or to which somebody has added a line, is somebody's work.
"""

import re
from typing import Final

from renderdrop.model.job import Job, Source
from renderdrop.model.lifecycle import State
from renderdrop.model.names import shown

LONGEST: Final = 64 * 2**10
"""Bytes: far more than any of our sentences has. What is longer is somebody's work, and is not looked at."""
_WHAT: Final = (b" was cancelled: ", b" could not be rendered: ")
_DO: Final = (b"The render itself is done ", b"When that is put right, ")
_JOB: Final = re.compile(rb"Job ([0-9a-z]+), route .+\.")


def sentence(job: Job, source: Source) -> str:
    """The notice for whoever dropped the file: what happened, what to do, the job."""
    name = shown(job.name if job.in_folder else source.path.rpartition("/")[2])
    what = "was cancelled" if job.state is State.CANCELLED else "could not be rendered"
    if job.wishes.label:
        what = f"({shown(job.wishes.label)}) {what}"
    reason = shown(job.error or "no reason is known").rstrip(".")
    thing = "the folder" if job.in_folder else "the file" if len(job.sources) == 1 else "its files"
    if job.paid:
        do = f"The render itself is done and paid for: `renderdrop retry {job.id}` fetches it without paying again."
    elif job.wishes.label:
        do = f"When that is put right, `renderdrop retry {job.id}` runs this one again."
    else:
        do = f"When that is put right, move {thing} back into the inbox: that is a fresh try."
    return f"{name} {what}: {reason}.\n{do}\nJob {job.id}, route {job.route}.\n"


def told_by(data: bytes) -> str | None:
    """The job that a notice's bytes tell of; None unless they are one just as this program writes them.

    Line by line, with searches that no text can make slow: whoever may drop a file chooses what is looked at here."""
    if len(data) > LONGEST or data.count(b"\n") != 3 or not data.endswith(b"\n"):
        return None
    what, do, job, _ = data.split(b"\n")
    is_told = what.endswith(b".") and any(words in what[1:-1] for words in _WHAT)  # behind a name
    is_told = is_told and do.startswith(_DO) and do.endswith(b".")
    found = _JOB.fullmatch(job)
    return found[1].decode() if is_told and found is not None else None
