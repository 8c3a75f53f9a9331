"""Which addresses an output may be fetched from: judged by who answers, and by where the platform itself is."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import pytest
from tests.platform.conftest import Serve, Wire

from renderdrop.model.errors import Temporary, Undeliverable
from renderdrop.platform import reach
from renderdrop.platform.client import Client
from renderdrop.platform.reach import Near, allowed, near
from renderdrop.platform.results import Transfer

Talking = Callable[[str], AbstractAsyncContextManager[Client]]
WORLD = ["93.184.216.34"]
MACHINE = ["127.0.0.1"]


class Nothing:
    """A sink that nothing may reach."""

    size = 0

    async def write(self, chunk: bytes) -> None:
        raise AssertionError(f"{len(chunk)} bytes came")

    async def restart(self) -> None:
        """There is nothing."""


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("93.184.216.34", Near.WORLD), ("2606:4700::1", Near.WORLD), ("::ffff:8.8.8.8", Near.WORLD),
        ("10.0.0.1", Near.NETWORK), ("172.16.0.1", Near.NETWORK), ("192.168.1.1", Near.NETWORK),
        ("100.64.0.1", Near.NETWORK), ("198.18.0.1", Near.NETWORK), ("fd00::1", Near.NETWORK),
        ("fec0::1", Near.NETWORK),
        ("::ffff:10.0.0.1", Near.NETWORK), ("240.0.0.1", Near.NETWORK), ("64:ff9b:1::1", Near.NETWORK),
        ("127.0.0.1", Near.MACHINE), ("127.9.9.9", Near.MACHINE), ("::1", Near.MACHINE), ("0.0.0.0", Near.MACHINE),
        ("::", Near.MACHINE), ("::ffff:127.0.0.1", Near.MACHINE), ("64:ff9b::7f00:1", Near.MACHINE),
        ("2002:7f00:1::", Near.MACHINE), ("::127.0.0.1", Near.MACHINE), ("0.1.2.3", Near.MACHINE),
        ("169.254.169.254", Near.LINK), ("::ffff:169.254.169.254", Near.LINK), ("fe80::1%eth0", Near.LINK),
        ("224.0.0.1", Near.LINK), ("ff02::1", Near.LINK), ("100.100.100.200", Near.LINK), ("fd00:ec2::254", Near.LINK),
    ],
)  # fmt: skip
def test_an_address_is_as_near_as_it_is(address: str, where: Near) -> None:
    assert near(address) is where


@pytest.mark.parametrize(
    ("platform", "takes"),
    [
        (WORLD, {Near.WORLD}),
        (["10.0.0.5"], {Near.WORLD, Near.NETWORK}),
        (MACHINE, {Near.WORLD, Near.NETWORK, Near.MACHINE}),
        ([], {Near.WORLD}),
        (["169.254.1.1"], set(Near)),
    ],
)
def test_nothing_is_fetched_from_nearer_than_the_platform_is(platform: list[str], takes: set[Near]) -> None:
    samples = {
        Near.WORLD: "8.8.8.8", Near.NETWORK: "10.9.9.9", Near.MACHINE: "127.0.0.1", Near.LINK: "169.254.169.254",
    }  # fmt: skip
    assert {where for where, address in samples.items() if allowed(address, platform)} == takes


HERE4, HERE6 = "93.184.216.34", "2606:4700:1:2::7"


@pytest.mark.parametrize(
    ("address", "here", "where"),
    [
        (HERE4, HERE4, Near.MACHINE), (HERE6, HERE6, Near.MACHINE), (f"::ffff:{HERE4}", HERE4, Near.MACHINE),
        (HERE4, f"::ffff:{HERE4}", Near.MACHINE),
        ("2606:4700:1:2:ffff::9", HERE6, Near.NETWORK), ("2606:4700:1:3::7", HERE6, Near.WORLD),
        ("93.184.216.35", HERE4, Near.WORLD), (HERE4, HERE6, Near.WORLD), (HERE6, HERE4, Near.WORLD),
        ("8.8.8.8", "192.168.1.7", Near.WORLD), ("192.168.1.8", "192.168.1.7", Near.NETWORK),
        ("127.0.0.1", "127.0.0.1", Near.MACHINE), ("fe80::1%eth0", "fe80::2%eth0", Near.LINK),
    ],
)  # fmt: skip
def test_an_address_of_the_world_can_be_this_machines_own_or_its_neighbours(
    address: str, here: str, where: Near
) -> None:
    assert near(address, here) is where


@pytest.mark.parametrize(
    ("platform", "takes"),
    [
        (["8.8.8.8"], {Near.WORLD}),
        (["2606:4700:1:2::5"], {Near.WORLD, Near.NETWORK}),
        ([HERE6], {Near.WORLD, Near.NETWORK, Near.MACHINE}),
        (["192.168.1.5"], {Near.WORLD, Near.NETWORK}),
    ],
)
def test_a_platform_may_be_this_machine_or_a_neighbour_by_an_address_of_the_world_too(
    platform: list[str], takes: set[Near]
) -> None:
    samples = {Near.WORLD: "2001:4860::8", Near.NETWORK: "2606:4700:1:2::9", Near.MACHINE: HERE6}
    assert {where for where, address in samples.items() if allowed(address, platform, HERE6)} == takes


def resolving(monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> None:
    """Names mean these addresses; numbers mean themselves."""

    async def addresses(host: str, port: int | None) -> list[str]:
        return names.get(host.split(".")[0], [host])

    monkeypatch.setattr(reach, "_addresses", addresses)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("at_first", [MACHINE, WORLD], ids=["as it is", "a name that changes its mind"])
async def test_loopback_is_not_reached_for_a_platform_in_the_world(
    host: str, at_first: list[str], serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(200, b"a secret")

    raw = await serve(script)
    names = {"platform": WORLD, "localhost": at_first, "127": at_first}
    resolving(monkeypatch, **names)
    async with talking("http://platform.test") as client:
        for url in (raw.url.replace("127.0.0.1", host), raw.url.replace("127.0.0.1", f"x@{host}")):
            with pytest.raises(Undeliverable, match="of this machine or of its network"):
                await Transfer(url, 10**6).pull(client, Nothing(), datetime.now(UTC))
    assert raw.seen == []


async def test_this_machine_is_not_reached_by_its_address_in_the_world_either(
    serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(200, b"a secret")

    def as_if_in_the_world(address: str, here: str | None = None) -> Near:
        public = {"127.0.0.1": HERE4}
        return near(public.get(address, address), here and public.get(here, here))

    raw = await serve(script)
    resolving(monkeypatch, platform=["8.8.8.8"])
    monkeypatch.setattr(reach, "near", as_if_in_the_world)
    async with talking("http://platform.test") as client:
        with pytest.raises(Undeliverable, match="of this machine or of its network"):
            await Transfer(raw.url, 10**6).pull(client, Nothing(), datetime.now(UTC))
    assert raw.seen == []


async def test_where_the_platform_cannot_be_found_nothing_near_is_fetched(
    serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(200, b"a secret")

    raw = await serve(script)
    resolving(monkeypatch, platform=[])
    async with talking("http://platform.test") as client:
        with pytest.raises(Temporary, match="the platform's own address"):
            await Transfer(raw.url, 10**6).pull(client, Nothing(), datetime.now(UTC))
    assert raw.seen == []


async def test_a_redirect_from_the_platform_leads_no_nearer(
    serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def secret(wire: Wire) -> None:
        await wire.answer(200, b"a secret")

    async def redirect(wire: Wire) -> None:
        await wire.answer(302, b"", Location=inner.url)

    inner, outer = await serve(secret), await serve(redirect)
    resolving(monkeypatch, **{"127": WORLD})  # as if the platform, at its own origin, were in the world
    async with talking(outer.url) as client:
        with pytest.raises(Undeliverable):
            await Transfer(outer.url, 10**6).pull(client, Nothing(), datetime.now(UTC))
    assert len(outer.seen) == 1
    assert inner.seen == []
