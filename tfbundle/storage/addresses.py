"""Addresses of the public internet, from which no redirect may lead into a private network.

A public server that redirects to an address such as 169.254.169.254 would make this machine ask services for it that
only the machine can reach (server-side request forgery).
"""

from __future__ import annotations

import ipaddress

_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether an IP address is neither private, loopback, link-local nor reserved.

    Names, which are those that a proxy looks up, count as public, except for ``localhost``.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address.lower() != "localhost"
    if isinstance(found, ipaddress.IPv6Address):
        # Some addresses of IPv6 stand for one of IPv4.
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast
