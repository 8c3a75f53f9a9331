"""One submission: the request that may cost money, and the sorting of what became of it (DESIGN 4).

Owns every commit around the request: the intent stands before (`dispatch`), `complete` before the last byte,
the outcome afterwards, with the job's next state in the same transaction. It must never send a second
request for one intent; a job that is to be sent again goes back to the queue first.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Final

import structlog
from sqlalchemy import Connection

from renderdrop.dispatch.farm import UNKNOWN_CALL, Farm
from renderdrop.dispatch.kinds import Errand, Kinds
from renderdrop.dispatch.opened import Opened
from renderdrop.dispatch.upload import Stopping
from renderdrop.ledger import moves, spares
from renderdrop.ledger.adopt import disband
from renderdrop.ledger.store import Ledger
from renderdrop.model.backoff import backoff
from renderdrop.model.errors import (
    Busy,
    Fault,
    LedgerFull,
    NotTakeable,
    PlatformDown,
    Refused,
    RouteDown,
    ShareOffline,
    SourceChanged,
    Temporary,
    Unknown,
)
from renderdrop.model.experience import ADDRESS_UNSURE, UPLOADED_AGAIN, blames
from renderdrop.model.in_a_row import IN_A_ROW, Row
from renderdrop.model.job import Outcome
from renderdrop.model.lifecycle import State
from renderdrop.model.names import shown
from renderdrop.model.route import Route
from renderdrop.platform.graphs import names_missing_input
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.hands import Hands
from renderdrop.runtime.recovery import after_unknown
from renderdrop.runtime.troubles import PLATFORM, SUBMISSIONS, Troubles

log = structlog.get_logger()

_STUMBLING: Final = 60.0
"""Seconds for which a temporary fault of one job tells that the platform, and not the next job, is to blame."""
_PATIENCE: Final = 4
"""Times the route's attempts: so many submissions, and faults count whoever is to blame."""
_AFTER_UNKNOWN: Final = 0.25
"""Seconds until the one further try. Short, because that try is made only after the platform has answered a status
call (`dispatch`), and because a second lost answer would need a person."""


