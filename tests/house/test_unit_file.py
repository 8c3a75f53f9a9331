"""The systemd unit says what the daemon relies on, and systemd takes it."""

import shutil
import subprocess
from pathlib import Path

UNIT = Path(__file__).parents[2] / "deploy/systemd/renderdrop.service"
PROGRAM = "/opt/renderdrop/bin/renderdrop"


def settings() -> list[str]:
    return [line for line in UNIT.read_text("utf-8").splitlines() if line and line[0] not in "#;["]


def test_the_unit_says_what_the_daemon_relies_on() -> None:
    expected = {
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=60",
        "LoadCredential=token:/etc/renderdrop/token",
        "StateDirectory=renderdrop",
        "StateDirectoryMode=0700",
        "Restart=on-failure",
        "RestartPreventExitStatus=78",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "TimeoutStopSec=20",
        "User=renderdrop",
        f"ExecStart={PROGRAM} run -c /etc/renderdrop/renderdrop.toml",
    }
    assert expected - set(settings()) == set()


def test_no_setting_stands_twice() -> None:
    keys = [line.split("=")[0] for line in settings()]
    assert sorted(keys) == sorted(set(keys))


def test_shares_stay_writable_and_their_group_bits_settable() -> None:
    assert "ProtectSystem=full" in settings()
    assert not [line for line in settings() if line.startswith(("ReadOnlyPaths", "RestrictSUIDSGID", "ProtectHome"))]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    verifier = shutil.which("systemd-analyze")
    if verifier is None:  # a machine without systemd has nothing that could object
        return
    program = shutil.which("true")
    assert program is not None
    copy = tmp_path / UNIT.name
    text = UNIT.read_text("utf-8")
    assert text.count(f"ExecStart={PROGRAM} ") == 1
    copy.write_text(text.replace(f"ExecStart={PROGRAM} ", f"ExecStart={program} "), "utf-8")
    done = subprocess.run([verifier, "verify", str(copy)], capture_output=True, text=True, check=False, timeout=60)
    # It looks at the machine's other units as well; only what it says of ours counts.
    said = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line]
    assert said == []
    assert done.returncode == 0, done.stderr
