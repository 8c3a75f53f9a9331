"""What a hostile platform may send back, at its whole size: swapped folders, and the canary through the daemon's own
mishaps."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.rig.daemon import Daemon
from tests.rig.share import Share
from tests.rig.villain import Trick, Villain, row, said
from tests.torture.sent_back import ECHO, TOKEN, is_ours, leaks
from tests.torture.table import Tally
from tests.torture.test_sent_back_hostile import is_whole, victim, villain

__all__ = ["victim", "villain"]

BREAKS = """
import sys
from renderdrop.platform import apps
def broken(found, base_url):
    raise RuntimeError("unforeseen: " + open({token!r}).read())
apps.read_report = broken
from renderdrop.__main__ import main
sys.argv = ["renderdrop", "run", "-c", {settings!r}]
main()
"""


def test_folders_swapped_for_links_while_results_are_delivered(
    tmp_path: Path, share: Share, villain: Villain, victim: Daemon, tally: Callable[[str], Tally]
) -> None:
    count = tally("sent back: outbox folders swapped for links")
    victim.start()
    elsewhere, sub = tmp_path / "elsewhere", share.outbox / "sub"
    elsewhere.mkdir()
    sub.mkdir()
    over = threading.Event()

    aside = share.outbox / ".aside"
    os.symlink(elsewhere, aside)

    def swap() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        # Both at once (renameat2, RENAME_EXCHANGE), an even number of times: at the end the folder is the folder.
        while not over.is_set():
            for _ in range(2):
                assert libc.renameat2(-100, os.fsencode(sub), -100, os.fsencode(aside), 2) == 0
                time.sleep(0.0005)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        dropped = {f"sub/{n:03}.png": share.drop(f"sub/{n:03}.png") for n in range(100)}
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and share.files(share.inbox):
            assert os.listdir(elsewhere) == []
            time.sleep(0.2)
    finally:
        over.set()
        swapping.join()
        aside.unlink()

    def released() -> bool:
        if held := [job.id for job in victim.jobs() if job.state == "held"]:
            victim.run("release", *held)
        return not share.files(share.inbox)

    victim.wait(released, "all are delivered once nobody swaps any more", 120)
    victim.stop()
    assert os.listdir(elsewhere) == []
    # Whoever swaps may find a result twice, as NAME and NAME-2: one that was published before the link stood there
    # cannot be seen past it. All that is there is whole, and each source has one complete delivery.
    names = share.files(share.outbox)
    assert all(is_ours(at.read_bytes()) for path, at in names.items() if not path.endswith(".json"))
    assert all((s["at"] / output["file"]).is_file() for s in share.sidecars() for output in s["outputs"])
    delivered = {s["sources"][0]["path"] for s in share.sidecars()}
    stored = {at.read_bytes() for at in share.files(share.done).values()}
    for path, data in dropped.items():
        count.run(
            lost=int(data not in stored),
            leaked=len(os.listdir(elsewhere)),
            recovered=path in delivered,
            paid_twice=villain.submitted(Path(path).stem) - 1,
        )


@pytest.mark.parametrize("mishap", ["an unforeseen error", "a renewed token", "a redirecting platform"])
def test_a_canary_in_the_daemons_own_mishaps(
    mishap: str, tmp_path: Path, share: Share, villain: Villain, victim: Daemon, tally: Callable[[str], Tally]
) -> None:
    count = tally("sent back: the token in mishaps of the daemon")
    token = tmp_path / "token"
    token.write_text(TOKEN if mishap != "a renewed token" else "AI-the-old-token")
    token.chmod(0o600)
    victim.environ["RENDERDROP_TOKEN"] = ""
    victim.configure("platform", token_file=str(token))
    villain.tricks = {"one": Trick([row(ECHO, "warning"), row("one.png")])}
    if mishap == "a redirecting platform":
        villain.status = said(b"", 302, Location=f"http://{villain.netlocs[1]}/{TOKEN}")
    if mishap == "an unforeseen error":
        launcher = tmp_path / "launch.py"
        launcher.write_text(BREAKS.format(token=str(token), settings=str(victim.settings_file)))
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RENDERDROP_")}
        with victim.log_file.open("ab") as log:
            process = subprocess.Popen([sys.executable, str(launcher)], stdout=log, stderr=log, env=kept)
        try:
            victim.wait(lambda: victim.events("inbox_open"), "it is ready")
            data = share.drop("one.png")
            victim.wait(lambda: b"unforeseen: [token]" in victim.log_file.read_bytes(), "it is told, masked")
            argv = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        finally:
            process.terminate()
            process.wait(20)
    else:
        victim.start()
        if mishap == "a renewed token":
            token.write_text(TOKEN)
            victim.reload()
        data = share.drop("one.png")
        if mishap == "a redirecting platform":
            victim.wait(lambda: victim.events("platform_waits"), "it waits")
        else:
            victim.wait_at_rest(1)
        assert victim.process is not None
        argv = Path(f"/proc/{victim.process.pid}/cmdline").read_bytes()
        told = victim.run("check")
        (tmp_path / "told.txt").write_text(told.stdout + told.stderr)
        victim.stop()
    assert TOKEN.encode() not in argv
    found = leaks(tmp_path, villain, token)
    assert not found
    count.run(leaked=len(found), lost=int(not is_whole(share, "one", data)))
