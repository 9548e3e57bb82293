"""Whether a host is this machine, so that what is sent to it does not leave the machine; and who may get variables."""

import errno
import ipaddress
import socket

from toombos_cli.base.addresses import is_loopback
from toombos_cli.manifest.tables.service import Service


def may_receive(service: Service, *, is_allowed: bool) -> bool:
    """Report whether variables may be sent to a service: on this machine, or if the manifest allows its host.

    A place may be behind a port of this machine, as with `kubectl port-forward`, so there only the manifest counts.
    """
    return is_allowed or (service.is_here and (bool(service.unix) or is_this_machine(service.host)))


def is_this_machine(host: str) -> bool:
    """Report whether every address that the host name stands for belongs to this machine now.

    A name decides nothing: `localhost` counts as elsewhere if it is resolved to an address elsewhere, and a name that
    is not resolved counts as elsewhere too.
    """
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(_is_own(str(info[4][0]), info[0]) for info in found)


def _is_own(address: str, family: int) -> bool:
    """Report whether an address is a loopback one, unspecified, or of an interface: only these can be bound."""
    if is_loopback(address) or ipaddress.ip_address(address.partition("%")[0]).is_unspecified:
        return True
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return True
