"""One job for every combination: results apart, the source put away once, after the last of them."""

import random
import time
from typing import Any

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

from renderdrop.model.lifecycle import State

VARIANTS: dict[str, Any] = {"matrix": {"seed": [1, 2, 3], "prompt": ["oil", "ink"]}, "params": {"strength": 0.5}}
COMBINATIONS = {(seed, prompt) for seed in (1, 2, 3) for prompt in ("oil", "ink")}


@pytest.fixture
def variants(daemon: Daemon) -> Daemon:
    """The daemon, whose one route makes six jobs of a file."""
    daemon.route(**VARIANTS)
    return daemon


def paid(platform: Platform, data: bytes) -> list[tuple[int, str]]:
    """The combinations that the platform was asked for, with these bytes."""
    return [(int(task["fields"]["seed"]), task["fields"]["prompt"]) for task in platform.tasks(data)]


# Two instances that are busy for a second each: six jobs take a while.
@pytest.mark.parametrize("platform", [{"render_seconds": (1.0, 1.0)}], indirect=True)
def test_every_combination_is_a_job_of_its_own_and_the_source_is_put_away_after_the_last(
    platform: Platform, variants: Daemon, share: Share
) -> None:
    platform.faults({"call": "poll", "do": "status", "status": 503, "every": 2})
    variants.start()
    data = share.drop("sub/cat.png")
    variants.wait(lambda: share.sidecars(), "the first one is delivered")
    in_inbox = (share.inbox / "sub" / "cat.png").exists()
    assert in_inbox or len(share.sidecars()) == 6
    variants.wait_at_rest(done=1)
    share.check_whole(platform)
    assert sorted(paid(platform, data)) == sorted(COMBINATIONS)
    assert (share.done / "sub" / "cat.png").read_bytes() == data
    names = {f"sub/cat_seed-{seed}_prompt-{prompt}" for seed, prompt in COMBINATIONS}
    assert share.files(share.outbox).keys() == {f"{name}{ext}" for name in names for ext in (".png", ".json")}
    by_base = {sidecar["base"]: sidecar for sidecar in share.sidecars()}
    for seed, prompt in COMBINATIONS:
        sidecar = by_base[f"cat_seed-{seed}_prompt-{prompt}"]
        assert sidecar["params"] == {"seed": seed, "prompt": prompt, "strength": 0.5}
        assert sidecar["params_from"] == {"seed": "matrix", "prompt": "matrix", "strength": "route"}
        assert sidecar["sources"][0]["sha256"] == share.digest(data)
    assert len({sidecar["job_id"] for sidecar in by_base.values()}) == 6
    assert len({sidecar["outputs"][0]["sha256"] for sidecar in by_base.values()}) == 6
    assert len(variants.jobs(State.DELIVERED)) == 6


def test_a_ticket_pins_an_axis(platform: Platform, variants: Daemon, share: Share) -> None:
    share.drop("cat.png.job.toml", b"[params]\nseed = 9\n")
    data = share.drop("cat.png")
    assert variants.once() == 0
    assert sorted(paid(platform, data)) == [(9, "ink"), (9, "oil")]
    assert share.files(share.outbox).keys() == {
        "cat_prompt-oil.png", "cat_prompt-oil.json", "cat_prompt-ink.png", "cat_prompt-ink.json",
    }  # fmt: skip
    assert {sidecar["params_from"]["seed"] for sidecar in share.sidecars()} == {"ticket"}
    assert share.files(share.done).keys() == {"cat.png", "cat.png.job.toml"}


def test_where_some_fail_the_source_goes_to_done_and_each_failure_is_told_in_failed_and_can_be_retried(
    platform: Platform, variants: Daemon, share: Share
) -> None:
    platform.faults({"call": "run", "do": "fail_task", "count": 2, "msg": "显存不足"})
    variants.start()
    data = share.drop("cat.png")
    variants.wait_at_rest(done=1, failed=2)
    assert len(share.sidecars()) == 4
    share.check_whole(platform)
    failed = variants.jobs(State.FAILED)
    notices = [path for path in share.files(share.failed) if path.endswith(".error.txt")]
    told = [share.told(path.removesuffix(".error.txt")) for path in notices]
    assert {sidecar["job_id"] for _, sidecar in told} == {job.id for job in failed}
    for text, sidecar in told:
        assert "显存不足" in text
        assert f"seed-{sidecar['params']['seed']}" in text
        assert f"renderdrop retry {sidecar['job_id']}" in text
    assert len(share.files(share.failed)) == 4

    assert variants.run("retry", "--failed").returncode == 0
    variants.wait(lambda: len(share.sidecars()) == 6, "what had failed is delivered")
    variants.wait_at_rest(done=1)
    assert not share.files(share.failed)
    assert (share.done / "cat.png").read_bytes() == data
    assert {(s["params"]["seed"], s["params"]["prompt"]) for s in share.sidecars()} == COMBINATIONS
    assert len(platform.tasks(data)) == 8
    share.check_whole(platform)


def test_killed_in_the_middle_no_combination_is_paid_for_twice(
    platform: Platform, variants: Daemon, share: Share
) -> None:
    dropped = {f"{n}.png": share.drop(f"{n}.png") for n in range(3)}
    chance = random.Random(3)
    for _ in range(4):
        variants.launch()
        time.sleep(chance.uniform(0.8, 2.0))
        variants.kill()
        share.check_unbroken(platform)
    variants.start()
    variants.wait_with_a_person(done=3)
    share.check_whole(platform)
    for path, data in dropped.items():
        sidecars = [s for s in share.sidecars() if s["sources"][0]["path"] == path]
        assert {(s["params"]["seed"], s["params"]["prompt"]) for s in sidecars} == COMBINATIONS
        assert len(sidecars) == 6
        for sidecar in sidecars:
            unknown = [s["outcome"] for s in sidecar["submissions"]].count("unknown")
            combination = (sidecar["params"]["seed"], sidecar["params"]["prompt"])
            assert paid(platform, data).count(combination) <= 1 + unknown
