"""A network that does everything wrong, in short: at the end everything is there, and was paid for once."""

from collections.abc import Callable

from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share
from tests.rig.wire import Wire
from tests.torture import network
from tests.torture.network import weigh, wire
from tests.torture.table import Tally

__all__ = ["wire"]


def test_a_batch_goes_through_an_address_that_is_wrong_at_first_and_a_network_that_does_everything_wrong(
    platform: Platform, wire: Wire, daemon: Daemon, share: Share, tally: Callable[[str], Tally]
) -> None:
    count = tally("network: every fault at once, mixed")
    wire.gone = frozenset("*")
    dropped = {"first.png": share.drop("first.png")}
    daemon.start()
    daemon.wait(
        lambda: any("base_url" in event["reason"] for event in daemon.events("platform_waits")),
        "the daemon finds that the address is wrong",
    )
    assert not share.files(share.failed)
    [job] = daemon.jobs()
    assert (job.state, job.attempts) == ("queued", 0)
    wire.gone = frozenset()
    wire.rules(*network.unwell(1, 0.1))
    dropped |= {f"{n}.png": share.drop(f"{n}.png") for n in range(15)}
    person = network.Person(daemon)
    daemon.wait(lambda: person.looks({share: 16}), "everything is done", within=100)
    share.check_delivered(platform, dropped)
    assert len({do for _, do in wire.fired}) > 12
    network.tell(count, weigh(platform, share, dropped), wire, person.released)
