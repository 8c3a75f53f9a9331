"""What a hostile platform may send back: nothing of it chooses a path, fills the memory or carries the token away."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.rig.daemon import Daemon
from tests.rig.share import Share
from tests.rig.villain import MEDIA, Trick, Villain, endless, envelope, row, said
from tests.torture.sent_back import NAMES, TOKEN, is_ours, leaks, messages, trick, ugly_in
from tests.torture.table import Tally

from renderdrop.model.lifecycle import State

MOST_MEMORY = 200 * 10**6
CAP = 300_000
BUFFERS = 7 * 2**20
"""Bytes that the kernel's buffers of one loopback connection may hold (tcp_rmem's and tcp_wmem's largest)."""


@pytest.fixture
def villain() -> Iterator[Villain]:
    with Villain("127.0.0.1", "127.0.0.2", "::1") as made:
        yield made


@pytest.fixture
def victim(tmp_path: Path, share: Share, villain: Villain) -> Iterator[Daemon]:
    """A daemon whose platform is the villain."""
    made = Daemon(tmp_path, share, villain.base_url)
    made.environ["RENDERDROP_TOKEN"] = TOKEN
    made.route(attempts=1, max_output=CAP)
    yield made
    made.put_away()


def outside(tmp_path: Path, share: Share) -> set[str]:
    """What lies where neither the daemon's own things nor the share's folders are."""
    own = {share.folder, tmp_path / "state"}
    return {str(path) for path in tmp_path.rglob("*") if not own & {path, *path.parents}}


@pytest.mark.timeout(400)
def test_40_hostile_names_and_addresses_and_a_canary_in_all_of_them(
    tmp_path: Path, share: Share, villain: Villain, victim: Daemon, tally: Callable[[str], Tally]
) -> None:
    named, canary = tally("sent back: hostile names, addresses, redirects"), tally("sent back: the token echoed")
    cases = {f"case{number:02}": case for number, case in enumerate(NAMES)}
    villain.tricks = {stem: trick(villain, case, stem) for stem, case in cases.items()} | messages()
    before = outside(tmp_path, share)
    victim.start()
    dropped = {stem: share.drop(f"{stem}.png") for stem in villain.tricks}
    open_ended = {stem for stem, case in cases.items() if case.lasts}
    victim.wait(
        lambda: {path.removesuffix(".png") for path in share.files(share.inbox)} <= open_ended
        and all(villain.submitted(stem) for stem in dropped),
        "all are dealt with that can be", 120,
    )  # fmt: skip
    look_at_all_commands(victim, tmp_path)
    memory = victim.memory()
    victim.stop()

    names = {path: at.read_bytes() for path, at in share.files(share.outbox).items()}
    # A result may be called .json as well, but never take the sidecar's own name.
    told = [json.loads(data) for path, data in names.items() if path.endswith(".json") and "_1" not in path]
    sidecars = {sidecar["sources"][0]["name"][:-4]: sidecar for sidecar in told}
    assert outside(tmp_path, share) == before | {str(tmp_path / "told.txt")}
    assert memory < MOST_MEMORY
    assert all("/" not in path and path.startswith(("case", "mwarns")) for path in names)
    for stem, case in cases.items():
        ends = case.lasts or case.end == ("delivered" if stem in sidecars else "failed")
        if case.lasts:
            ends = is_whole(share, stem, dropped[stem])
        elif case.end == "delivered":
            [output] = sidecars[stem]["outputs"]
            ends = ends and is_ours(names[output["file"]]) and output["file"] == f"{stem}{case.suffix}"
            ends = ends and (share.done / f"{stem}.png").read_bytes() == dropped[stem]
        else:
            ends = ends and (share.failed / f"{stem}.png").read_bytes() == dropped[stem]
        assert ends, (case, sidecars.get(stem))
        named.run(recovered=ends, paid_twice=villain.submitted(stem) - 1)
    assert {"case00", "mwarns"} <= sidecars.keys()
    assert len(villain.elsewhere()) >= 10
    found = leaks(tmp_path, villain)
    assert not found
    for stem in dropped:
        canary.run(leaked=len(found), lost=int(not is_whole(share, stem, dropped[stem])))
    texts = "".join(at.read_text() for path, at in share.files(share.failed).items() if path.endswith(".txt"))
    assert not ugly_in(texts + victim.log_file.read_text() + (tmp_path / "told.txt").read_text())
    assert "forged" not in [json.loads(line)["event"] for line in victim.log_file.read_text().splitlines()]


