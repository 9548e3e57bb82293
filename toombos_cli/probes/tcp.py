"""A TCP probe: whether a port accepts connections."""

from time import monotonic

from toombos_cli.base.addresses import host_port
from toombos_cli.probes.connection import Deadline, ProbeError, connect
from toombos_cli.probes.result import ProbeResult, Reason


def probe_tcp(host: str, port: int, *, timeout_s: float = 2.0) -> ProbeResult:
    """Report whether `host:port` accepts a connection; `latency_ms` is the time it took.

    The url of the result is `tcp://host:port`. Raise OperationError if this machine has no socket left.
    """
    url = f"tcp://{host_port(host, port)}"
    started = monotonic()
    try:
        connected = connect(host, port, Deadline(timeout_s))
    except ProbeError as error:
        return ProbeResult(url=url, reason=error.reason, detail=error.detail)
    with connected.sock:
        return ProbeResult(
            url=url,
            reason=Reason.OK,
            latency_ms=(monotonic() - started) * 1000,
            address=connected.address,
            family=connected.family,
        )
