"""The rig of the system tests: the real program as a child process, the platform's stand-in, real folders.

Owns: `platform` (the sandbox, in a thread with a loop of its own), `daemon` (settings, the process and its log),
`share` (what a person does and sees in the four folders; `new_share` makes those of further routes) and `store` (an
S3 server). Nothing here reaches into the program: it is started, signalled, and looked at through the share, its
command line and its ledger, which is only read.
"""

import asyncio
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jsonschema
import pytest
from PIL import Image

from renderdrop.ledger import engine, queries
from renderdrop.model.errors import LedgerBroken
from renderdrop.model.job import Job, Outcome
from renderdrop.model.lifecycle import State
from renderdrop.model.sidecar import sidecar_schema
from renderdrop.sandbox import Sandbox, SandboxOptions

T = TypeVar("T")

DEADLINE = 60.0
"""Seconds until a condition that does not come true fails its test: generous, machines are noisy."""
_TAIL = 60
_SCHEMA = jsonschema.Draft202012Validator(sidecar_schema())


def digest(data: bytes | Path) -> str:
    """SHA-256 of bytes, or of a file."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Platform:
    """The sandbox, running beside the test; quick unless its options say otherwise."""

    def __init__(self, folder: Path, **options: Any) -> None:
        quick = {"render_seconds": (0.1, 0.4), "boot_seconds": 0.05, "scale_every": 0.1}
        self._sandbox = Sandbox(SandboxOptions(folder=folder, **{**quick, **options}))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="platform", daemon=True)
        self._thread.start()
        self._run(self._sandbox.start())

    def stop(self) -> None:
        """End it, and its thread."""
        self._run(self._sandbox.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return self._sandbox.base_url

    def faults(self, *rules: Mapping[str, Any]) -> None:
        """These faults from now on, and no others."""

        self._ask(lambda: setattr(self._sandbox, "faults", rules))

    def forget(self, *, late_missing: bool) -> list[str]:
        """Forget every upload; returns their names. `late_missing`: graphs that name them are taken, and then fail."""
        return self._ask(lambda: self._sandbox.forget(late_missing=late_missing))

    def ledger(self) -> dict[str, Any]:
        """What it was asked, and what it made of it."""
        return self._ask(self._sandbox.ledger)

    def tasks(self, data: bytes | None = None) -> list[dict[str, Any]]:
        """Every task it accepted, or those that were fed with these bytes."""
        tasks: list[dict[str, Any]] = self.ledger()["tasks"]
        if data is None:
            return tasks
        return [task for task in tasks if task["files"] and task["files"][0]["sha256"] == digest(data)]

    def fed(self) -> list[dict[str, str]]:
        """What each task was fed with, by parameter: the digests of its files. In the order of acceptance."""
        return [{file["name"]: file["sha256"] for file in task["files"]} for task in self.tasks()]

    def task(self, data: bytes) -> dict[str, Any]:
        """The one task that was fed with these bytes."""
        [task] = self.tasks(data)
        return task

    def _ask(self, question: Callable[[], T]) -> T:
        async def ask() -> T:
            return question()

        return self._run(ask())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE)


class Share:
    """A route's four folders, from the side of the people who use them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox, self.outbox = folder / "inbox", folder / "outbox"
        self.done, self.failed = folder / "done", folder / "failed"
        self._pictures = 0

    def picture(self, form: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
        """A small picture that is like no other of this test."""
        self._pictures += 1
        image = Image.linear_gradient("L").resize(size).convert("RGB")
        image.putpixel((0, 0), (self._pictures % 256, self._pictures // 256, 200))
        out = io.BytesIO()
        image.save(out, form)
        return out.getvalue() + self._pictures.to_bytes(4)  # trailing bytes: no two alike, whatever the format loses

    digest = staticmethod(digest)

    def drop(self, path: str, data: bytes | None = None) -> bytes:
        """Put a file into the inbox as a careful program does, by a rename; returns its bytes."""
        data = self.picture("JPEG" if path.lower().endswith((".jpg", ".jpeg")) else "PNG") if data is None else data
        target = self.inbox / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # The name beside the share is fixed: a name as long as a name may be leaves no room for more.
        temporary = self.folder.parent / f".dropping-{threading.get_ident()}"
        temporary.write_bytes(data)
        os.replace(temporary, target)
        return data

    def files(self, root: Path) -> dict[str, Path]:
        """What people see below a folder, by its path there: everything but the daemon's own hidden helpers."""
        found = (Path(at, name) for at, _, names in os.walk(root) for name in names)
        below = {os.path.relpath(path, root): path for path in found}
        return {path: at for path, at in below.items() if not path.startswith(".renderdrop")}

    def staging(self) -> list[str]:
        """What is left of deliveries under way."""
        hidden = self.outbox / ".renderdrop"
        return sorted(os.listdir(hidden)) if hidden.is_dir() else []

    def sidecars(self) -> list[dict[str, Any]]:
        """Every sidecar in the outbox, each checked against the schema; `at` (beside the schema) is its folder."""
        found = []
        for path, at in self.files(self.outbox).items():
            if path.endswith(".json"):
                sidecar = json.loads(at.read_bytes())
                _SCHEMA.validate(sidecar)
                found.append({**sidecar, "at": at.parent, "base": at.name.removesuffix(".json")})
        return found

    def sidecar(self, source: str) -> dict[str, Any]:
        """The one sidecar of the source of this path."""
        [sidecar] = [s for s in self.sidecars() if s["sources"][0]["path"] == source]
        return sidecar

    def told(self, failed: str) -> tuple[str, dict[str, Any]]:
        """What is said in failed/ of what lies there under this path: the text, and the sidecar, checked."""
        sidecar = json.loads((self.failed / f"{failed}.error.json").read_bytes())
        _SCHEMA.validate(sidecar)
        assert (sidecar["status"], sidecar["outputs"]) == ("fail", [])
        return (self.failed / f"{failed}.error.txt").read_text(), sidecar

    def at_rest(self, done: int, failed: int = 0) -> bool:
        """Whether so many sources lie in done/ and failed/, none in the inbox, and nothing is under way."""
        told = [path for path in self.files(self.failed) if path.endswith(".error.txt")]
        return (
            len(self.files(self.done)) == done
            and len(told) == failed
            and not self.files(self.inbox)
            and not self.staging()
        )

    def check_whole(self, platform: Platform) -> None:
        """Nothing under a final name is partial or unexplained: every file is what the platform rendered, byte for
        byte, and is told by exactly one sidecar."""
        rendered = {out["sha256"] for task in platform.tasks() for out in task["outputs"]}
        told: dict[Path, dict[str, Any]] = {}
        for sidecar in self.sidecars():
            told[sidecar["at"] / f"{sidecar['base']}.json"] = {}
            for output in sidecar["outputs"]:
                path = sidecar["at"] / _as_told(output["file"])
                assert path not in told
                told[path] = output
        assert set(self.files(self.outbox).values()) == told.keys()
        for path, output in told.items():
            if output:
                assert (digest(path), path.stat().st_size) == (output["sha256"], output["size"])
                assert output["sha256"] in rendered

    def check_unbroken(self, platform: Platform) -> None:
        """In the middle of everything: what bears a final name is a whole sidecar or exactly what was rendered."""
        rendered = {out["sha256"] for task in platform.tasks() for out in task["outputs"]}
        self.sidecars()
        for path, at in self.files(self.outbox).items():
            assert path.endswith(".json") or digest(at) in rendered

    def check_delivered(self, platform: Platform, dropped: Mapping[str, bytes]) -> None:
        """Each of these was rendered from its very bytes, its result and sidecar are in the outbox in its folder, its
        bytes are in done/, and that is all there is."""
        self.check_whole(platform)
        sidecars = {sidecar["sources"][0]["path"]: sidecar for sidecar in self.sidecars()}
        assert sidecars.keys() == dropped.keys()
        tasks = {task["task_id"]: task for task in platform.tasks()}
        for path, data in dropped.items():
            sidecar = sidecars[path]
            task = tasks[sidecar["task_id"]]
            assert (sidecar["status"], sidecar["sources"][0]["sha256"]) == ("success", digest(data))
            assert sidecar["at"] == (self.outbox / path).parent
            assert task["files"][0]["sha256"] == digest(data)
            assert [out["sha256"] for out in sidecar["outputs"]] == [out["sha256"] for out in task["outputs"]]
            # A short task may be over before it was ever seen running.
            assert all(at for moment, at in sidecar["times"].items() if moment != "started")
        kept = sorted(digest(path) for path in self.files(self.done).values())
        assert kept == sorted(digest(data) for data in dropped.values())
        assert not self.files(self.inbox)
        assert not self.staging()


class Daemon:
    """The program: its settings, its process, its log."""

    def __init__(self, home: Path, share: Share, base_url: str) -> None:
        self.home = home
        self.share = share
        self.state_dir = home / "state"
        self.settings_file = home / "renderdrop.toml"
        self.log_file = home / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.environ: dict[str, str] = {}
        """What its environment has beside the test's own."""
        self._tables: dict[str, dict[str, Any]] = {
            "platform": {"base_url": base_url, "requests_per_second": 60},
            "daemon": {"state_dir": str(self.state_dir)},
            # No wait for tickets: where they are what is tested, they get their time.
            "intake": {"settle": "300ms", "sweep": "1s", "ticket_wait": 0},
            "dispatch": {"status_every": "1s"},
            "routes.portrait": {
                "folder": str(share.folder),
                "workflow_id": "1234",
                "clusters": ["GPU-4090", "GPU-A800"],
                "inputs": {"input_image": "image"},
                "params": {"prompt": "oil painting"},
            },
        }
        self.log_file.touch()
        self.configure()

    def configure(self, table: str = "daemon", **keys: Any) -> None:
        """Set keys of a table and write the settings file."""
        self._tables[table] = {**self._tables.get(table, {}), **keys}
        lines = []
        for name, values in self._tables.items():
            lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items()), ""]
        self.settings_file.write_text("\n".join(lines))

    def route(self, **keys: Any) -> None:
        """Set keys of the one route; None takes a key out."""
        table = {**self._tables["routes.portrait"], **keys}
        self.routes(portrait={key: value for key, value in table.items() if value is not None})

    def routes(self, **tables: Mapping[str, Any]) -> None:
        """These routes and no others."""
        kept = {name: table for name, table in self._tables.items() if not name.startswith("routes.")}
        self._tables = {**kept, **{f"routes.{name}": dict(table) for name, table in tables.items()}}
        self.configure()

    def start(self, *options: str) -> None:
        """Start it, and go on once its inboxes are there and watched."""
        wanted = len(self.events("inbox_open")) + sum(name.startswith("routes.") for name in self._tables)
        self.launch(*options)
        self.wait(lambda: len(self.events("inbox_open")) >= wanted, "the daemon is ready")

    def launch(self, *options: str) -> None:
        """Start it without waiting."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(self._argv("run", *options), stdout=log, stderr=log, env=self._environ())

    def once(self) -> int:
        """`run --once` to its end; returns the exit code."""
        self.launch("--once")
        return self.ended()

    def ended(self, within: float = DEADLINE) -> int:
        """Wait for its end; returns the exit code."""
        assert self.process is not None
        process, self.process = self.process, None
        try:
            return process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"the daemon did not end within {within:g} s")

    def stop(self) -> None:
        """End it as a service manager does."""
        self.signal(signal.SIGTERM)
        assert self.ended(15.0) == 0

    def kill(self) -> None:
        """End it as a power cut does."""
        self.signal(signal.SIGKILL)
        self.ended()

    def reload(self) -> None:
        """Have it read its settings again, and wait until they hold."""
        before = len(self.events("settings_reloaded"))
        self.signal(signal.SIGHUP)
        self.wait(lambda: len(self.events("settings_reloaded")) > before, "the settings are reloaded")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """A command beside it, to its end."""
        return subprocess.run(
            self._argv(*command), env=self._environ(), capture_output=True, text=True, timeout=DEADLINE
        )

    def wait(self, holds: Callable[[], T], what: str, within: float = DEADLINE) -> T:
        """Wait until something holds; returns it. Fails after `within` seconds, or at once if the daemon died."""
        deadline = time.monotonic() + within
        while True:
            began = time.monotonic()
            if found := holds():
                return found
            took = time.monotonic() - began
            if self.process is not None and self.process.poll() is not None:
                pytest.fail(f"the daemon ended with {self.process.returncode} while waiting until {what}")
            if time.monotonic() > deadline:
                pytest.fail(f"not within {within:g} s: {what}")
            # A look may cost a process of its own: the program under test needs the machine more.
            time.sleep(max(0.05, 3 * took))

    def wait_at_rest(self, done: int, failed: int = 0, within: float = DEADLINE) -> None:
        """Wait until so many sources are in done/ and failed/ and nothing is left to do."""
        self.wait(lambda: self.share.at_rest(done, failed), f"{done} sources are done and {failed} failed", within)

    def wait_with_a_person(self, done: int, within: float = DEADLINE) -> None:
        """The same, with a person at hand who releases what has lost two answers: no daemon may decide that."""

        def settled() -> bool:
            for job in self.jobs(State.HELD):
                assert [s.outcome for s in job.submissions].count(Outcome.UNKNOWN) > 1
                self.run("release", job.id)
            return self.share.at_rest(done)

        self.wait(settled, f"{done} sources are done", within)

    def wait_for(self, state: State, number: int = 1) -> list[Job]:
        """Wait until so many jobs are in a state; returns them."""
        return self.wait(
            lambda: jobs if len(jobs := self.jobs(state)) >= number else [], f"{number} jobs are {state.value}"
        )

    def jobs(self, *states: State) -> list[Job]:
        """The ledger's jobs, the newest first."""
        try:
            with engine.view(engine.ledger_path(self.state_dir)) as conn:
                return queries.listed(conn, states=states)
        except LedgerBroken:
            return []  # not made yet

    def rows(self) -> list[dict[str, Any]]:
        """What `jobs --json` says, the newest first."""
        found: list[dict[str, Any]] = json.loads(self.run("jobs", "--json").stdout)
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """Every log line of this event, of all its runs."""
        wanted = f'"event": "{name}"'.encode()
        with self.log_file.open("rb") as log:
            return [json.loads(line) for line in log if wanted in line and line.endswith(b"}\n")]

    def memory(self) -> int:
        """The most memory it has had, in bytes."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log_file.read_text("utf-8", "replace").splitlines()[-_TAIL:])

    def put_away(self) -> None:
        """Whatever it does: it is over."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _argv(self, command: str, *options: str) -> list[str]:
        return [sys.executable, "-m", "renderdrop", command, "-c", str(self.settings_file), *options]

    def _environ(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RENDERDROP_")}
        own = {"RENDERDROP_TOKEN": "AI-sandbox", "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"}
        return {**kept, **own, **self.environ}


def _as_told(name: str) -> str:
    """The name of a file out of a sidecar, where bytes that are no UTF-8 are written as \\udcXX."""
    return re.sub(r"\\u(dc[0-9a-f]{2})", lambda m: chr(int(m[1], 16)), name)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


class Store:
    """A real S3 server, and one bucket of it; `key_id` and `secret` open it."""

    key_id, secret = "AKIDSYSTEM1", "s3cr3t/of+the+system+tests"

    def __init__(self) -> None:
        # Slow to import, and only few tests need it.
        import boto3
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        self.bucket = f"bucket-{uuid.uuid4().hex}"  # every server of a process shows the same ones
        self._client = boto3.session.Session().client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=self.key_id,
            aws_secret_access_key=self.secret,
        )  # fmt: skip
        self._client.create_bucket(Bucket=self.bucket)

    def objects(self) -> list[str]:
        """The names of the objects that are there now."""
        return [row["Key"] for row in self._client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def publish(self, key: str, data: bytes) -> str:
        """Make an object that anybody may read; returns its address, which needs no signature."""
        self._client.put_object(Bucket=self.bucket, Key=key, Body=data, ContentType="image/png", ACL="public-read")
        return f"{self.endpoint}/{self.bucket}/{key}"

    def stop(self) -> None:
        """End it."""
        self._client.close()
        self._server.stop()


_DAEMON = pytest.StashKey[Daemon]()


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., Platform]]:
    """Makes a platform with these options of the sandbox."""
    made: list[Platform] = []

    def make(**options: Any) -> Platform:
        made.append(Platform(tmp_path / "platform", **options))
        return made[-1]

    yield make
    for platform in made:
        platform.stop()


