"""Which hosts are this machine alone; toombos_cli judges them by the same table (tests/contract/test_loopback.py)."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Reports whether a host name or address is of this machine alone; no name is looked up."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
