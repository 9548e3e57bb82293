"""The ports that this machine gives to outgoing connections, and the destination that uses most of them."""

from collections import Counter
from pathlib import Path

import msgspec

from toombos_cli import processes
from toombos_cli.base.addresses import host_port
from toombos_cli.diagnose.facts.source import Fact, Facts
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.processes import sock_diag

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TAKEN = sock_diag.CONNECTED | 1 << 6
"""The states in which a connection takes a local port; the last one is TIME_WAIT, in which it has no owner."""
_WORTH_A_LOOK = 0.5
"""Above this share, it is looked up who has the connections."""


class LocalPorts(msgspec.Struct, frozen=True, kw_only=True):
    """The range of local ports, and how many of them the connections to the busiest destination use.

    `waiting` counts those of closed connections (TIME_WAIT). `holder` names the service or the process with most of the
    others, "" if there is none.
    """

    first: int
    last: int
    destination: str = ""
    used: int = 0
    waiting: int = 0
    holder: str = ""

    @property
    def ratio(self) -> float:
        """The share of the range that is in use."""
        return self.used / max(1, self.last - self.first + 1)


def _gather(facts: Facts) -> LocalPorts | None:
    try:
        first, last = map(int, _RANGE.read_text("ascii").split())
    except (OSError, ValueError):
        return None
    found = LocalPorts(first=first, last=last)
    try:
        outgoing = [one for one in sock_diag.tcp_sockets(_TAKEN) if first <= one.port <= last]
    except OSError:
        return None
    used = Counter((one.peer_host, one.peer_port) for one in outgoing)
    if not used:
        return found
    (host, port), count = used.most_common(1)[0]
    waiting = sum(1 for one in outgoing if (one.peer_host, one.peer_port, one.inode) == (host, port, 0))
    found = msgspec.structs.replace(found, destination=host_port(host, port), used=count, waiting=waiting)
    return _with_holder(facts, found, port) if found.ratio > _WORTH_A_LOOK else found


def _with_holder(facts: Facts, found: LocalPorts, port: int) -> LocalPorts:
    pid = max((held := processes.clients_of(port)), key=lambda pid: held[pid], default=0)
    if not pid:
        return found
    services = facts.get(SYSTEM).services
    service = next((name for name, one in services.items() if pid in one.pids), "")
    holder = service or f"pid {pid} ({processes.command_line(pid) or 'ended'})"
    return msgspec.structs.replace(found, holder=holder)


LOCAL_PORTS: Fact[LocalPorts | None] = Fact("local_ports", LocalPorts | None, _gather)
