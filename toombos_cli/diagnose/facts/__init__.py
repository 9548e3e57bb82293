"""All facts, in the order in which gathering starts: the slowest first."""

from typing import Any

from toombos_cli.diagnose.facts.access import ACCESS
from toombos_cli.diagnose.facts.certificates import CERTIFICATES
from toombos_cli.diagnose.facts.configuration import CONFIGURATION, SETTINGS
from toombos_cli.diagnose.facts.database import DATABASES
from toombos_cli.diagnose.facts.kernel import KERNEL
from toombos_cli.diagnose.facts.local_ports import LOCAL_PORTS
from toombos_cli.diagnose.facts.logs import LOGS
from toombos_cli.diagnose.facts.machine import MACHINE
from toombos_cli.diagnose.facts.memory_kills import MEMORY_KILLS
from toombos_cli.diagnose.facts.monitoring import MONITORING
from toombos_cli.diagnose.facts.network import NETWORK
from toombos_cli.diagnose.facts.packages import PACKAGES
from toombos_cli.diagnose.facts.places import PLACES
from toombos_cli.diagnose.facts.probes import PROBES
from toombos_cli.diagnose.facts.redis import REDIS
from toombos_cli.diagnose.facts.source import Fact
from toombos_cli.diagnose.facts.stacks import STACKS
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.diagnose.facts.taken_ports import TAKEN_PORTS

FACTS: tuple[Fact[Any], ...] = (
    PROBES,
    SYSTEM,
    MACHINE,
    KERNEL,
    PLACES,
    MEMORY_KILLS,
    LOCAL_PORTS,
    CONFIGURATION,
    PACKAGES,
    NETWORK,
    LOGS,
    DATABASES,
    REDIS,
    CERTIFICATES,
    ACCESS,
    MONITORING,
    STACKS,
    TAKEN_PORTS,
)
"""The facts in a bundle. SETTINGS is not among them, because it contains the secrets."""

__all__ = ["FACTS", "SETTINGS"]
