"""Loopback hosts; toombos_cli uses the same definition (tests/contract/test_loopback.py)."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Report whether a host name or address is loopback; no name is looked up."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
