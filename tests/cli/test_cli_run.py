"""`run`, `clusters`, `sandbox` and `demo`: the program against the platform's stand-in."""

import asyncio
import fcntl
import io
import json
import os
import pty
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from renderdrop.ledger import moves
from renderdrop.model.lifecycle import State
from renderdrop.sandbox import Sandbox

if TYPE_CHECKING:
    from tests.cli.conftest import Call, Desk, Eventually


def picture() -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((48, 32)).save(out, "PNG")
    return out.getvalue()


async def test_once_delivers_what_is_there_and_ends_with_a_summary(
    call: "Call", desk: "Desk", sandbox: Sandbox
) -> None:
    desk.write(sandbox.base_url)
    for name in ("a.png", "肖像.PNG"):
        (desk.home / "inbox" / name).write_bytes(picture())
    ended = await call("run", "--once", "-c", desk.config)
    assert (ended.code, ended.out) == (0, "2 delivered, 0 failed, 0 held\n")
    events = [json.loads(line) for line in ended.err.splitlines()]
    assert {"service_ready", "job_delivered", "service_stopped"} <= {event["event"] for event in events}
    assert (desk.home / "outbox/肖像.json").is_file()
    assert sorted(p.name for p in (desk.home / "done").glob("[!.]*")) == ["a.png", "肖像.PNG"]
    rows = json.loads((await call("jobs", "--json", "-c", desk.config)).out)
    assert {(row["state"], *row["outputs"]) for row in rows} == {("delivered", "a.png"), ("delivered", "肖像.png")}
    assert "AI-sandbox" not in ended.err


async def test_once_with_a_failure_ends_with_three(call: "Call", desk: "Desk", sandbox: Sandbox) -> None:
    desk.write(sandbox.base_url)
    (desk.home / "inbox/notes.txt").write_text("no picture")
    ended = await call("run", "--once", "-c", desk.config)
    assert (ended.code, ended.out) == (3, "0 delivered, 1 failed, 0 held\n")
    assert (desk.home / "failed/notes.txt.error.txt").is_file()


