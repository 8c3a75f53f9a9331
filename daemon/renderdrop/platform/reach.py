"""How near an output's address may be: nothing that the server names leads the daemon into the operator's network.

Owns the rule of DESIGN 7 for addresses. Judged is the address that is connected to, not the text of a URL: names
that resolve to loopback, numbers written oddly and redirects all end there. A platform in the world may only name
hosts in the world; one in the operator's network, or behind a tunnel on this machine, may name its neighbours too.
Addresses of the world can be near as well: this machine's own and, in IPv6, its link's are known once a connection
is made, by the address that this machine has on it. Neighbours in public IPv4 or behind a router are not known.
The link's own addresses (a cloud's metadata service among them) are for a platform that has one itself.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, Final, Protocol

from renderdrop.model.errors import Temporary, Undeliverable

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PATIENCE: Final = 10.0
"""Seconds for a name to be resolved: as long as for a connection."""
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_LOCAL_NAT64: Final = ipaddress.ip_network("64:ff9b:1::/48")
_METADATA: Final = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "192.0.0.192", "fd00:ec2::254")))
"""Where clouds tell a machine its own secrets, beside 169.254.169.254."""
_OWN: Final = frozenset(map(ipaddress.ip_address, ("::", "::1")))
_THIS: Final = ipaddress.ip_network("0.0.0.0/8")
"""RFC 1122: "this network"; Linux connects to itself."""
_REFUSED: Final = (
    "the platform's output is at an address of this machine or of its network, and the platform itself is not: it is "
    "not fetched from there"
)


class Near(IntEnum):
    """Where an address is, the farthest first."""

    WORLD = 0
    NETWORK = 1
    MACHINE = 2
    LINK = 3


class _Stream(Protocol):
    """A connection as httpcore has it."""

    def get_extra_info(self, info: str) -> Any: ...
    async def aclose(self) -> None: ...


def near(address: str, here: str | None = None) -> Near:
    """Where an IP address is; addresses of IPv4 that travel inside IPv6 count as what they are. `here`: the address
    that this machine has itself on the way there. Raises ValueError."""
    found = _read(address)
    where = _near(found)
    if where is not Near.WORLD or here is None:
        return where
    own = _read(here)
    if found == own:
        return Near.MACHINE
    is_beside = found.version == own.version == 6 and int(found) >> 64 == int(own) >> 64
    return Near.NETWORK if is_beside else Near.WORLD


def _read(address: str) -> _Address:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return found
    if (inner := found.ipv4_mapped or found.sixtofour) is not None:
        return inner
    if found in _NAT64 or (found not in _OWN and int(found) < 2**32):
        return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found


def _near(found: _Address) -> Near:
    if isinstance(found, ipaddress.IPv6Address) and (found.is_site_local or found in _LOCAL_NAT64):
        return Near.NETWORK
    if found.is_link_local or found.is_multicast or found in _METADATA:
        return Near.LINK
    if found.is_loopback or found.is_unspecified or found in _THIS:
        return Near.MACHINE
    return Near.WORLD if found.is_global else Near.NETWORK


def allowed(address: str, platform: Iterable[str], here: str | None = None) -> bool:
    """Whether an output may be fetched from this address, when the platform has those and this machine is `here`."""
    there, ours = near(address, here), {near(one, here) for one in platform}
    if there is Near.LINK:
        return Near.LINK in ours
    return there <= max(ours, default=Near.WORLD)


class Gate:
    """Watches the connections to hosts that are not the platform's own; `host` and `port` are the platform's."""

    def __init__(self, host: str, port: int | None) -> None:
        self._host = host
        self._port = port

    async def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """httpx's `trace` extension: before a connection is made, and when it is made but not a byte was sent.
        Raises Undeliverable for an address that is too near, Temporary where it cannot be told."""
        if event == "connection.connect_tcp.started":
            found = await _addresses(info["host"], info["port"])
            if found and not any([await self._allows(address) for address in found]):
                raise Undeliverable(_REFUSED)
        elif event == "connection.connect_tcp.complete":
            # Not what the name meant a moment ago, but who answers: names can change between two looks.
            stream: _Stream = info["return_value"]
            peer, own = stream.get_extra_info("server_addr"), stream.get_extra_info("client_addr")
            if not peer or not own or not await self._allows(str(peer[0]), str(own[0])):
                await stream.aclose()
                raise Undeliverable(_REFUSED)

    async def _allows(self, address: str, here: str | None = None) -> bool:
        if near(address, here) is Near.WORLD:
            return True
        ours = await _addresses(self._host, self._port)
        if not ours:
            raise Temporary("the platform's own address cannot be found out now, which decides what may be fetched")
        return allowed(address, ours, here)


async def _addresses(host: str, port: int | None) -> list[str]:
    """What a name resolves to; [] where it does not."""
    try:
        async with asyncio.timeout(_PATIENCE):
            rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # TimeoutError among them
        return []
    return [str(row[4][0]) for row in rows]
