"""What the policy `expected-completion` knows, kept up: the farm, the ledger's experience and the queue, as a
`Situation`.

Owns what this process alone knows behind it: when it last learned, which cluster a workflow was sent to last, since
when nothing could be sent of the jobs that may go to the same clusters. What the ledger knows is read by `survey`. It
decides nothing: that is `expected`. Reading is bounded: what has ended is looked at every LEARN_EVERY seconds at most,
and never for each job.
"""

from collections.abc import Collection
from typing import Final

from renderdrop.dispatch import survey
from renderdrop.dispatch.choose import Choice, Hold, Situation
from renderdrop.dispatch.expected import expect
from renderdrop.dispatch.farm import Farm
from renderdrop.dispatch.learned import NOTHING, Learned
from renderdrop.dispatch.survey import Ours
from renderdrop.ledger import experience
from renderdrop.ledger.store import Ledger
from renderdrop.model.route import Route
from renderdrop.model.wishes import Pin
from renderdrop.runtime.clock import Clock

Bound = tuple[str, tuple[str, ...]]
"""A workflow, and the clusters to which jobs of it may go."""
LEARN_EVERY: Final = 10.0
"""Seconds between two looks at what has ended."""


class Outlook:
    """How things stand for a job that is to be sent. `farm` gives the clusters."""

    def __init__(self, ledger: Ledger, clock: Clock, farm: Farm) -> None:
        self._ledger = ledger
        self._clock = clock
        self._farm = farm
        self._learned: Learned = NOTHING
        self._learned_at = float("-inf")
        self._learned_of: set[str] = set()
        self._last: dict[str, str] | None = None
        self._held: dict[Bound, float] = {}

    async def situation(self, allowed: tuple[str, ...], workflow: str, routes: Collection[Route]) -> Situation:
        """What a choice for a job of this workflow depends on; `routes` may send now. Raises what `Farm.situation`
        does."""
        found = await self._farm.situation(allowed)
        return self._of(found, workflow, await self._look(routes))

    async def rooms(self, routes: Collection[Route]) -> dict[tuple[str, Pin], int]:
        """How many jobs of these routes may be begun now, by route and pin; what is left out may have any number. Asked
        before files are opened: thousands may wait. Where the status is too old to say, the first of them finds it out.
        Raises what `Farm.situation` does."""
        by_name = {route.name: route for route in routes if route.clusters}
        if not by_name or not self._farm.fresh:
            return {}
        ours = await self._look(by_name.values())
        self._held = {of: since for of, since in self._held.items() if of in ours.queue}
        choices: dict[Bound, Choice | Hold | None] = {}
        for workflow, allowed in ours.queue:
            found = self._of(await self._farm.situation(allowed), workflow, ours)
            choices[workflow, allowed] = choice = expect(found)
            if isinstance(choice, Hold):
                self.holds(workflow, allowed)
        rooms: dict[tuple[str, Pin], int] = {}
        for name, pin in ours.pins:
            choice = choices[pin.on(by_name[name])]
            if isinstance(choice, Hold):
                rooms[name, pin] = 0
            elif choice is not None and choice.room is not None:
                rooms[name, pin] = choice.room
        return rooms

    def begun(self, workflow: str, allowed: tuple[str, ...], choice: Choice) -> None:
        """A job that runs this and may go there was sent."""
        if self._last is not None:
            self._last[workflow] = choice.cluster
        self._held.pop((workflow, allowed), None)

    def holds(self, workflow: str, allowed: tuple[str, ...]) -> None:
        """None of the jobs that run this and may go there could be sent."""
        self._held.setdefault((workflow, allowed), self._clock.monotonic())

    def _of(self, found: Situation, workflow: str, ours: Ours) -> Situation:
        now = self._clock.monotonic()
        held = now - self._held.get((workflow, found.allowed), now)
        last = (self._last or {}).get(workflow)
        return ours.within(found, workflow, self._learned, age=self._farm.age, last=last, held=held)

    async def _look(self, routes: Collection[Route]) -> Ours:
        """Our tasks and what waits; what has ended is learned from."""
        now = self._clock.now().timestamp()
        ours = await self._ledger.read(lambda c: survey.look(c, routes, now))
        await self._learn(survey.workflows_of(routes, ours), ours)
        return ours

    async def _learn(self, workflows: set[str], ours: Ours) -> None:
        now = self._clock.monotonic()
        if now - self._learned_at < LEARN_EVERY and workflows <= self._learned_of:
            return
        self._learned_at, self._learned_of = now, workflows
        self._learned = await self._ledger.read(lambda c: survey.taught(c, workflows, ours))
        if self._last is None:
            self._last = survey.last_of(await self._ledger.read(experience.tries))
