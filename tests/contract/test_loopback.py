"""The command line and the services, which share no code, agree on which hosts are only this machine."""

from collections.abc import Callable

import pytest

from services.common import loopback
from toombos_cli.base import addresses

_HOSTS = {
    "127.0.0.1": True,
    "127.0.0.2": True,
    "127.255.255.254": True,
    "::1": True,
    "0:0:0:0:0:0:0:1": True,
    "::1%lo": True,
    "::ffff:127.0.0.1": True,
    "::ffff:7f00:1": True,
    "localhost": True,
    "LOCALHOST": True,
    "localhost.": True,
    "crm.localhost": True,
    "": False,
    "0.0.0.0": False,
    "::": False,
    "10.0.0.1": False,
    "192.0.2.7": False,
    "::ffff:192.0.2.7": False,
    "fe80::1%eth0": False,
    "2001:db8::1": False,
    "127.example.org": False,
    "localhost.example.org": False,
    "notlocalhost": False,
    "localhost:80": False,
    "127.1": False,
    "2130706433": False,
    "0177.0.0.1": False,
}


@pytest.mark.parametrize(
    "is_loopback",
    [
        pytest.param(addresses.is_loopback, id="the command line"),
        pytest.param(loopback.is_loopback, id="the services"),
    ],
)
@pytest.mark.parametrize(("host", "expected"), _HOSTS.items(), ids=lambda value: repr(value))
def test_both_sides_agree_whether_a_host_is_only_this_machine(
    is_loopback: Callable[[str], bool], host: str, expected: bool
) -> None:
    assert is_loopback(host) is expected
