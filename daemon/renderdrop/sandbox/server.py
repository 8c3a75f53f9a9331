"""The stand-in of the rendering platform: its calls, its token, its envelope, on a real socket.

Owns: the wiring of farm, intake, studio, faults and books into one aiohttp application. Written from
the platform's own page alone; imports nothing of the product, so that both cannot err alike. Must never
forgive: a request that the real platform might not understand is refused here first.
"""

import asyncio
import hmac
import itertools
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from aiohttp import web

from renderdrop.sandbox import harm, intake, render, view
from renderdrop.sandbox.books import Books
from renderdrop.sandbox.farm import CLUSTERS, ClusterSpec, Farm
from renderdrop.sandbox.faults import Faults, Rule
from renderdrop.sandbox.intake import Incomplete, Refusal
from renderdrop.sandbox.studio import Studio
from renderdrop.sandbox.tasks import Task
from renderdrop.sandbox.workflows import KNOWN, WorkflowSpec

FIRST_TASK: Final = 230

Serve = Callable[[web.Request, Rule | None], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class SandboxOptions:
    """How the sandbox is set up; times in seconds."""

    token: str = "AI-sandbox"  # noqa: S105  a stand-in's, and no secret
    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port, see `Sandbox.base_url`."""
    clusters: tuple[ClusterSpec, ...] = CLUSTERS
    render_seconds: tuple[float, float] = (1.0, 3.0)
    """Shortest and longest run of a task."""
    boot_seconds: float = 1.0
    scale_every: float = 0.5
    idle_seconds: float = 5.0
    """How long an instance above the warm ones stays without work."""
    seed: int = 7
    folder: Path | None = None
    """Where uploads and outputs lie; None: a temporary folder, removed at stop."""
    foreign_load: Mapping[str, int] = field(default_factory=dict)
    """Cluster name → instances that other users hold: shown, but never ours."""
    workflows: Mapping[str, WorkflowSpec] = field(default_factory=dict)
    """Known beside, or instead of, the built-in ones of the same id."""
    view_needs_token: bool = False
    output_host: str = ""
    """The host name in output URLs where it is not to be base_url's."""


class Sandbox:
    """The platform's stand-in: `async with Sandbox() as sandbox: … sandbox.base_url …`."""

    def __init__(self, options: SandboxOptions | None = None) -> None:
        self.options = options or SandboxOptions()
        self.base_url = ""
        self._workflows = {**KNOWN, **self.options.workflows}
        self._books = Books()
        self._faults = Faults(self.options.seed)
        self._tasks: dict[int, Task] = {}
        self._numbers = itertools.count(FIRST_TASK)
        self._forms = itertools.count(1)
        self._background: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        options = self.options
        self._farm = Farm(
            options.clusters,
            now=time.monotonic(),
            render_seconds=options.render_seconds,
            boot_seconds=options.boot_seconds,
            scale_every=options.scale_every,
            idle_seconds=options.idle_seconds,
            seed=options.seed,
            foreign_load=options.foreign_load,
        )
        if options.folder is not None:
            options.folder.mkdir(parents=True, exist_ok=True)
        # A folder of its own each time: a second start in the same place must not meet the first one's files.
        self._folder = Path(tempfile.mkdtemp(prefix="renderdrop-sandbox-", dir=options.folder))
        for name in ("uploads", "outputs"):
            (self._folder / name).mkdir()
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.5)
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, options.host, options.port, backlog=512).start()
        except OSError:
            await self.stop()
            raise
        self.port = int(self._runner.addresses[0][1])
        self.base_url = self._url(options.host)
        self._studio = Studio(self._folder / "outputs", self._url(options.output_host or options.host))
        self._spawn(self._pump())

    async def stop(self) -> None:
        """Close every connection and forget everything that no caller gave a folder for."""
        self._stopping.set()
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        if self.options.folder is None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _url(self, host: str) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  a name for people, not a bind
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    # What tests and trials ask and set.

    @property
    def faults(self) -> list[dict[str, Any]]:
        """The rules in force; assigning replaces all of them. Raises ValueError for one that makes no sense."""
        return [asdict(rule) for rule in self._faults.rules]

    @faults.setter
    def faults(self, rules: Sequence[Mapping[str, Any]]) -> None:
        self._faults.replace(rules, time.monotonic())

    def ledger(self) -> dict[str, Any]:
        """What was asked, taken, refused and made, as plain JSON values."""
        return {**self._books.told(), "tasks": [task.entry() for task in self._tasks.values()]}

    def change_cluster(self, name: str, **figures: Any) -> None:
        """Change curr_nodes, max_nodes, speed, fixed, active or foreign. Raises KeyError, TypeError."""
        now = time.monotonic()
        self._advance()
        self._farm.change(name, now, **figures)
        self._wake.set()

    # Time and rendering.

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _advance(self) -> None:
        for work in self._farm.advance(time.monotonic()):
            self._spawn(self._studio.finish(self._tasks[work.number]))

    async def _pump(self) -> None:
        while True:
            self._advance()
            self._wake.clear()
            await harm.pause(max(0.0, self._farm.next_event() - time.monotonic()), self._wake)

    # The calls.

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[_enveloped], client_max_size=1 << 20)
        workflow = "/openapi/v1/workflow"
        for method, path, call, serve in (
            ("POST", f"{workflow}/apps/run", "run", self._run),
            ("GET", f"{workflow}/apps/task/{{task_id}}", "poll", self._poll),
            ("GET", f"{workflow}/cluster/all_active_clusters_status", "status", self._status),
            ("GET", "/api/view", "view", self._view),
        ):
            app.router.add_route(method, path, self._call(call, serve))
        app.router.add_route("POST", "/_sandbox/faults", self._set_faults)
        app.router.add_route("POST", "/_sandbox/clusters", self._set_clusters)
        app.router.add_route("GET", "/_sandbox/ledger", self._tell)
        return app

    def _call(self, call: str, serve: Serve) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            now = time.monotonic()
            self._books.came(call, "Authorization" in request.headers, now)
            rule = self._faults.pick(call, now, ranged="Range" in request.headers)
            if rule is None:
                return await self._strict(call, serve, request, None)
            self._books.harmed(call, rule.do)
            return await self._harmed(call, serve, request, rule)

        return answer

    async def _strict(self, call: str, serve: Serve, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        """The right answer, which may be a refusal."""
        needs_token = call != "view" or self.options.view_needs_token
        sent = request.headers.getall("Authorization", [])
        if needs_token and not (len(sent) == 1 and _same(sent[0], f"Bearer {self.options.token}")):
            self._books.rejected(call, 40100, "the token is missing or wrong")
            return harm.unauthorized()
        try:
            return await serve(request, rule)
        except Refusal as refusal:
            self._books.rejected(call, refusal.code, refusal.message)
            return harm.envelope(None, refusal.code, refusal.message, refusal.status)
        except Incomplete as lost:
            self._books.incomplete(lost.received, request.content_length)
            return web.Response(status=400)

    async def _harmed(self, call: str, serve: Serve, request: web.Request, rule: Rule) -> web.StreamResponse:
        match rule.do:
            case "slow":
                await harm.pause(rule.seconds, self._stopping)
                return await self._strict(call, serve, request, rule)
            case "null_progress" | "garbage":
                return harm.spoilt(rule, await self._strict(call, serve, request, rule))
            case "fail_task" | "stuck" | "cut" | "no_length" | "wrong_range":
                return await self._strict(call, serve, request, rule)
            case "reset_before":
                return harm.reset(request)
        if call == "run" and (rule.accept or rule.do == "reset_after"):
            await self._strict(call, serve, request, rule)
        elif rule.do != "unauthorized":
            await harm.drain(request)
        match rule.do:
            case "reset_after":
                return harm.reset(request)
            case "hang":
                return await harm.silence(request, self._stopping)
        return harm.answered(rule)

    async def _run(self, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        folder = self._folder / "uploads" / f"{next(self._forms):06d}"
        folder.mkdir()
        try:
            parts = await intake.read_form(request, folder)
            workflow_id = intake.workflow_of(parts)
            spec = self._workflows.get(workflow_id)
            if spec is None:
                raise Refusal(40401, f"工作流 {workflow_id} 不存在", f"there is no workflow {workflow_id}")
            form = intake.judge(parts, workflow_id, spec)
            self._refuse_cluster(form.cluster)
            for upload in form.files:
                if spec.draws(upload.name):
                    await asyncio.to_thread(_refuse_picture, upload.name, upload.path)
        except (Refusal, Incomplete, asyncio.CancelledError):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        number = next(self._numbers)
        self._advance()
        stuck = rule is not None and rule.do == "stuck"
        self._tasks[number] = Task(
            task_id=number,
            workflow_id=workflow_id,
            version_id=form.version_id,
            workflow=spec,
            fields=form.fields,
            files=form.files,
            work=self._farm.accept(number, form.cluster, time.monotonic(), stuck=stuck),
            accepted_at=time.time(),
            doomed=rule.msg if rule is not None and rule.do == "fail_task" else "",
        )
        self._wake.set()
        return harm.envelope({"task_id": number})

    def _refuse_cluster(self, name: str) -> None:
        if not self._farm.knows(name):
            raise Refusal(40402, f"集群 {name} 不存在", f"there is no cluster {name}")
        if not self._farm.is_active(name):
            raise Refusal(40301, f"集群 {name} 已停用", f"the cluster {name} is not active")

    async def _poll(self, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        asked = request.match_info["task_id"]
        task = self._tasks.get(int(asked)) if re.fullmatch(r"[0-9]{1,18}", asked) else None
        if task is None:
            raise Refusal(40403, f"任务 {asked} 不存在", f"there is no task {asked}")
        self._advance()
        return harm.envelope(task.polled(time.monotonic()))

    async def _status(self, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        self._advance()
        return harm.envelope(self._farm.status())

    async def _view(self, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        output = self._studio.find(request.query.get("filename", ""))
        if output is None or request.query.get("type") != "output":
            raise Refusal(40404, "文件不存在", "there is no such output", 404)
        return await view.send(request, output, rule)

    # The sandbox's own.

    async def _set_faults(self, request: web.Request) -> web.StreamResponse:
        try:
            self.faults = await request.json()
        except (ValueError, TypeError) as error:
            raise Refusal(40000, "故障规则无效", str(error), 400) from None
        return harm.envelope(self.faults)

    async def _set_clusters(self, request: web.Request) -> web.StreamResponse:
        try:
            told = await request.json()
            for figures in told if isinstance(told, list) else [told]:
                self.change_cluster(**figures)
        except (ValueError, TypeError, KeyError) as error:
            raise Refusal(40000, "集群设置无效", f"not a cluster's figures: {error}", 400) from None
        return harm.envelope(self._farm.status())

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.ledger())


def _same(sent: str, wanted: str) -> bool:
    return hmac.compare_digest(sent.encode("utf-8", "surrogateescape"), wanted.encode())


def _refuse_picture(name: str, path: str) -> None:
    try:
        render.check(path)
    except render.Unreadable:
        raise Refusal(40023, f"文件 {name} 不是有效的图片", f"{name} is not a picture that can be opened") from None


@web.middleware
async def _enveloped(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        return harm.envelope(None, refusal.code, refusal.message, refusal.status)
    except web.HTTPException as error:  # no such path, wrong method
        return harm.envelope(None, error.status * 100, f"请求无效 ({error.reason})", error.status)


async def serve(options: SandboxOptions, announce: Callable[[str], None]) -> None:
    """Run until SIGINT or SIGTERM; `announce` gets one line with the base URL and the token."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with Sandbox(options) as sandbox:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked_to_stop.set)
        announce(f"sandbox of the rendering platform at {sandbox.base_url}, token {options.token}")
        try:
            await asked_to_stop.wait()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
