"""HTTP and TCP probes of a service, with an exact reason for each failure; safe in threads."""

from toombos_cli.probes.endpoint import DIRECT, Endpoint, endpoint_of
from toombos_cli.probes.health import probe_health
from toombos_cli.probes.http import probe_http
from toombos_cli.probes.judge import (
    HealthState,
    health_state,
    health_verdict,
    is_ready,
    judge_health,
    read_json,
    said_dry_run,
)
from toombos_cli.probes.reach import is_this_machine
from toombos_cli.probes.result import Cause, ProbeResult, Reason
from toombos_cli.probes.tcp import probe_tcp

__all__ = [
    "DIRECT",
    "Cause",
    "Endpoint",
    "HealthState",
    "ProbeResult",
    "Reason",
    "endpoint_of",
    "health_state",
    "health_verdict",
    "is_ready",
    "is_this_machine",
    "judge_health",
    "probe_health",
    "probe_http",
    "probe_tcp",
    "read_json",
    "said_dry_run",
]