def is_whole(share: Share, stem: str, data: bytes) -> bool:
    """Whether a source lies whole in the inbox, in done/ or failed/."""
    return any(
        (root / f"{stem}.png").is_file() and (root / f"{stem}.png").read_bytes() == data
        for root in (share.inbox, share.done, share.failed)
    )


def look_at_all_commands(victim: Daemon, tmp_path: Path) -> None:
    """Let every command that shows something show it, into a file that is searched with all the others."""
    jobs = victim.jobs()
    commands = [("jobs",), ("jobs", "--json"), ("check",), ("check", "--json"), ("clusters",), ("clusters", "--json")]
    commands += [("explain", str(victim.share.inbox / "case00.png"))]
    commands += [("show", job.id) for job in jobs if job.source.path.startswith("m")]
    told = [victim.run(*command) for command in commands]
    (tmp_path / "told.txt").write_text("".join(done.stdout + done.stderr for done in told))
    json.loads(told[1].stdout)


@pytest.mark.timeout(400)
def test_answers_and_bodies_without_measure(
    share: Share, villain: Villain, victim: Daemon, tally: Callable[[str], Tally]
) -> None:
    bounded = tally("sent back: bombs, endless bodies, masses of outputs")
    chunk = b"x" * 65536
    endless_head = b"HTTP/1.1 200 Said\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + chunk + b"\r\n"
    huge = "e" * 1_300_000
    failing, waiting, delivered = (
        {
            "overone": Trick(view=said(b"x" * (CAP + 1), content_type="image/png")),
            "toolong": Trick(view=said(chunk, content_length=str(10**12))),
            "endless": Trick(view=endless(endless_head, piece)),
            "bigerror": Trick([row(huge, "error")] * 3, status="fail"),
        },
        {
            "bombpoll": Trick(poll=said(chunk, content_encoding="gzip")),
            "endlesspoll": Trick(poll=endless(endless_head, piece)),
            "deeppoll": Trick(poll=said(b"[" * 4_000_000)),
            "widepoll": Trick(poll=said(b'{"code": 0, "data": [' + b"{}," * 1_300_000 + b"{}]}")),
            "gzipped": Trick(view=said(chunk, content_encoding="gzip", content_type="image/png")),
            "negative": Trick(view=said(chunk, content_length="-5")),
            "nobytes": Trick(view=said(b"", content_type="image/png")),
            "page": Trick(view=said(chunk, content_type="text/html")),
        },
        {
            "atcap": Trick(view=said(MEDIA + b"x" * (CAP - len(MEDIA)), content_type="image/png")),
            "bigwarning": Trick([row("w" * 3_900_000, "warning"), row("bigwarning.png")]),
            "lyingtype": Trick(view=said(MEDIA, content_type="application/" + "x" * 60_000)),
        },
    )
    villain.tricks = failing | waiting | delivered
    for stem in villain.tricks:
        villain.tricks[stem].outputs = villain.tricks[stem].outputs or [row(f"{stem}.png")]
    victim.start()
    dropped = {stem: share.drop(f"{stem}.png") for stem in villain.tricks}
    victim.wait(
        lambda: (
            len(share.sidecars()) == len(delivered)
            and len([path for path in share.files(share.failed) if path.endswith(".txt")]) == len(failing)
            and all(tried(villain, stem) for stem in waiting)
        ),
        "the measured ones are dealt with, the others were tried",
        120,
    )
    assert victim.memory() < MOST_MEMORY
    victim.stop()
    assert victim.log_file.stat().st_size < 300_000
    assert all(at.stat().st_size < 40_000 for path, at in share.files(share.failed).items() if ".error." in path)
    assert all(at.stat().st_size < 40_000 for path, at in share.files(share.outbox).items() if path.endswith(".json"))
    assert (share.outbox / "atcap.png").stat().st_size == CAP
    assert share.sidecar("lyingtype.png")["outputs"][0]["media_type"] is None
    for call in list(villain.calls):
        most = CAP if "openapi" not in call.target else 4 * 2**20
        assert call.sent <= most + len(piece) + BUFFERS, call
    held = {path.parent.name: path.stat().st_size for path in (share.outbox / ".renderdrop").rglob("output-*")}
    assert all(size <= CAP for size in held.values())
    for stem, data in dropped.items():
        if stem in waiting:
            assert (share.inbox / f"{stem}.png").read_bytes() == data
            assert not [path for path in share.files(share.outbox) if path.startswith(stem)]
        else:
            assert is_whole(share, stem, data)
        bounded.run(paid_twice=villain.submitted(stem) - 1)
    assert {job.state for job in victim.jobs()} <= {State.DELIVERED, State.FAILED, State.SUBMITTED, State.RENDERED}


