"""TLS: whose certificates a probe accepts, which one it shows, and what is said if the two sides do not agree."""

import ssl
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.servers import answer, serve_tls
from toombos_cli.probes import Cause, Endpoint, Reason, probe_http, probe_tcp

HOSTS = ("localhost", "127.0.0.1")


def server(certificate, *, clients=None, most=ssl.TLSVersion.TLSv1_3):
    """Return the context of a server that asks its clients for a certificate of this authority, if any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = most
    context.load_cert_chain(certificate)
    if clients is not None:
        context.load_verify_locations(clients.ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


# how the certificate is issued, how the endpoint verifies it, reason, cause, words of the detail
VERIFIED = {
    "signed by the given authority": ({"hosts": HOSTS}, {"ca": "own"}, Reason.OK, None, ""),
    "signed by another authority": (
        {"hosts": HOSTS},
        {"ca": "other"},
        Reason.TLS,
        Cause.CERTIFICATE,
        "unable to get local issuer certificate",
    ),
    "expired": (
        {"hosts": HOSTS, "days": (-9, -1)},
        {"ca": "own"},
        Reason.TLS,
        Cause.CERTIFICATE,
        "certificate has expired",
    ),
    "not valid yet": ({"hosts": HOSTS, "days": (1, 9)}, {"ca": "own"}, Reason.TLS, Cause.CERTIFICATE, "not yet valid"),
    "for another host": (
        {"hosts": ("example.org",)},
        {"ca": "own"},
        Reason.TLS,
        Cause.CERTIFICATE,
        "not valid for '127.0.0.1'",
    ),
    "without the name of any host": ({}, {"ca": "own"}, Reason.TLS, Cause.CERTIFICATE, "127.0.0.1"),
    "expired, on the loopback": ({"days": (-9, -1)}, {}, Reason.OK, None, ""),
    "by another authority, but insecure": ({}, {"ca": "other", "insecure": True}, Reason.OK, None, ""),
}


@pytest.mark.parametrize(("issued", "verified", "reason", "cause", "words"), VERIFIED.values(), ids=VERIFIED)
def test_a_certificate_is_verified_as_the_endpoint_says(tmp_path, issued, verified, reason, cause, words):
    own, other = Authority(tmp_path, "own"), Authority(tmp_path, "other")
    ca_file = {"own": own.ca_file, "other": other.ca_file}.get(verified.get("ca"))
    endpoint = Endpoint(ca_file=ca_file, insecure=verified.get("insecure", False))
    with serve_tls(answer(b"ok"), tmp_path, server(own.issue(**issued))) as port:
        result = probe_http(f"https://127.0.0.1:{port}/", endpoint=endpoint, timeout_s=5)
    assert (result.reason, result.cause) == (reason, cause), result.detail
    assert words in result.detail


VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}


@pytest.mark.parametrize("most", VERSIONS.values(), ids=VERSIONS)
def test_a_client_certificate_is_shown_and_accepted(tmp_path, most):
    authority = Authority(tmp_path)
    certificate = authority.issue("client")
    with serve_tls(answer(b"ok"), tmp_path, server(authority.issue(), clients=authority, most=most)) as port:
        result = probe_http(
            f"https://localhost:{port}/", endpoint=Endpoint(client_cert=(certificate, certificate)), timeout_s=5
        )
    assert (result.reason, result.body) == (Reason.OK, b"ok"), result.detail


def test_a_server_that_wants_a_client_certificate_says_so(tmp_path):
    authority = Authority(tmp_path)
    with serve_tls(answer(b"ok"), tmp_path, server(authority.issue(), clients=authority)) as port:
        for _ in range(20):  # its alert comes after the handshake, and its reset must not hide it
            result = probe_http(f"https://127.0.0.1:{port}/", timeout_s=5)
            assert (result.reason, result.cause) == (Reason.TLS, Cause.CLIENT_CERTIFICATE), result.detail
            assert result.detail == "the server wants a client certificate"


def test_a_server_of_tls_1_2_that_wants_a_client_certificate_is_a_tls_failure(tmp_path):
    authority = Authority(tmp_path)
    context = server(authority.issue(), clients=authority, most=ssl.TLSVersion.TLSv1_2)
    with serve_tls(answer(b"ok"), tmp_path, context) as port:
        result = probe_http(f"https://127.0.0.1:{port}/", timeout_s=5)
    assert (result.reason, result.detail) == (Reason.TLS, "TLS handshake failed: SSLV3_ALERT_HANDSHAKE_FAILURE")


@pytest.mark.parametrize("most", VERSIONS.values(), ids=VERSIONS)
def test_a_client_certificate_of_another_authority_is_not_accepted(tmp_path, most):
    authority, other = Authority(tmp_path, "own"), Authority(tmp_path, "other")
    certificate = other.issue("client")
    with serve_tls(answer(b"ok"), tmp_path, server(authority.issue(), clients=authority, most=most)) as port:
        endpoint = Endpoint(client_cert=(certificate, certificate))
        result = probe_http(f"https://127.0.0.1:{port}/", endpoint=endpoint, timeout_s=5)
    assert (result.reason, result.cause) == (Reason.TLS, Cause.CLIENT_CERTIFICATE), result.detail
    assert "does not accept the client certificate" in result.detail


@pytest.mark.parametrize(("options", "cause"), [((), Cause.CLIENT_CERTIFICATE), (("-tls1_2",), None)])
def test_openssl_as_a_server_that_wants_a_client_certificate_is_a_tls_failure(tmp_path, options, cause):
    certificate, port = Authority(tmp_path).issue(), free_port()
    argv = ("openssl", "s_server", "-quiet", *options, "-accept", f"127.0.0.1:{port}", "-cert", certificate)
    with subprocess.Popen(
        (*argv, "-Verify", "1", "-verify_return_error", "-www"), stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 10
            while probe_tcp("127.0.0.1", port).reason is not Reason.OK and time.monotonic() < deadline:
                pass
            result = probe_http(f"https://127.0.0.1:{port}/", timeout_s=5)
        finally:
            process.kill()
    assert (result.reason, result.cause) == (Reason.TLS, cause), result.detail


def _empty(directory: Path) -> Path:
    path = directory / "empty.pem"
    path.write_text("")
    return path


def _shown(certificate: Path, key: Path | None = None) -> Endpoint:
    return Endpoint(client_cert=(certificate, key or certificate))


UNUSABLE = {
    "a CA file that is missing": (lambda d, _: Endpoint(ca_file=d / "none.pem"), "none.pem cannot be used: No such"),
    "a CA file without a certificate": (lambda d, _: Endpoint(ca_file=_empty(d)), "empty.pem cannot be used: "),
    "a CA file that is a directory": (lambda d, _: Endpoint(ca_file=d), " cannot be used: "),
    "a client certificate that is missing": (lambda d, _: _shown(d / "none.pem"), "No such file"),
    "a key of another certificate": (lambda _, ca: _shown(ca.issue("a"), ca.issue("b")), "KEY_VALUES_MISMATCH"),
    "an encrypted key": (lambda _, ca: _shown(ca.issue(password="secret")), "used: the key is encrypted"),
}


@pytest.mark.parametrize(("endpoint", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_certificate_file_that_cannot_be_used_is_no_failure_of_the_service(tmp_path, endpoint, words):
    with serve_tls(answer(b"ok"), tmp_path) as port:
        made = endpoint(tmp_path, Authority(tmp_path))
        result = probe_http(f"https://127.0.0.1:{port}/", endpoint=made, timeout_s=5)
    assert result.reason is Reason.ERROR, result
    assert words in result.detail


@pytest.mark.parametrize(
    "name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSLKEYLOGFILE"]
)
def test_the_environment_does_not_decide_about_certificates_of_the_loopback(tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, str(tmp_path / "missing" / "file"))
    with serve_tls(answer(b"ok"), tmp_path) as port:
        assert probe_http(f"https://127.0.0.1:{port}/", timeout_s=5).reason is Reason.OK
