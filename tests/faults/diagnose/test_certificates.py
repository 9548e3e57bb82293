"""The dates of certificates that a TLS server serves and of their files; the health of all these servers is good."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.foreign import ForeignSystem
from tests.support.runner import data_of

_SERVER = """
import http.server, ssl, sys
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
DAYS = {
    "old": (-30, -1),
    "early": (1, 30),
    "ending": (-360, 5),
    "good": (-30, 60),
    "brief": (-1, 1),
    "renewed": (-9, 9),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """What diagnose says about the certificates of each service."""
    system = ForeignSystem(tmp_path_factory.mktemp("tls"))
    authority = Authority(system.project)
    (system.project / "server.py").write_text(_SERVER)
    for name, days in DAYS.items():
        file = authority.issue(name, hosts=("127.0.0.1",), days=days).rename(system.project / f"{name}.pem")
        words = [sys.executable, "server.py", "{port}", str(file)]
        system.add(name, words, scheme="https", health="/", health_answer="page")
    system.start()
    Path(authority.issue("renewed", days=(-1, 99))).rename(system.project / "renewed.pem")
    findings = data_of(system("diagnose", "--json", "--only", "tls.dates"))["findings"]
    yield {name: [f for f in findings if f["service"] == name] for name in DAYS}
    system.stop()


ROWS = {
    "an expired certificate": ("old", "fail", "expired on"),
    "a certificate of tomorrow": ("early", "fail", "is valid only from"),
    "a certificate that ends soon": ("ending", "warn", "expires on"),
    "a certificate with weeks to go": ("good", "pass", "is valid until"),
    "a certificate of two days in the middle of its life": ("brief", "pass", "is valid until"),
    "a certificate that was renewed on disk alone": ("renewed", "warn", "is older than the one in"),
}


@pytest.mark.parametrize(("service", "verdict", "words"), ROWS.values(), ids=ROWS)
def test_the_served_certificate_is_judged_by_its_dates(
    found: dict[str, list[dict[str, Any]]], service: str, verdict: str, words: str
):
    served = next(f for f in found[service] if "serves" in f["reason"])
    assert (served["verdict"], words in served["reason"]) == (verdict, True)


def test_the_file_of_an_expired_certificate_is_named(found: dict[str, list[dict[str, Any]]]):
    assert any(f["verdict"] == "fail" and "old.pem" in f["reason"] for f in found["old"])
