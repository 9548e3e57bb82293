"""Which process has the port that a log line says is in use, and what to do about it."""

from dataclasses import dataclass

from toombos_cli.diagnose.checks.log_evidence import LoggedProblem
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM, ListenerFacts
from toombos_cli.diagnose.facts.taken_ports import TAKEN_PORTS, ports_in


@dataclass(frozen=True, slots=True)
class PortHolder:
    """The process that listens on a port; `service` is the service of this system that it belongs to, or ""."""

    listener: ListenerFacts
    service: str

    @property
    def cause(self) -> str:
        """Who has the port."""
        owner = f"{self.service}, {self.listener}" if self.service else str(self.listener)
        return f"port {self.listener.port} is taken by {owner}"

    def advice_for(self, service: str) -> str:
        """Return what to do so that `service` can listen."""
        port = self.listener.port
        other = f"give {service} another port: command and port in [services.{service}] of toombos.toml"
        if self.service:
            return f"port {port} is that of {self.service}; {other}"
        if self.listener.pid is None:
            return f"end what sudo ss -ltnp 'sport = :{port}' names, or {other}"
        return f"end pid {self.listener.pid}, or {other}"


def port_holder(facts: Facts, one: LoggedProblem) -> PortHolder | None:
    """Return the process of another program or service that has the port which the line means, None if none is seen.

    The line itself names the port, or the command of the service does, or its table in the manifest.
    """
    service, system = facts.manifest.services[one.logged_by], facts.get(SYSTEM)
    try:
        taken = facts.get(TAKEN_PORTS)
    except FactUnavailableError:
        return None
    own = set(system.services[one.logged_by].pids)
    named = [*ports_in(one.entry.text), *(port for word in service.command for port in ports_in(word))]
    for port in dict.fromkeys([*named, *([service.port] if service.port else [])]):
        for listener in taken:
            if listener.port == port and listener.pid not in own:
                owners = (
                    name for name, found in system.services.items() if listener.pid and listener.pid in found.pids
                )
                return PortHolder(listener, next(owners, ""))
    return None
