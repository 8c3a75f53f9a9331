"""SIGKILL right before and right after every commit: the crash table of ARCHITECTURE.md, row by row."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.rig.daemon import Daemon
from tests.torture.lives import Life, Moment
from tests.torture.table import WHOLE, Tally
from tests.torture.ways import WAYS, in_doubt

from renderdrop.ledger.failpoints import POINTS, Point

Death = tuple[Point, Moment]

LIVES: Final = 25
ROUTES: Final = (
    "portrait", "careful", "slow", "tight", "grid", "thrifty", "first", "last", "pair", "graph", "hedged",
    "repaint",
)  # fmt: skip
EVERY: Final[list[Death]] = [(point, moment) for point in POINTS for moment in ("before", "after")]
MONEY: Final[list[Death]] = [
    ("complete", "before"), ("complete", "after"), ("accepted", "before"), ("accepted", "after"),
    ("rendered", "before"), ("names", "after"), ("delivered", "before"), ("delivered", "after"), ("where_to", "after"),
]  # fmt: skip
"""Where money or sources are at stake: the quick size."""
WINDOW: Final[list[Death]] = [("complete", "after"), ("accepted", "before")]
"""The bounds of the one window in which nobody can know: here the route decides."""


@pytest.fixture
def bear(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Life]]:
    """Makes the life of a seed, with these routes."""
    made: list[Life] = []

    def bear(seed: int, *routes: str) -> Life:
        store = request.getfixturevalue("store") if "repaint" in routes else None
        made.append(Life(tmp_path / "life", seed, store, *routes))
        made[-1].daemon.environ.update(request.getfixturevalue("daemon").environ if store else {})
        return made[-1]

    yield bear
    for life in made:
        life.put_away()


@pytest.mark.parametrize("seed", range(LIVES) if WHOLE else [1])
def test_whatever_commit_it_dies_at_nothing_is_lost_and_nothing_paid_twice(
    seed: int, bear: Callable[..., Life], tally: Callable[[str], Tally]
) -> None:
    life = bear(seed, *(ROUTES if WHOLE else ROUTES[:2]))
    deaths = EVERY if WHOLE else MONEY
    ways = [(death, WAYS[death[0]]) for death in deaths]
    ways += [(death, in_doubt(death[0])) for death in WINDOW]
    for (_, moment), way in life.chance.sample(ways, len(ways)):
        way(life, moment)
    lost, twice, explained = life.balance()
    assert Counter(life.kills) >= Counter([*deaths, *WINDOW]), "a point was not hit"

    count = tally("SIGKILL before and after every commit")
    for number in range(len(life.kills) - len(WINDOW)):
        count.run(lost=lost * (not number), paid_twice=twice * (not number))
    count.open_window += explained
    held = tally("SIGKILL in the window, route says hold")
    for number in range(len(WINDOW)):
        held.run(paid_twice=life.held_and_paid * (not number), recovered=life.held >= len(WINDOW))


def test_an_unknown_point_is_refused_at_the_start(daemon: Daemon) -> None:
    daemon.environ["RENDERDROP_FAILPOINT"] = "submited:after"
    daemon.launch()
    assert daemon.ended() == 78
    [told] = daemon.events("service_failed")
    assert "RENDERDROP_FAILPOINT" in told["reason"]
    assert "submitted" not in told["reason"]
    assert "submitting" in told["reason"]
