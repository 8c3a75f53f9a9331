"""Whatever is dropped: nothing beyond the inbox is read, sent, changed or deleted, what cannot be taken is refused with
a sentence, names stay byte for byte, and honest files are rendered meanwhile."""

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform, digest
from tests.rig.share import Share
from tests.rig.tap import Tap
from tests.torture.table import Tally

from renderdrop.model.lifecycle import State
from renderdrop.model.names import notices
from renderdrop.model.notice import sentence
from renderdrop.model.sidecar import write as sidecar_of

Tallies = Callable[[str], Tally]

CANARY: Final = b"CANARY-7d41f0c2-not-yours"
SECRET: Final = (CANARY + b"\n") * 400
RAW: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
"""What no line for people may hold."""

NAMES: Final = [
    "two\nlines.png",
    "bell\x07 and \x1b[31mred\x1b[0m.png",
    "\x1b]0;title\x07.png",
    "carriage\rreturn.png",
    "eight-bit \x9b31m.png",
    "gnp.\u202exe.png",
    "\u2066isolate\u2069\u200f.png",
    "line\u2028separator.png",
    os.fsdecode(b"caf\xe9 \xff\xfe.png"),
    os.fsdecode(b"half \xed\xa0\x80 surrogate.png"),
    "CON.png",
    "NUL.png",
    "aux.tar.png",
    "COM1 .png",
    "a:b.png",
    'q"u|o?t*e<s>\\.png',
    "up\\..\\..\\windows.png",
    "trailing . .png",
    " .png",
    "  lead.png",
    "-rf.png",
    "--help.png",
    "$(reboot) `id`; rm -rf ~.png",
    "%00%2e%2e%2f.png",
    "{stem}{0}%s.png",
    "[bold red]markup[/].png",
    "<script>alert(1)</script>.png",
    "x.json.png",
    "STATUS.html.png",
    "n" * 251 + ".png",
    "名" * 83 + "xx.png",
    "done/in done.png",
    "outbox/in outbox.png",
    "failed/in failed.png",
    "tw\u0069\u0308n.png",
    "tw\u00efn.png",
    "CaseTwin.png",
    "casetwin.PNG",
    "\u200b.png",
    "\u3164.png",
]
LEFT: Final = [
    ".hidden.png",
    "..\\windows.png",
    "...",
    ".. .png",
    ".renderdrop-0123.png",
    ".renderdrop.d/x.png",
    "~$doc.png",
]
"""Names that are never taken, and stay."""


@pytest.fixture
def tap(platform: Platform, daemon: Daemon) -> Iterator[Tap]:
    """Between the daemon and the platform."""
    made = Tap(platform.base_url, [CANARY])
    daemon.configure("platform", base_url=made.base_url)
    yield made
    made.stop()


