"""What a stage has in hand, counted."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from renderdrop.runtime.clock import Clock
from renderdrop.runtime.hands import Hands
from renderdrop.runtime.tasks import Tasks


async def test_a_job_keeps_no_hand_busy_while_any_share_that_it_needs_is_silent() -> None:
    tasks, done = Tasks(), asyncio.Event()
    hands = Hands(2, tasks, Clock(), "file")
    own, end = SimpleNamespace(silent=False), SimpleNamespace(silent=False)

    async def work() -> None:
        await done.wait()

    hands.take("a", work(), cast(Any, own), cast(Any, end))
    hands.take("b", work())
    assert hands.free == 0
    end.silent = True
    assert hands.free == 1
    own.silent = True
    assert hands.free == 1
    done.set()
    await tasks.stop(5.0)
    assert (hands.free, hands.passed_over()) == (2, set())
