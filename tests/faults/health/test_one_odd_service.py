"""One odd service beside a healthy one: `health` reports both, in time."""

import ssl
import subprocess
import sys
import time

import pytest

from tests.faults.health.test_reasons import manifest
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.servers import endless, json_answer, raw, read_request, serve, serve_tls
from toombos_cli.base.errors import OperationError
from toombos_cli.base.results import Verdict
from toombos_cli.health import check
from toombos_cli.health.check import run_health
from toombos_cli.probes import Cause, Reason

HEALTHY = json_answer('{"status": "healthy"}')


def header_flood(connection):
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-Fill: x\r\n" * 400)


def drip_forever(connection):
    read_request(connection)
    while True:
        connection.sendall(b"H")
        time.sleep(0.02)  # the server's pace: nothing is waited for


ODD = {
    "101": (raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"), Reason.STATUS),
    "a body of 1 GB": (endless, Reason.BODY),
    "a flood of headers": (header_flood, Reason.BODY),
    "no HTTP, drop by drop": (drip_forever, Reason.BODY),
    "a location that is no URL": (raw(b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n"), Reason.STATUS),
    "an unknown content coding": (raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: x\r\n\r\nx"), Reason.BODY),
}


@pytest.mark.parametrize(("handler", "reason"), ODD.values(), ids=ODD)
def test_the_other_services_keep_their_verdict(tmp_path, handler, reason):
    with serve(handler) as odd, serve(HEALTHY) as good:
        report = run_health(manifest(tmp_path, odd={"port": odd}, good={"port": good, "probe_timeout_s": 10}))
    first, second = report.services
    assert (first.reason, first.verdict) == (reason, Verdict.FAIL), first.detail
    assert (second.reason, second.verdict) == (Reason.OK, Verdict.PASS)


def test_an_optional_service_that_wants_a_client_certificate_is_not_taken_for_one_not_started(tmp_path):
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue())
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    with serve_tls(HEALTHY, tmp_path, context) as port:
        odd = {"port": port, "scheme": "https", "optional": True, "probe_timeout_s": 10}
        report = run_health(manifest(tmp_path, odd=odd))
    (found,) = report.services
    assert (found.reason, found.cause) == (Reason.TLS, Cause.CLIENT_CERTIFICATE)
    assert report.verdict is Verdict.FAIL


@pytest.fixture
def unprobed(monkeypatch):
    """Return the set of services whose probe meets a limit of this machine."""
    names, real = set(), check.probe_service

    def probe_service(service, *args, **keys):
        if service.name in names:
            raise OperationError("cannot probe: Too many open files")
        return real(service, *args, **keys)

    monkeypatch.setattr(check, "probe_service", probe_service)  # real limits would hit every probe of this process
    return names


def test_a_limit_of_this_machine_costs_the_verdict_of_one_service_alone(tmp_path, unprobed):
    unprobed.add("odd")
    with serve(HEALTHY) as good:
        report = run_health(manifest(tmp_path, odd={"port": free_port()}, good={"port": good, "probe_timeout_s": 10}))
    first, second = report.services
    assert (first.reason, first.verdict, first.detail) == (
        Reason.ERROR,
        Verdict.ERROR,
        "cannot probe: Too many open files",
    )
    assert (second.reason, second.verdict) == (Reason.OK, Verdict.PASS)


def test_a_limit_of_this_machine_that_prevents_every_probe_is_an_error_of_the_command(tmp_path, unprobed):
    unprobed |= {"a", "b"}
    with pytest.raises(OperationError, match="Too many open files"):
        run_health(manifest(tmp_path, a={"port": free_port()}, b={"port": free_port()}))


@pytest.mark.parametrize("command", [["status"], ["--help"], ["--version"], ["logs"]])
def test_a_command_that_probes_nothing_does_not_import_httpx(tmp_path, command):
    manifest(tmp_path, web={"port": free_port()})
    code = (
        "import sys\nfrom toombos_cli.main import main\n"
        f"try:\n    main({command!r})\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('httpx', 'httpcore', 'h11', 'ssl') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr.strip().endswith("[]")
