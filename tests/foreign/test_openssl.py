"""OpenSSL's own server, which refuses a client in the handshake, where nginx answers it with a page."""

import pytest

from tests.foreign.nginx_tls import CLIENT, VERIFIED, write_certificates
from tests.support.foreign import UP, ForeignSystem, Keys, well
from tests.support.programs import needs

FOREIGN_CLIENT = VERIFIED | {"client_cert": "certificates/foreign-client.pem"}
WANTS_CLIENTS = ("-Verify", "1", "-verify_return_error")
REFUSED = ("down", "tls")

ROWS: dict[str, tuple[tuple[str, ...], Keys, tuple[str, str], str]] = {
    "no client certificate is wanted": ((), VERIFIED, UP, ""),
    "a client certificate, in TLS 1.3": (WANTS_CLIENTS, CLIENT, UP, ""),
    "a client certificate, in TLS 1.2": (("-tls1_2", *WANTS_CLIENTS), CLIENT, UP, ""),
    "no client certificate, in TLS 1.3": (WANTS_CLIENTS, VERIFIED, REFUSED, "client certificate"),
    "no client certificate, in TLS 1.2": (("-tls1_2", *WANTS_CLIENTS), VERIFIED, REFUSED, "HANDSHAKE_FAILURE"),
    "a client certificate of another authority": (WANTS_CLIENTS, FOREIGN_CLIENT, REFUSED, "client certificate"),
    "a version of TLS that is too old": (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), VERIFIED, REFUSED, ""),
    "the certificate of another name": ((), VERIFIED | {"host": "localhost"}, REFUSED, "localhost"),
}


def s_server(*options: str) -> list[str]:
    """Return the command of a server that answers every request with a page about itself."""
    files = ("-cert", "server.pem", "-key", "server.pem", "-CAfile", "authority.pem")
    paths = [word if word.startswith("-") else f"certificates/{word}" for word in files]
    return [needs("openssl"), "s_server", "-quiet", "-accept", "127.0.0.1:{port}", *paths, *options, "-www"]


@pytest.fixture(scope="module")
def rows(shared: ForeignSystem) -> dict[str, Keys]:
    """What health says of the server of each row; they were started as programs that only have to listen."""
    write_certificates(shared.project)
    for number, (options, *_) in enumerate(ROWS.values()):
        shared.add(f"s{number}", s_server(*options), scheme="tcp")
    shared.start()
    for number, (_, keys, *_) in enumerate(ROWS.values()):
        shared.change(f"s{number}", **keys | {"health": "/", "optional": True})
    return shared.health()


@pytest.mark.parametrize("sentence", ROWS)
def test_the_handshake_decides_and_its_failure_is_named(rows: dict[str, Keys], sentence: str) -> None:
    _, _, expected, words = ROWS[sentence]
    row = rows[f"s{list(ROWS).index(sentence)}"]
    assert well(row) == expected, row
    assert words in row["detail"]


def test_a_server_that_refuses_its_client_is_not_taken_for_one_that_was_not_started(system: ForeignSystem) -> None:
    write_certificates(system.project)
    port = system.add("s", s_server(*WANTS_CLIENTS), scheme="tcp")
    system.start()
    (system.project / "run" / "state.json").rename(system.project / "state.json")
    system.change("s", **VERIFIED | {"health": "/", "optional": True, "port": port})
    try:
        assert well(system.health()["s"]) == REFUSED
    finally:
        (system.project / "state.json").rename(system.project / "run" / "state.json")
