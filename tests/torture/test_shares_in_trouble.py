"""Shares in trouble, as far as no root is needed: each of a route's folders replaced by an empty one, in turn."""

from collections.abc import Callable
from pathlib import Path

from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share
from tests.torture.table import Tally
from tests.torture.trouble_on_shares import Ward, under_way


def beneath(place: Path) -> list[Path]:
    """Everything that lies in a folder."""
    return list(place.rglob("*"))


def test_an_empty_folder_in_the_place_of_any_of_the_four_stays_empty(
    daemon: Daemon,
    platform: Platform,
    share: Share,
    new_share: Callable[[str], Share],
    tally: Callable[[str], Tally],
) -> None:
    count = tally("shares: an empty folder in one's place")
    ward = Ward(daemon, platform, share, new_share("well"), folder=share.folder)
    daemon.start()
    for place in (share.done, share.inbox, share.outbox, share.failed):
        under_way(ward, 2)
        kept = place.with_name(f"{place.name} unmounted")
        place.rename(kept)
        place.mkdir()
        daemon.wait(lambda: daemon.events("share_waits")[-1:] and ward.told(), "the trouble is told")
        ward.others_go_on(1)
        written = beneath(place)
        for path in written:
            path.unlink()
        place.rmdir()
        kept.rename(place)
        ward.recovered()
        ward.delivered_is_there()
        ward.count(count, leaked=len(written))
    ward.check()
    daemon.stop()
