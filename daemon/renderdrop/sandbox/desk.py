"""Where tasks are accepted and asked after, whatever kind of work they are.

Owns: the tasks, their numbers, and the passing of time: when a run ends, the studio makes its outputs. Must never
read a request; what a call means is judged before it comes here.
"""

import asyncio
import itertools
import re
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from renderdrop.sandbox import harm
from renderdrop.sandbox.farm import Farm
from renderdrop.sandbox.faults import Rule
from renderdrop.sandbox.intake import Refusal
from renderdrop.sandbox.studio import Studio
from renderdrop.sandbox.tasks import Kind, Output, Task, Upload
from renderdrop.sandbox.workflows import WorkflowSpec

FIRST_TASK: Final = 230


class Desk:
    """All tasks. `open` gives it the farm and the studio; before that nothing can be accepted."""

    def __init__(self) -> None:
        self._tasks: dict[int, Task] = {}
        self._numbers = itertools.count(FIRST_TASK)
        self._background: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    def open(self, farm: Farm, studio: Studio) -> None:
        """Begin: from now on runs end by themselves."""
        self._farm, self._studio = farm, studio
        self._spawn(self._pump())

    async def close(self) -> None:
        """Stop every run and rendering under way."""
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    def accept(
        self,
        rule: Rule | None,
        kind: Kind,
        workflow: WorkflowSpec,
        fields: dict[str, str],
        files: tuple[Upload, ...] = (),
        *,
        cluster: str = "",
        workflow_id: str = "",
        version_id: str = "",
        detail: Mapping[str, Any] | None = None,
        urls: tuple[str, ...] = (),
    ) -> int:
        """A new task's number. Without a cluster it runs apart from all of them. Raises Refusal."""
        if cluster:
            self.refuse_cluster(cluster)
        self._advance()
        number, now = next(self._numbers), time.monotonic()
        stuck = rule is not None and rule.do == "stuck"
        farm = self._farm
        self._tasks[number] = Task(
            task_id=number,
            workflow_id=workflow_id,
            version_id=version_id,
            workflow=workflow,
            fields=fields,
            files=files,
            work=farm.accept(number, cluster, now, stuck=stuck)
            if cluster
            else farm.accept_apart(number, now, stuck=stuck),
            accepted_at=time.time(),
            kind=kind,
            detail=detail or {},
            urls=urls,
            doomed=rule.msg if rule is not None and rule.do == "fail_task" else "",
        )
        self._wake.set()
        return number

    def refuse_cluster(self, name: str) -> None:
        """Raises Refusal for a cluster that no task can run on."""
        if not self._farm.knows(name):
            raise Refusal(40402, f"集群 {name} 不存在", f"there is no cluster {name}")
        if not self._farm.is_active(name):
            raise Refusal(40301, f"集群 {name} 已停用", f"the cluster {name} is not active")

    def find(self, kind: Kind, asked: str) -> Task:
        """The task of this kind and number, as of now. Raises Refusal: each kind has a poll of its own."""
        task = self._tasks.get(int(asked)) if re.fullmatch(r"[0-9]{1,18}", asked) else None
        if task is None or task.kind != kind:
            raise Refusal(40403, f"任务 {asked} 不存在", f"there is no task {asked}")
        self._advance()
        return task

    def output(self, filename: str) -> Output | None:
        """The output of exactly this name, whichever task made it."""
        return self._studio.find(filename)

    def told(self) -> list[dict[str, Any]]:
        """Every task as plain JSON values, in the order in which they were accepted."""
        return [task.entry() for task in self._tasks.values()]

    def clusters(self) -> list[dict[str, str | int]]:
        """The active clusters as of now."""
        self._advance()
        return self._farm.status()

    def change_cluster(self, name: str, **figures: Any) -> None:
        """Change curr_nodes, max_nodes, speed, fixed, active or foreign. Raises KeyError, TypeError."""
        now = time.monotonic()
        self._advance()
        self._farm.change(name, now, **figures)
        self._wake.set()

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