def everything(root: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, mtime and content (or target) of all that lies there."""
    return {
        os.path.relpath(path, root): (
            path.lstat().st_mode,
            0 if path.is_dir() and not path.is_symlink() else path.lstat().st_mtime_ns,
            os.readlink(path) if path.is_symlink() else digest(path) if path.is_file() else "",
        )
        for at, folders, names in os.walk(root)
        for path in [Path(at, name) for name in (*folders, *names)]
    }


def leaked(tap: Tap, home: Path) -> int:
    """How often the secret was sent, or lies in anything that the platform or the daemon has written."""
    found = tap.leaked
    for at, _, names in os.walk(home):
        for path in [Path(at, name) for name in names]:
            if path.is_file() and not path.is_symlink():
                found += CANARY in path.read_bytes()
    return found


def check_plain(daemon: Daemon, share: Share, *asked: str) -> None:
    """No raw control character in log, notices or answers."""
    texts = {"log": daemon.log_file.read_text()}
    texts |= {name: at.read_text() for name, at in share.files(share.failed).items() if ".error." in name}
    texts |= {name: at.read_text() for name, at in share.files(share.outbox).items() if name.endswith(".json")}
    for command in (["jobs"], ["jobs", "--json"], ["check", "--offline"], *(["explain", path] for path in asked)):
        answer = daemon.run(*command)
        texts[" ".join(command)] = answer.stdout + answer.stderr
        assert "Traceback" not in answer.stderr
    for job in daemon.jobs()[:3]:
        texts[f"show {job.id}"] = daemon.run("show", job.id).stdout
    for name, text in texts.items():
        assert not RAW.search(text), (name, RAW.search(text))


def test_links_pipes_and_sockets_are_refused_and_lead_nowhere(
    platform: Platform,
    daemon: Daemon,
    share: Share,
    new_share: Callable[[str], Share],
    tap: Tap,
    tmp_path: Path,
    tally: Tallies,
) -> None:
    count = tally("dropped: links, pipes, sockets")
    other = new_share("other")
    portrait = {"folder": str(share.folder), "workflow_id": "1234", "clusters": ["GPU-4090"]}
    portrait["inputs"] = {"input_image": "image"}  # type: ignore[assignment]
    daemon.routes(portrait=portrait, other={**portrait, "folder": str(other.folder), "enabled": True})
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    for name in ("secret.png", "folder/a.png", "folder/b.png"):
        (outside / name).write_bytes(SECRET)
    mine = share.picture()
    (outside / "mine.png").write_bytes(mine)
    daemon.start()
    before = everything(outside)
    inbox = share.inbox
    links = {
        "to a file.png": outside / "secret.png",
        "relative.png": Path("../../../outside/secret.png"),
        "to a folder": outside / "folder",
        "to a folder.png": outside / "folder",
        "dangling.png": outside / "nothing",
        "self.png": Path("self.png"),
        "loop a.png": Path("loop b.png"),
        "loop b.png": Path("loop a.png"),
        "passwd.png": Path("/etc/passwd"),
        "proc.png": Path("/proc/self/environ"),
        "state": daemon.state_dir,
        "ledger.png": daemon.state_dir / "ledger.sqlite",
        "other route": other.inbox,
        "up.png": Path(".."),
        "to the token.png.job.toml": outside / "secret.png",
        "red \x1b[31m link\n.png": outside / "secret.png",
    }
    for name, target in links.items():
        os.symlink(target, inbox / name)
    os.mkfifo(inbox / "pipe.png")
    os.mkfifo(inbox / "pipe.png.job.toml")
    os.mknod(inbox / "socket.png", 0o600 | stat.S_IFSOCK)
    os.link(outside / "mine.png", inbox / "hard link.png")
    honest = {
        "hard link.png": mine,
        "honest.png": share.drop("honest.png"),
        "sub/honest.png": share.drop("sub/honest.png"),
    }
    others = {"x.png": other.drop("x.png")}
    refused = [*links, "pipe.png", "socket.png"]
    daemon.wait_at_rest(done=len(honest), failed=len(refused))
    daemon.wait(lambda: other.at_rest(1), "the other route's file is done")
    lost = sum(not os.path.lexists(share.failed / name) for name in refused)
    for name in links:
        lost += not (share.failed / name).is_symlink() or os.readlink(share.failed / name) != str(links[name])
        text, _ = share.told(name)
        assert "symbolic link" in text
        assert text.count("\n") == 3
    assert "named pipe" in share.told("pipe.png")[0]
    assert "socket" in share.told("socket.png")[0]
    share.check_whole(platform)
    assert {p: at.read_bytes() for p, at in share.files(share.done).items()} == honest
    assert sorted(t["files"][0]["sha256"] for t in platform.tasks()) == sorted(
        digest(data) for data in (*honest.values(), *others.values())
    )
    check_plain(daemon, share, str(share.failed / "to a file.png"), str(inbox / "two\nlines\x1b[31m.png"))
    daemon.stop()
    assert everything(outside) == before
    found = leaked(tap, daemon.state_dir) + leaked(tap, tmp_path / "platform") + leaked(tap, share.folder)
    for _ in range(len(refused) + len(honest)):
        count.run()
    count.lost, count.leaked = lost, found


def test_names_of_every_kind_stay_byte_for_byte_and_are_told_harmlessly(
    platform: Platform, daemon: Daemon, share: Share, tap: Tap, tally: Tallies
) -> None:
    count = tally("dropped: names")
    daemon.start()
    bad = ["not\x1b[31m an image.bin", "n" * 255, "x" * 250 + ".bin", "no\next\u202e"]
    dropped = {name: share.drop(name) for name in NAMES}
    refused = {name: share.drop(name, b"no picture: " + os.fsencode(name)) for name in bad}
    for name in LEFT:
        share.drop(name)
    daemon.wait(lambda: len(share.files(share.done)) == len(NAMES), "all are done")
    daemon.wait(lambda: len(share.files(share.failed)) == 3 * len(bad), "all others are refused")
    daemon.wait(lambda: not share.staging(), "nothing is under way")
    done = {path: at.read_bytes() for path, at in share.files(share.done).items()}
    folded = [unicodedata.normalize("NFC", name).casefold() for name in NAMES]
    for name, data in dropped.items():
        twin = folded.count(unicodedata.normalize("NFC", name).casefold()) > 1
        there = [path for path in done if done[path] == data]
        stem, dot, ext = name.rpartition(".")
        count.run(lost=there not in ([name], [f"{stem}-2{dot}{ext}"] if twin else [name]))
        assert (share.outbox / Path(there[0]).parent).is_dir()
    for name, data in refused.items():
        txt, _ = notices(name)
        count.run(lost=(share.failed / name).read_bytes() != data)
        assert (share.failed / txt).read_text().count("\n") == 3
    assert share.files(share.inbox).keys() == {name for name in LEFT if not name.startswith(".renderdrop")}
    assert (share.inbox / ".renderdrop-0123.png").exists()
    share.check_whole(platform)
    assert len(platform.tasks()) == len(NAMES)
    check_plain(daemon, share, str(share.inbox / NAMES[1]), str(share.inbox / ".hidden.png"), "\x1b[31m")
    daemon.stop()


def nested(depth: int) -> Mapping[str, bytes]:
    """Tickets that would hurt their reader, by what their name ends in."""
    return {
        "deep.png.job.json": b'{"params": ' + b"[" * depth + b"]" * depth + b"}",
        "deeper.png.job.json": b'{"a":' * depth + b"1" + b"}" * depth,
        "deep.png.job.toml": b"params = " + b"[" * depth + b"]" * depth,
        "tables.png.job.toml": b"x = " + b"{a=" * depth + b"1" + b"}" * depth,
        "dotted.png.job.toml": b"a." * 32_000 + b"a = 1",
        "quoted.png.job.toml": b'"\\"".' * 12_000 + b"a = 1",
        "header.png.job.toml": b"[" + b"a." * 32_000 + b"a]",
        "digits.png.job.json": b'{"priority": ' + b"9" * 60_000 + b"}",
        "twice.png.job.json": b'{"priority": 1, "priority": 2}',
        "path.png.job.toml": b'[params]\nprompt = "x"\ninput_image = "/etc/passwd"\n',
        "path2.png.job.toml": b'version_id = "../../etc/passwd\\u001b"\n',
        "clusters.png.job.toml": b'clusters = ["GPU-4090", "\\u001b[31m"]\n',
        "bytes.png.job.toml": b"\xff\xfe\x00",
        "bare.png.job.json": b'"\\ud800"',
        "schema.png.job.json": b'{"$schema": "file:///etc/passwd", "$ref": "http://127.0.0.1/"}',
    }


def test_tickets_and_texts_that_hurt_their_reader_fail_alone(
    platform: Platform, daemon: Daemon, share: Share, new_share: Callable[[str], Share], tap: Tap, tally: Tallies
) -> None:
    count = tally("dropped: tickets, texts, links to pictures")
    prompts, painted = new_share("prompts"), new_share("painted")
    app = {"workflow_id": "1234", "clusters": ["GPU-4090"], "params": {"prompt": "oil"}}
    daemon.routes(
        portrait={**app, "folder": str(share.folder), "inputs": {"input_image": "image"}},
        prompts={
            "folder": str(prompts.folder), "workflow_id": "text", "clusters": ["GPU-4090"], "inputs": {"prompt": "text"}
        },
        painted={
            "folder": str(painted.folder), "kind": "model", "provider": "google", "model": "gemini-3-pro-image-preview",
            "type": "image2image", "inputs": {"images": "image"}, "params": {"prompt": "cat"},
        },
    )  # fmt: skip
    daemon.configure("intake", ticket_wait="1s")
    daemon.start()
    quiet = daemon.memory()
    huge = ("huge.png.job.toml", "huge.png.job.json")
    bad = nested(10_000)
    for name, data in bad.items():
        share.drop(name.rpartition(".job.")[0])
        share.drop(name, data)
    for n, name in enumerate(huge):
        picture, tail = name.split(".job.")
        share.drop(f"{n}{picture}")
        (share.inbox / f"{n}{picture}.job.{tail}").touch()
        os.truncate(share.inbox / f"{n}{picture}.job.{tail}", 2**30)
    below = {"link": 1, "pipe": 1, "bomb": 1, "huge": 1}
    for folder in below:
        share.drop(f"{folder}/p.png")
        ticket = share.inbox / folder / "_batch.job.toml"
        if folder == "link":
            os.symlink("/etc/passwd", ticket)
        elif folder == "pipe":
            os.mkfifo(ticket)
        elif folder == "bomb":
            share.drop(f"{folder}/_batch.job.toml", bad["dotted.png.job.toml"])
        else:
            ticket.touch()
            os.truncate(ticket, 2**30)
    folder_ticket = share.drop("folder/p.png")
    (share.inbox / "folder" / "p.png.job.toml").mkdir()
    honest = share.drop("honest.png")
    (prompts.inbox / "endless.txt").touch()
    os.truncate(prompts.inbox / "endless.txt", 2**30)
    urls = {
        "file.url": b"[InternetShortcut]\nURL=file:///etc/passwd\n",
        "credentials.url": b"[InternetShortcut]\nURL=https://user:word@host/x.png\n",
        "script.url": b"[InternetShortcut]\nURL=javascript:alert(1)\n",
        "newline.url": b"[InternetShortcut]\nURL=https://host/\x0bx.png\n",
        "unc.url": b"[InternetShortcut]\nURL=\\\\host\\share\\x.png\n",
        "long.url": b"https://host/" + b"x" * 5000,
        "endless.url": b"",
    }
    for name, data in urls.items():
        painted.drop(name, data)
    os.truncate(painted.inbox / "endless.url", 2**30)
    failed = len({name.rpartition(".job.")[0] for name in bad}) + len(huge) + len(below)

    def all_refused() -> bool:
        told = [path for path in share.files(share.failed) if path.endswith(".png.error.txt")]
        return len(told) >= failed

    daemon.wait(lambda: len(share.files(share.done)) == 2, "the honest ones are done")
    daemon.wait(all_refused, "the bad tickets are refused")
    daemon.wait(lambda: prompts.at_rest(0, 1) and painted.at_rest(0, len(urls)), "texts and links are refused")
    assert {digest(at) for at in share.files(share.done).values()} == {digest(honest), digest(folder_ticket)}
    for name, data in bad.items():
        [ticket] = [at for path, at in share.files(share.failed).items() if path == name]
        count.run(lost=ticket.read_bytes() != data)
        text = (share.failed / f"{name.rpartition('.job.')[0]}.error.txt").read_text()
        assert len(text) < 2000
    for folder in below:
        count.run(lost=not os.path.lexists(share.inbox / folder / "_batch.job.toml"))
        assert "_batch" in share.told(f"{folder}/p.png")[0]
    for name, data in urls.items():
        count.run(lost=name != "endless.url" and (painted.failed / name).read_bytes() != data)
    count.run(lost=(prompts.failed / "endless.txt").stat().st_size != 2**30)
    assert len(platform.tasks()) == 2
    assert daemon.memory() < max(quiet + 100 * 2**20, 200 * 2**20)
    check_plain(daemon, share)
    daemon.stop()


def test_what_looks_like_ours_costs_nobody_a_file(
    platform: Platform, daemon: Daemon, share: Share, tap: Tap, tally: Tallies
) -> None:
    count = tally("dropped: forged notices, sidecars, folders in the way")
    daemon.start()
    # A true notice first, so that there is something to forge.
    share.drop("bad.bin", b"no picture")
    [job] = daemon.wait_for(State.FAILED)
    daemon.wait_at_rest(done=0, failed=1)
    told, text = share.failed / "bad.bin.error.json", sentence(job, job.source)
    assert (share.failed / "bad.bin.error.txt").read_text() == text
    assert told.read_bytes() == sidecar_of(job, success=False)
    theirs = {
        "mine.error.txt": f"my notes\n{text}".encode(),
        "other.error.txt": text.replace(job.id, "0" * 16).encode(),
        "other.error.json": told.read_bytes().replace(job.id.encode(), b"0" * 16),
        "a.png.error.json": b'{"schema": "renderdrop/sidecar/1", "job_id": "%s"}' % job.id.encode(),
        "a.json": b'{"schema": "renderdrop/sidecar/1", "job_id": "0000000000000000", "outputs": [{"file": "a.png"}]}',
    }
    for name, data in theirs.items():
        share.drop(name, data)
    # The same in the outbox and in failed/, where results and notices will want to lie.
    (share.outbox / "a.json").write_bytes(theirs["a.json"])
    (share.outbox / "a.png").write_bytes(b"somebody's own")
    (share.failed / "bad.bin.error.txt").write_bytes(b"somebody's own words instead")
    (share.failed / "b.bin.error.txt").write_bytes(theirs["other.error.txt"])
    os.symlink(daemon.settings_file, share.outbox / "l.json")
    a, b, c = share.drop("a.png"), share.drop("b.bin", b"no picture either"), share.drop("l.png")
    # A folder of the very name that a result has: a file stands where its own results belong.
    (share.outbox / "way.png").write_bytes(b"somebody's own too")
    inside, beside = share.drop("way.png/inside.png"), share.drop("beside.png")
    daemon.wait(lambda: daemon.events("delivery_waits"), "the one that has no place waits")
    later = share.drop("later.png")
    done = {"a.png": a, "l.png": c, "beside.png": beside, "later.png": later}

    def others_are_done() -> bool:
        there = {at.read_bytes() for at in share.files(share.done).values()}
        return there == set(done.values())

    daemon.wait(others_are_done, "the others are delivered meanwhile")
    assert not daemon.events("share_offline")
    row = next(row for row in daemon.rows() if row["source"] == "way.png/inside.png")
    assert "file where a folder belongs" in row["error"]
    (share.outbox / "way.png").rename(share.outbox / "out of the way.png")
    daemon.wait(lambda: (share.outbox / "way.png" / "inside.json").exists(), "it is delivered by itself")
    # The failed file comes back: its true notice goes, what somebody wrote under the other's name stays.
    (share.failed / "bad.bin").rename(share.inbox / "bad.bin")
    daemon.wait(lambda: (share.failed / "bad-2.bin").exists() or (share.failed / "bad.bin").exists(), "it fails again")
    here = {path: at.read_bytes() for path, at in share.files(share.inbox).items()}
    there = {path: at.read_bytes() for path, at in share.files(share.failed).items()}
    for name, data in theirs.items():
        count.run(lost=data not in (here.get(name), there.get(name)))
    for path, data in {
        share.outbox / "a.json": theirs["a.json"],
        share.outbox / "a.png": b"somebody's own",
        share.outbox / "out of the way.png": b"somebody's own too",
        share.failed / "bad.bin.error.txt": b"somebody's own words instead",
        share.failed / "b.bin.error.txt": theirs["other.error.txt"],
    }.items():
        count.run(lost=not path.is_file() or path.read_bytes() != data)
    for data in (a, b, c, inside, beside, later):
        kept = [*share.files(share.done).values(), *share.files(share.failed).values()]
        count.run(lost=digest(data) not in map(digest, kept), paid_twice=max(0, len(platform.tasks(data)) - 1))
    daemon.stop()
