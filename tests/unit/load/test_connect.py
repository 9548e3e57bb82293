"""The socket options of the engine's connections."""

import asyncio
import socket

import pytest

from tests.support.loading import load_server, plan_for
from toombos_cli.load.engine.closed import ClosedLoop
from toombos_cli.load.observer import LoadObserver

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_CONGESTION"), reason="no such option on this system")


def test_loopback_connections_use_the_cheapest_congestion_control() -> None:
    async def used(port: int) -> bytes:
        connection = await ClosedLoop(plan_for(port), LoadObserver()).connect()
        assert connection.transport is not None
        found: bytes = connection.transport.get_extra_info("socket").getsockopt(
            socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16
        )
        connection.close()
        return found.rstrip(b"\0")

    with load_server("fixed:0") as server:
        assert asyncio.run(used(server.port)) == b"reno"