def tried(villain: Villain, stem: str) -> bool:
    """Whether the villain's lie for a file was told at least once."""
    number = villain.fed.index(stem) + 1 if stem in villain.fed else None
    return any(
        stem in call.target or (number is not None and call.target.endswith(f"/task/{number}"))
        for call in list(villain.calls)
    )


@pytest.mark.timeout(400)
def test_links_in_the_outbox_lead_nowhere(
    tmp_path: Path, share: Share, villain: Villain, victim: Daemon, tally: Callable[[str], Tally]
) -> None:
    count = tally("sent back: links in the outbox")
    victim.start()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").write_bytes(b"a secret")
    (elsewhere / "secret").chmod(0o600)
    os.symlink(elsewhere, share.outbox / "sub")
    inside = share.drop("sub/linked.png")
    others = {f"free{n}.png": share.drop(f"free{n}.png") for n in range(4)}
    victim.wait(lambda: set(others) <= set(share.files(share.done)), "those whose folder is no link are delivered", 60)
    [held] = victim.wait_for(State.HELD, within=150)  # eight tries, a minute or two
    assert "link" in (held.error or "")
    assert os.listdir(elsewhere) == ["secret"]
    assert not (share.done / "sub" / "linked.png").exists()
    (share.outbox / "sub").unlink()
    assert victim.run("release", held.id).returncode == 0
    victim.wait_at_rest(5)
    assert (share.done / "sub" / "linked.png").read_bytes() == inside

    # The daemon's own hidden folder, and a job's staging, put elsewhere while it works.
    hidden = share.outbox / ".renderdrop"
    hidden.rename(tmp_path / "elsewhere" / "hidden")
    os.symlink(tmp_path / "elsewhere" / "hidden", hidden)
    share.drop("late.png")
    victim.wait(lambda: victim.events("share_waits") or victim.events("delivery_waits")[1:], "it is seen")
    assert os.listdir(elsewhere / "hidden") == []
    hidden.unlink()
    (elsewhere / "hidden").rename(hidden)
    victim.wait_at_rest(6)
    victim.stop()
    assert sorted(os.listdir(elsewhere)) == ["secret"]
    assert (elsewhere / "secret").stat().st_mode & 0o777 == 0o600
    for _ in range(3):
        count.run(paid_twice=max(0, len(villain.fed) - 6))


def test_masses_of_outputs_are_bounded(villain: Villain) -> None:
    """100,000 rows in one answer, read as the daemon reads them."""
    from datetime import UTC, datetime

    from renderdrop.platform.answers import Answer, Nonsense, data
    from renderdrop.platform.reports import MOST_OUTPUTS, read_report

    rows = b",".join(b'{"error_type":"info","output":"%d.png"}' % number for number in range(45_000))
    body = b'{"code":0,"data":{"status":"success","outputs":[' + rows + b"]}}"
    report = read_report(data(Answer(200, {}, body), datetime.now(UTC)), villain.base_url)
    assert len(report.outputs) == MOST_OUTPUTS
    assert "35000 outputs were left out" in report.remarks[0].message
    with pytest.raises(Nonsense):
        data(Answer(200, {}, envelope([row("x")] * 100_000)), datetime.now(UTC))
