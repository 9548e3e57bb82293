"""Opens connections to the target."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

from toombos_cli.base.addresses import is_loopback
from toombos_cli.load.engine.connection import Connection
from toombos_cli.load.plan import LoadPlan


class Connector:
    """Knows the target and how to speak to it; `make` gives each new connection its protocol."""

    def __init__(self, plan: LoadPlan, make: Callable[[], Connection]) -> None:
        self._target = plan.target
        self._timeout_s = plan.timeout_s
        self._make = make
        self._ssl = tls_context(plan) if plan.target.scheme == "https" else None
        self._on_loopback = is_loopback(plan.target.address)

    async def connect(self) -> Connection:
        """A new connection, TLS included. Raises OSError, TimeoutError among them, and ssl.SSLError."""
        target = self._target
        async with asyncio.timeout(self._timeout_s):
            transport, connection = await asyncio.get_running_loop().create_connection(
                self._make,
                target.address,
                target.port,
                ssl=self._ssl,
                server_hostname=target.host if self._ssl else None,
            )
        if self._on_loopback:
            _spare_congestion_control(transport)
        return connection


def _spare_congestion_control(transport: asyncio.BaseTransport) -> None:
    """Nothing congests loopback, and elaborate algorithms (BBR) cost client and server a hundredth of their time."""
    with contextlib.suppress(AttributeError, OSError):  # not on every system
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")


def tls_context(plan: LoadPlan) -> ssl.SSLContext:
    """The TLS settings towards the target; without `verify_tls`, any certificate is taken."""
    context = ssl.create_default_context()
    if not plan.target.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