async def test_on_a_terminal_once_shows_progress_instead_of_logs(
    desk: "Desk", sandbox: Sandbox, environ: dict[str, str]
) -> None:
    desk.write(sandbox.base_url)
    (desk.home / "inbox/a.png").write_bytes(picture())
    (desk.home / "inbox/notes.txt").write_text("no picture")
    ours, theirs = pty.openpty()
    env = {**environ, "TERM": "xterm", "COLUMNS": "100"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "renderdrop", "run", "--once", "-c", str(desk.config), env=env, stdin=theirs,
        stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = await asyncio.to_thread(_read_all, ours)
    assert await process.wait() == 3
    assert "1 delivered, 1 failed, 0 held" in seen
    assert "job failed: notes.txt: " in seen
    assert "service_ready" not in seen
    assert "Traceback" not in seen


def _read_all(fd: int) -> str:
    found = b""
    with open(fd, "rb", buffering=0) as terminal:
        try:
            while more := terminal.read(65536):
                found += more
        except OSError:  # what Linux says when the other side is closed
            pass
    return found.decode()


async def test_a_second_daemon_on_the_same_state_is_refused(call: "Call", desk: "Desk") -> None:
    (desk.folder / "state").mkdir()
    lock = os.open(desk.folder / "state/renderdrop.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = await call("run", "-c", desk.config)
    finally:
        os.close(lock)
    assert ended.code == 1
    assert "another renderdrop" in ended.err
    assert "Traceback" not in ended.err


async def test_the_state_directory_is_made_for_its_owner_alone(call: "Call", desk: "Desk", sandbox: Sandbox) -> None:
    desk.write(sandbox.base_url)
    assert (await call("run", "--once", "-c", desk.config)).code == 0
    assert (desk.folder / "state").stat().st_mode & 0o777 == 0o700


async def test_a_damaged_ledger_stops_the_start_in_a_sentence(call: "Call", desk: "Desk") -> None:
    (desk.folder / "state").mkdir()
    (desk.folder / "state/ledger.sqlite").write_bytes(b"not a database at all, but long enough" * 100)
    ended = await call("run", "-c", desk.config)
    assert ended.code == 1
    assert "cannot be used" in ended.err
    assert "Traceback" not in ended.err
    assert (await call("jobs", "-c", desk.config)).code == 1


async def test_warnings_of_the_settings_are_logged(call: "Call", desk: "Desk", sandbox: Sandbox) -> None:
    desk.write(sandbox.base_url)
    token = desk.folder / "token"
    token.write_text("AI-sandbox\n")
    token.chmod(0o644)
    desk.config.write_text(desk.config.read_text().replace("[platform]\n", '[platform]\ntoken_file = "token"\n'))
    ended = await call("run", "--once", "-c", desk.config, RENDERDROP_TOKEN=None)
    assert ended.code == 0
    assert '"settings_warning"' in ended.err


async def test_clusters_are_listed_with_our_tasks_and_routes(call: "Call", desk: "Desk", sandbox: Sandbox) -> None:
    desk.write(sandbox.base_url)
    desk.job("01a", "a.png", State.SUBMITTING, State.SUBMITTED, cluster="GPU-4090", status="running", task_id="1")
    desk.job("01b", "b.png", State.SUBMITTING, State.SUBMITTED, cluster="GPU-4090", status="pending", task_id="2")
    found = json.loads((await call("clusters", "--json", "-c", desk.config)).out)
    by_name = {cluster["name"]: cluster for cluster in found}
    assert list(found[0])[:6] == ["name", "display_name", "curr_nodes", "max_nodes", "ours", "routes"]
    assert (by_name["GPU-4090"]["ours"], by_name["GPU-4090"]["routes"]) == (2, ["first"])
    assert by_name["GPU-A800x8"]["max_nodes"] is None
    ended = await call("clusters", "-c", desk.config)
    lines = [line.split("\t") for line in ended.out.splitlines()]
    assert lines[0] == ["GPU-4090", "GPU-4090-24GB-单卡(推荐)", "2", "22", "1", "1", "first"]
    assert lines[4][3] == "unknown"


async def test_clusters_of_a_platform_that_is_away_are_told_in_a_sentence(call: "Call", desk: "Desk") -> None:
    ended = await call("clusters", "--json", "-c", desk.config)
    assert (ended.code, ended.out) == (1, "")
    assert "cannot be reached" in ended.err
    assert "Traceback" not in ended.err


async def test_a_cancel_reaches_a_running_daemon(
    call: "Call", desk: "Desk", sandbox: Sandbox, environ: dict[str, str], eventually: "Eventually"
) -> None:
    desk.write(sandbox.base_url)
    sandbox.faults = [{"call": "run", "do": "status", "status": 503, "headers": {"Retry-After": "60"}}]
    (desk.home / "inbox/a.png").write_bytes(picture())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "renderdrop", "run", "-c", str(desk.config), env=environ,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip

    async def jobs() -> Any:
        ended = await call("jobs", "--json", "-c", desk.config)
        assert ended.code == 0, ended.err  # even while the daemon is making its ledger
        return json.loads(ended.out)

    async def told() -> bool:
        return (desk.home / "failed/a.png.error.txt").exists()

    try:
        [row] = await eventually(jobs)
        assert (await call("cancel", row["id"], "-c", desk.config)).code == 0
        await eventually(told)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == 0
    assert (desk.home / "failed/a.png").exists()


async def test_the_demo_plays_to_its_end_and_keeps_what_it_made(call: "Call", tmp_path: Path) -> None:
    ended = await call("demo", "--keep", "kept", RENDERDROP_TOKEN=None, RENDERDROP_ROUTES__PORTRAIT__ENABLED="false")
    assert ended.code == 0, ended.err
    assert "\x1b" not in ended.out
    assert "12 pictures were dropped" in ended.out
    home = tmp_path / "kept/portrait"
    assert len([p for p in (home / "outbox").rglob("*.json") if ".renderdrop" not in p.parts]) == 12
    assert (home / "failed/notes.txt.error.txt").is_file()
    assert [p for p in (home / "inbox").rglob("*") if p.is_file() and p.name != ".renderdrop"] == []
    again = await call("demo", "--keep", "kept")
    assert again.code == 1
    assert "left as it is" in again.err


async def test_an_interrupted_demo_leaves_no_process_and_no_folder(
    environ: dict[str, str], tmp_path: Path, eventually: "Eventually"
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "renderdrop", "demo", env={**environ, "TMPDIR": str(scratch)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip

    async def daemon() -> list[str]:
        dropped = list(scratch.glob("renderdrop-demo-*/portrait/inbox/*.png"))
        return [lock.read_text() for lock in scratch.glob("renderdrop-demo-*/state/renderdrop.lock") if dropped]

    [pid] = await eventually(daemon)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode not in (0, None), (out + err).decode()
    assert b"Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
    assert list(scratch.iterdir()) == []


async def test_a_ledger_that_the_daemon_writes_is_read_meanwhile(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png")
    with desk.ledger() as conn:  # a write transaction is open all the while
        moves.change(conn, "01a", State.QUEUED, desk.at(), priority=1)
        ended = await call("jobs", "--json", "-c", desk.config)
    assert [row["id"] for row in json.loads(ended.out)] == ["01a"]
