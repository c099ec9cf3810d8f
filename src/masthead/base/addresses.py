"""Where a request comes from when proxies stand in between."""

import ipaddress
from collections.abc import Sequence

from masthead.base.errors import InvalidInput, shown

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def read_networks(text: str, field: str = "trusted_proxies") -> tuple[Network, ...]:
    """Return the networks of addresses and CIDR blocks separated by commas.

    Raises:
        InvalidInput: One of them is none.

    >>> read_networks("10.0.0.0/8, 127.0.0.1")
    (IPv4Network('10.0.0.0/8'), IPv4Network('127.0.0.1/32'))
    """
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ipaddress.ip_network(part, strict=False))
        except ValueError as error:
            raise InvalidInput(
                f"{field}: expected addresses or CIDR blocks by commas, got {shown(part)}"
            ) from error
    return tuple(found)


def client_address(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """Return the address of who called: the peer's, or behind trusted proxies the last one that is not theirs.

    Args:
        peer: The other end of the connection.
        forwarded: The header `X-Forwarded-For`, written on by each proxy at its end.
        trusted: Networks whose word is believed.

    >>> client_address("127.0.0.1", "6.6.6.6, 9.9.9.9", read_networks("127.0.0.1"))
    '9.9.9.9'
    >>> client_address("8.8.8.8", "9.9.9.9", read_networks("127.0.0.1"))
    '8.8.8.8'
    """
    found = peer
    for told in reversed(forwarded.split(",") if forwarded and trusted else []):
        if not _inside(found, trusted):
            break
        if not _is_address(told.strip()):
            break
        found = told.strip()
    return found


def _inside(address: str, networks: Sequence[Network]) -> bool:
    try:
        one = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(one in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