@pytest.fixture
def platform(build: Callable[..., Platform], request: pytest.FixtureRequest) -> Platform:
    """A quick platform; `@pytest.mark.parametrize("platform", [{…}], indirect=True)` gives it other options."""
    return build(**getattr(request, "param", {}))


@pytest.fixture
def share(tmp_path: Path) -> Share:
    """The one route's folders, not made yet but for the one above them."""
    made = Share(tmp_path / "share" / "portrait")
    made.folder.mkdir(parents=True)
    return made


@pytest.fixture
def new_share(tmp_path: Path) -> Callable[[str], Share]:
    """Makes the folders' root of a further route."""

    def make(name: str) -> Share:
        made = Share(tmp_path / "share" / name)
        made.folder.mkdir(parents=True)
        return made

    return make


@pytest.fixture
def daemon(tmp_path: Path, platform: Platform, share: Share, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """The daemon, not started yet."""
    made = Daemon(tmp_path, share, platform.base_url)
    request.node.stash[_DAEMON] = made
    yield made
    made.put_away()


@pytest.fixture
def store(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An S3 server; the daemon's environment has the credentials, and nothing of this machine's own."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = Store()
    daemon.environ.update(AWS_ACCESS_KEY_ID=made.key_id, AWS_SECRET_ACCESS_KEY=made.secret)
    yield made
    made.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the end of the daemon's log."""
    report = yield
    if report.failed and (daemon := item.stash.get(_DAEMON, None)) is not None:
        report.sections.append(("the daemon's log", daemon.tail()))
    return report
