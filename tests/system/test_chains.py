"""One route's results are the next one's sources: followed to the end, led back to the start, told when it breaks."""

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State

LINKS = ("one", "two", "three")


@pytest.fixture
def chain(daemon: Daemon, new_share: Callable[[str], Share]) -> "list[Share]":
    """Three routes, each but the last with the next one's inbox for its outbox."""
    shares = [new_share(name) for name in LINKS]
    daemon.routes(**{name: link(shares, number) for number, name in enumerate(LINKS)})
    return shares


def link(shares: "list[Share]", number: int) -> dict[str, Any]:
    """The settings of one of the routes. Each leaves its own words on the picture."""
    after = {"outbox": str(shares[number + 1].inbox)} if number + 1 < len(shares) else {}
    return {
        "folder": str(shares[number].folder),
        **after,
        "workflow_id": "1234",
        "clusters": ["GPU-4090"],
        "inputs": {"input_image": "image"},
        "params": {"prompt": LINKS[number]},
    }


def ended(chain: "list[Share]", done: int) -> bool:
    """Whether so many sources have gone all the way: every link's source is put away, and only sidecars lie between."""
    return all(
        len(share.files(share.done)) == done and all(path.endswith(".json") for path in share.files(share.inbox))
        for share in chain
    )


def test_three_links_and_every_sidecar_leads_back_to_the_one_before_up_to_the_first_source(
    platform: Platform, daemon: Daemon, chain: "list[Share]"
) -> None:
    one, two, three = chain
    daemon.start()
    data = one.drop("sub/cat.png")
    daemon.wait(lambda: ended(chain, 1), "it has gone all the way")
    three.check_whole(platform)
    assert three.files(three.outbox).keys() == {"sub/cat.png", "sub/cat.json"}
    # The sidecars in between were left where they are, and nobody took them for work.
    assert two.files(two.inbox).keys() == three.files(three.inbox).keys() == {"sub/cat.json"}
    assert len(platform.tasks()) == 3
    assert not any(share.files(share.failed) for share in chain)
    assert not platform.ledger()["rejected"]

    last = three.sidecar("sub/cat.png")
    middle = json.loads((three.inbox / last["derived_from"]).read_bytes())
    first = json.loads((two.inbox / middle["derived_from"]).read_bytes())
    assert (last["derived_from"], middle["derived_from"], first["derived_from"]) == (
        "sub/cat.json", "sub/cat.json", None,
    )  # fmt: skip
    assert [sidecar["route"] for sidecar in (first, middle, last)] == list(LINKS)
    assert first["sources"][0]["sha256"] == one.digest(data)
    for earlier, later in ((first, middle), (middle, last)):
        assert [out["sha256"] for out in earlier["outputs"]] == [source["sha256"] for source in later["sources"]]
    assert (one.done / "sub" / "cat.png").read_bytes() == data
    assert one.digest((two.done / "sub" / "cat.png").read_bytes()) == first["outputs"][0]["sha256"]


def test_a_circle_of_routes_is_refused_by_check_and_by_run(
    platform: Platform, daemon: Daemon, chain: "list[Share]"
) -> None:
    tables = {name: link(chain, number) for number, name in enumerate(LINKS)}
    daemon.routes(**{**tables, "three": {**tables["three"], "outbox": str(chain[0].inbox)}})
    checked = daemon.run("check", "--offline")
    assert checked.returncode == 78
    assert "one" in checked.stdout
    assert "cycle" in checked.stdout or "circle" in checked.stdout
    daemon.launch()
    assert daemon.ended() == 78
    assert not platform.ledger()["calls"]


@pytest.mark.parametrize("broken", [1, 2])
def test_a_link_that_fails_is_told_at_the_end_of_the_chain_until_a_fresh_try_succeeds(
    platform: Platform, daemon: Daemon, chain: "list[Share]", broken: int
) -> None:
    *_, three = chain
    at = chain[broken - 1]
    platform.faults({"call": "run", "do": "fail_task", "every": broken, "count": 1, "msg": "显存不足"})
    daemon.start()
    chain[0].drop("sub/cat.png")
    told = three.outbox / "sub" / "cat.json"
    daemon.wait(told.exists, "the end of the chain is told")
    daemon.wait(lambda: (at.failed / "sub" / "cat.png.error.txt").exists(), "the link's own people are told")
    [sidecar] = three.sidecars()
    assert (sidecar["status"], sidecar["route"], sidecar["outputs"]) == ("fail", LINKS[broken - 1], [])
    assert "显存不足" in sidecar["errors"][0]["message"]
    assert LINKS[broken - 1] in sidecar["errors"][0]["message"]
    assert len(platform.tasks()) == broken

    (at.failed / "sub" / "cat.png").rename(at.inbox / "sub" / "cat.png")
    daemon.wait(lambda: ended(chain, 1), "it has gone all the way")
    assert three.files(three.outbox).keys() == {"sub/cat.png", "sub/cat.json"}
    assert three.sidecar("sub/cat.png")["status"] == "success"
    assert not any(share.files(share.failed) for share in chain)
    assert len(platform.tasks()) == len(LINKS) + 1
    three.check_whole(platform)


def test_a_failed_link_that_is_retried_leaves_no_failure_at_the_end_of_the_chain(
    platform: Platform, daemon: Daemon, chain: "list[Share]"
) -> None:
    *_, three = chain
    platform.faults({"call": "run", "do": "fail_task", "count": 1})
    daemon.start()
    chain[0].drop("cat.png")
    daemon.wait((three.outbox / "cat.json").exists, "the end of the chain is told")
    daemon.wait((chain[0].failed / "cat.png.error.txt").exists, "the link's own people are told")
    [sidecar] = three.sidecars()
    daemon.wait(lambda: daemon.run("retry", sidecar["job_id"]).returncode == 0, "it can be retried")
    daemon.wait(lambda: ended(chain, 1), "it has gone all the way")
    assert three.files(three.outbox).keys() == {"cat.png", "cat.json"}
    assert three.sidecar("cat.png")["status"] == "success"
    assert not chain[0].files(chain[0].failed)


def test_killed_again_and_again_a_chain_pays_for_no_link_twice(
    platform: Platform, daemon: Daemon, chain: "list[Share]"
) -> None:
    *_, three = chain
    dropped = {f"{n}.png": chain[0].drop(f"{n}.png") for n in range(4)}
    chance = random.Random(5)
    for _ in range(4):
        daemon.launch()
        time.sleep(chance.uniform(0.8, 2.2))
        daemon.kill()
        three.check_unbroken(platform)
    daemon.start()

    def released() -> bool:
        for job in daemon.jobs(State.HELD):
            daemon.run("release", job.id)
        return ended(chain, len(dropped))

    daemon.wait(released, "all have gone all the way")
    three.check_whole(platform)
    assert three.files(three.outbox).keys() == {f"{n}{ext}" for n in range(4) for ext in (".png", ".json")}
    unknown = sum(s.outcome == "unknown" for job in daemon.jobs() for s in job.submissions)
    assert 12 <= len(platform.tasks()) <= 12 + unknown
    assert [three.sidecar(path)["derived_from"] for path in dropped] == [f"{n}.json" for n in range(4)]
    sources = {json.loads(at.read_bytes())["sources"][0]["sha256"] for at in chain[1].files(chain[1].inbox).values()}
    assert sources == {chain[0].digest(data) for data in dropped.values()}
