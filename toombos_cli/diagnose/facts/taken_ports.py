"""The processes that listen on ports which the services' commands and last log lines name."""

import re
from collections.abc import Iterator

from toombos_cli import processes
from toombos_cli.diagnose.facts.logs import LOGS
from toombos_cli.diagnose.facts.source import Fact, Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import ListenerFacts, listener_facts

_LAST_LINES = 40
_PORT = re.compile(r"(?<![\d.])\d{2,5}(?![\d.])")
_LARGEST = 65_535


def ports_in(text: str) -> Iterator[int]:
    """Yield the numbers in a text that may be ports."""
    return (number for found in _PORT.findall(text) if 0 < (number := int(found)) <= _LARGEST)


def _gather(facts: Facts) -> tuple[ListenerFacts, ...]:
    named = {
        port for service in facts.manifest.services.values() for word in service.command for port in ports_in(word)
    }
    named |= {service.port for service in facts.manifest.services.values() if service.port}
    try:
        lines = (entry.text for log in facts.get(LOGS).values() for entry in log.last[-_LAST_LINES:])
        named |= {port for line in lines for port in ports_in(line)}
    except FactUnavailableError:
        pass
    table = processes.process_table()
    return tuple(listener_facts(found, table, with_neighbour=True) for found in processes.listeners(named))


TAKEN_PORTS: Fact[tuple[ListenerFacts, ...]] = Fact("taken_ports", tuple[ListenerFacts, ...], _gather)
