"""TCP probes of real sockets."""

from tests.support.ports import free_port
from tests.support.servers import black_hole, hang, serve
from toombos_cli.probes import Reason, probe_tcp


def test_a_probe_of_a_listener_is_ok_and_has_a_latency():
    with serve(hang) as port:
        result = probe_tcp("127.0.0.1", port)
    assert (result.reason, result.url, result.family) == (Reason.OK, f"tcp://127.0.0.1:{port}", "ipv4")
    assert result.latency_ms >= 0


def test_a_closed_port_is_refused():
    assert probe_tcp("localhost", free_port()).reason is Reason.REFUSED


def test_a_probe_of_a_black_hole_times_out():
    with black_hole() as port:
        assert probe_tcp("127.0.0.1", port, timeout_s=0.2).reason is Reason.TIMEOUT


def test_an_ipv6_address_is_bracketed_in_the_url():
    with serve(hang, host="::1") as port:
        assert probe_tcp("::1", port).url == f"tcp://[::1]:{port}"