class Submit:
    """Sends one job's request and writes down what became of it."""

    def __init__(
        self,
        kinds: Kinds,
        ledger: Ledger,
        clock: Clock,
        troubles: Troubles,
        farm: Farm,
        hands: Hands,
        submitted: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self._kinds = kinds
        self._ledger = ledger
        self._clock = clock
        self._troubles = troubles
        self._farm = farm
        self._hands = hands
        self._submitted = submitted
        self._ended = ended
        self._refusals: dict[str, Row] = {}
        self._faults = Row()
        self._stumbled: dict[str, float] = {}
        self.stopped = False

    @property
    def in_doubt(self) -> bool:
        """Whether submissions have failed in a row and none has worked since: only single trials should be made."""
        return self._faults.jobs == IN_A_ROW

    async def ready(self, route: Route, files: Opened) -> None:
        """Whether a submission can be begun at all. Raises RouteDown."""
        await self._kinds.ready(route, files)

    async def send(self, case: Errand) -> None:
        """Send the request whose intent is on disk."""
        complete = False
        digests: dict[str, str] = {}

        async def before_last() -> None:
            nonlocal complete
            # Read now: once the task is accepted, no trouble of a share may keep its id from being written down.
            digests.update(await case.files.digests())
            await case.files.check()
            if await self._ledger.read(lambda c: spares.has_begun(c, case.job.id)):
                raise Stopping("the task that it had left behind goes on after all")
            complete = True
            await self._ledger.write(lambda c: moves.complete_body(c, case.number), point="complete")

        try:
            task = await self._kinds.submit(case, before_last)
        except Refused as fault:
            await self._refused(case, fault)
        except Busy as fault:
            await self._later(case, fault, burnt=False)
        except Temporary as fault:
            await self._faulty(case, fault)
        except Unknown as fault:
            await self._unknown(case, fault)
        except PlatformDown as fault:
            await self._back(case, fault.sentence)
            await self._troubles.tell("platform", PLATFORM, fault.sentence)
        except ShareOffline as fault:
            await self._back(case, fault.sentence)
            await self._troubles.tell("share", case.route.name, fault.sentence)
        except RouteDown as fault:
            await self._back(case, fault.sentence)
            await self._troubles.tell("route", case.route.name, fault.sentence)
        except SourceChanged as fault:
            await self._changed(case, fault)
        except NotTakeable as fault:
            await self._end(case, Outcome.NOT_SENT, State.FAILED, fault.sentence)
            self._ended()
        except (Stopping, LedgerFull) as fault:
            await self._back(case, fault.sentence)
        except Exception as error:
            # Foreseen by nobody. The job must not stay on the wire for ever: it is sorted as after a crash.
            if complete:
                await self._unknown(case, Unknown(f"an error of the daemon itself ({type(error).__name__})"))
            else:
                await self._back(case, f"an error of the daemon itself ({type(error).__name__}); it is sent again")
            raise
        else:
            await self._accepted(case, task, digests)

    async def _accepted(self, case: Errand, task: str, digests: Mapping[str, str]) -> None:
        at = self._clock.text()

        def accept(c: Connection) -> bool:
            moves.end_submission(c, case.number, at, Outcome.ACCEPTED, task_id=task)
            for path, sha256 in digests.items():
                moves.record_source(c, case.job.id, path, sha256=sha256)
            return moves.move(
                c, case.job.id, State.SUBMITTING, State.SUBMITTED, at, f"task {task}", task_id=task,
                submitted_at=at, error=None, sent=asdict(case.sent()),
            )  # fmt: skip

        moved = await self._ledger.write(accept, point="accepted")
        self._refusals.pop(case.route.name, None)
        self._faults.end()
        self._hands.forget(case.job.id)
        if case.cluster:
            self._farm.accepted(case.cluster)
        await self._troubles.end("route", case.route.name)
        bound = log.bind(job=case.job.id, route=case.route.name, task=task, cluster=case.cluster)
        if moved:
            bound.info("job_submitted")
            self._submitted()
        else:
            bound.warning("task_of_cancelled_job", reason="the platform may render it and bill it all the same")

    async def _refused(self, case: Errand, fault: Refused) -> None:
        sentence = f"the platform refused it: {shown(fault.message)}"
        if fault.http_status in UNKNOWN_CALL:
            # Before the question, which may take long: no end of the daemon meanwhile makes the answer unknown.
            at, unsure = self._clock.text(), f"{sentence}; {ADDRESS_UNSURE}"
            await self._ledger.write(
                lambda c: moves.end_submission(c, case.number, at, Outcome.REFUSED, unsure), point="not_accepted"
            )
            if (astray := await self._farm.astray()) is not None:
                await self._back(case, astray)
                await self._troubles.tell("platform", PLATFORM, astray)
                return
        self._faults.end()
        # Once: what is refused again with a new upload is not the old one's fault.
        last = case.job.submissions[-case.route.attempts :]
        uploaded_again = any(s.detail.endswith(UPLOADED_AGAIN) for s in last)
        if case.remembered and not uploaded_again and names_missing_input(fault.message, case.uploads):
            await self._ledger.write(lambda c: moves.forget_uploads(c, case.uploads), point="upload_forgotten")
            await self._end(case, Outcome.REFUSED, State.QUEUED, f"{sentence}; {UPLOADED_AGAIN}")
            return
        paused = self._troubles.of("route", case.route.name) is not None
        if self._refusals.setdefault(case.route.name, Row()).add(case.job.id, fault.message) or paused:
            await self._end(case, Outcome.REFUSED, State.QUEUED, sentence)
            await self._troubles.tell(
                "route",
                case.route.name,
                f"the platform refused several files in a row with the same message: {shown(fault.message)}. "
                "The route is paused, its files stay where they are; one is tried again every few minutes and "
                "when the settings are reloaded",
            )
            return
        await self._later(case, fault, burnt=True, outcome=Outcome.REFUSED, sentence=sentence)

    async def _faulty(self, case: Errand, fault: Temporary) -> None:
        if self._faults.add(case.job.id, ""):
            # Not this job's fault: the platform is unwell. It is probed before anything more is sent.
            await self._back(case, fault.sentence)
            await self._troubles.tell("platform", SUBMISSIONS, f"several submissions in a row failed: {fault.sentence}")
            return
        await self._later(case, fault, burnt=self._is_its_own(case))

    def _is_its_own(self, case: Errand) -> bool:
        """Whether a temporary fault counts against its job: not while others stumble too, which makes it the
        platform's; but no job is tried without end for that."""
        now = self._clock.monotonic()
        self._stumbled = {job: at for job, at in self._stumbled.items() if now - at < _STUMBLING}
        others = self._stumbled.keys() - {case.job.id}
        self._stumbled[case.job.id] = now
        return not others or len(case.job.submissions) >= _PATIENCE * case.route.attempts

    async def _later(
        self, case: Errand, fault: Fault, *, burnt: bool, outcome: Outcome = Outcome.NOT_SENT, sentence: str = ""
    ) -> None:
        """Back to the queue for another try, or to the end of the attempts."""
        sentence = sentence or fault.sentence
        attempts = case.job.attempts + (1 if burnt else 0)
        if burnt and attempts >= case.route.attempts:
            made = len(case.job.submissions) + 1
            tries = f" ({made} tries)" if made > 1 else ""
            await self._end(case, outcome, State.FAILED, f"{sentence}{tries}", attempts=attempts)
            self._ended()
            return
        wait = backoff(self._hands.failed(case.job.id), self._clock.chance(), getattr(fault, "retry_after", None))
        self._hands.rest(case.job.id, wait)
        await self._end(case, outcome, State.QUEUED, sentence, attempts=attempts)
        if isinstance(fault, Busy):
            await self._troubles.tell("platform", SUBMISSIONS, fault.sentence, pause=max(wait, 0.5))

    async def _unknown(self, case: Errand, fault: Unknown) -> None:
        verdict = after_unknown(case.job.submissions, case.route.on_unknown_submit, fault.sentence)
        self._hands.rest(case.job.id, _AFTER_UNKNOWN)
        await self._end(case, verdict.outcome, verdict.to, verdict.sentence, fact=verdict.fact)
        if self._faults.add(case.job.id, ""):
            # A gateway that loses every answer must not make a person decide about every file in the queue.
            await self._troubles.tell("platform", SUBMISSIONS, f"several submissions in a row failed: {fault.sentence}")

    async def _changed(self, case: Errand, fault: SourceChanged) -> None:
        at, job = self._clock.text(), case.job
        sentence = f"{fault.sentence}; the upload was abandoned, the file is taken again once it has settled"

        def drop(c: Connection) -> bool:
            moves.end_submission(c, case.number, at, Outcome.NOT_SENT, sentence)
            if spares.take_back(c, job.id, State.SUBMITTING, at, sentence):
                return False
            if moves.move(c, job.id, State.SUBMITTING, State.QUEUED, at, sentence):
                disband(c, job.id, at, sentence)
            return True

        gone = await self._ledger.write(drop, point="changed")
        log.info("job_cancelled" if gone else "task_taken_back", job=job.id, route=job.route, reason=sentence)

    async def _back(self, case: Errand, sentence: str) -> None:
        """To the queue again, nothing burnt: it was not this job's fault."""
        await self._end(case, Outcome.NOT_SENT, State.QUEUED, sentence)

    async def _end(
        self, case: Errand, outcome: Outcome, to: State, sentence: str, *, attempts: int | None = None, fact: str = ""
    ) -> None:
        if case.cluster and blames(outcome, sentence):
            self._farm.leave_alone(case.cluster)
        at, burnt = self._clock.text(), {} if attempts is None else {"attempts": attempts}
        went = await self._ledger.write(
            lambda c: spares.close(c, case.job.id, case.number, at, outcome, to, sentence, fact=fact, burnt=burnt),
            point="not_accepted",
        )
        event = {
            State.FAILED: "job_failed", State.HELD: "job_held", State.SUBMITTED: "task_taken_back",
        }.get(went, "job_requeued")  # fmt: skip
        log.warning(
            event, job=case.job.id, route=case.route.name, cluster=case.cluster, outcome=outcome, reason=sentence
        )  # fmt: skip
