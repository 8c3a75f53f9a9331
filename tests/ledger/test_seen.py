"""The clusters as they were seen last."""

from typing import TYPE_CHECKING

from renderdrop.ledger import seen
from renderdrop.ledger.seen import Figures, Status

if TYPE_CHECKING:
    from tests.conftest import Books, FakeClock


async def test_a_status_takes_the_place_of_the_one_before(books: "Books", clock: "FakeClock") -> None:
    assert await books.ledger.read(seen.last_seen) is None
    first = Status({"A": Figures(2, 22), "B": Figures(0, None)}, clock.text())
    await books.ledger.write(lambda c: seen.see(c, first))
    assert await books.ledger.read(seen.last_seen) == first
    clock.run(60)
    then = Status({"B": Figures(1, 6)}, clock.text())
    await books.ledger.write(lambda c: seen.see(c, then))
    assert await books.ledger.read(seen.last_seen) == then


async def test_where_none_is_active_nothing_is_known(books: "Books", clock: "FakeClock") -> None:
    await books.ledger.write(lambda c: seen.see(c, Status({"A": Figures(2, 22)}, clock.text())))
    await books.ledger.write(lambda c: seen.see(c, Status({}, clock.text())))
    assert await books.ledger.read(seen.last_seen) is None
