"""nginx with TLS: whose certificates are accepted, and what happens if one side wants a certificate of the other."""

import subprocess
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.nginx import Server
from tests.support.programs import needs

TLS = "listen 127.0.0.1:PORT ssl;"
TLS_AND_HTTP_2 = "listen 127.0.0.1:PORT ssl http2;"
OK = 'location / { default_type application/json; return 200 \'{"status":"ok"}\'; }'
WANTS_CLIENTS = f"ssl_client_certificate certificates/authority.pem; ssl_verify_client on; {OK}"


def certificate(name: str) -> str:
    """Return the directives that name a certificate and its key."""
    return f"ssl_certificate certificates/{name}.pem; ssl_certificate_key certificates/{name}.pem;"


SELF_SIGNED = certificate("self")
HTTPS = {"scheme": "https", "health": "/health"}
VERIFIED = HTTPS | {"ca_file": "certificates/authority.pem"}
CLIENT = VERIFIED | {"client_cert": "certificates/client.crt", "client_key": "certificates/client.key"}

WELL = {
    "a self-signed certificate on this machine": Server(server=f"{SELF_SIGNED} {OK}", listen=TLS, keys=HTTPS),
    "a self-signed certificate, accepted on request": Server(
        server=f"{SELF_SIGNED} {OK}", listen=TLS, keys=HTTPS | {"insecure": True}
    ),
    "a self-signed certificate as its own authority": Server(
        server=f"{SELF_SIGNED} {OK}",
        listen=TLS,
        keys=HTTPS | {"host": "localhost", "ca_file": "certificates/self.pem"},
    ),
    "a certificate of the authority that the manifest names": Server(
        server=f"{certificate('server')} {OK}", listen=TLS, keys=VERIFIED
    ),
    "TLS 1.2 alone": Server(server=f"{certificate('server')} ssl_protocols TLSv1.2; {OK}", listen=TLS, keys=VERIFIED),
    "TLS 1.3 alone": Server(server=f"{certificate('server')} ssl_protocols TLSv1.3; {OK}", listen=TLS, keys=VERIFIED),
    "HTTP/2, which the server offers": Server(
        server=f"{certificate('server')} {OK}", listen=TLS_AND_HTTP_2, keys=VERIFIED | {"http2": True}
    ),
    "HTTP/1.1, although the server offers HTTP/2": Server(
        server=f"{certificate('server')} {OK}", listen=TLS_AND_HTTP_2, keys=VERIFIED
    ),
    "HTTP/1.1 again, as the server has no HTTP/2": Server(
        server=f"{certificate('server')} {OK}", listen=TLS, keys=VERIFIED | {"http2": True}
    ),
    "a client certificate that the server wants": Server(
        server=f"{certificate('server')} {WANTS_CLIENTS}", listen=TLS, keys=CLIENT
    ),
    "a client certificate and its key in one file": Server(
        server=f"{certificate('server')} {WANTS_CLIENTS}",
        listen=TLS,
        keys=VERIFIED | {"client_cert": "certificates/client.pem"},
    ),
    "a client certificate and HTTP/2": Server(
        server=f"{certificate('server')} {WANTS_CLIENTS}", listen=TLS_AND_HTTP_2, keys=CLIENT | {"http2": True}
    ),
    "a client certificate that the server does not ask for": Server(
        server=f"{certificate('server')} {OK}", listen=TLS, keys=CLIENT
    ),
    "a client certificate that the server may do without": Server(
        server=f"{certificate('server')} {WANTS_CLIENTS.replace(' on;', ' optional;')}", listen=TLS, keys=VERIFIED
    ),
    "TLS behind a Unix socket": Server(
        server=f"{certificate('local')} {OK}",
        listen="listen unix:tmp/tls.sock ssl;",
        keys=HTTPS | {"host": "localhost", "ca_file": "certificates/authority.pem", "unix": "tmp/tls.sock"},
    ),
}

DOWN = ("down", "tls")
UNWELL = {
    "a certificate of another authority": Server(
        server=f"{certificate('foreign')} {OK}", listen=TLS, keys=VERIFIED, expects=DOWN, says="certificate"
    ),
    "a self-signed certificate where an authority is named": Server(
        server=f"{SELF_SIGNED} {OK}", listen=TLS, keys=VERIFIED, expects=DOWN, says="self-signed"
    ),
    "a certificate that has expired": Server(
        server=f"{certificate('expired')} {OK}", listen=TLS, keys=VERIFIED, expects=DOWN, says="expired"
    ),
    "a certificate that is not valid yet": Server(
        server=f"{certificate('early')} {OK}", listen=TLS, keys=VERIFIED, expects=DOWN, says="not yet valid"
    ),
    "a certificate for another name": Server(
        server=f"{certificate('other-name')} {OK}",
        listen=TLS,
        keys=VERIFIED,
        expects=DOWN,
        says="not valid for '127.0.0.1'",
    ),
    "no client certificate": Server(
        server=f"{certificate('server')} {WANTS_CLIENTS}",
        listen=TLS,
        keys=VERIFIED,
        expects=("down", "status"),
        says="No required SSL certificate was sent",
    ),
    "no client certificate, over HTTP/2": Server(
        server=f"{certificate('server')} {WANTS_CLIENTS}",
        listen=TLS_AND_HTTP_2,
        keys=VERIFIED | {"http2": True},
        expects=("down", "status"),
        says="No required SSL certificate was sent",
    ),
    "a client certificate of another authority": Server(
        server=f"{certificate('server')} {WANTS_CLIENTS}",
        listen=TLS,
        keys=VERIFIED | {"client_cert": "certificates/foreign-client.pem"},
        expects=("down", "status"),
        says="The SSL certificate error",
    ),
    "a server name that the server refuses": Server(
        server=f"ssl_reject_handshake on; {OK}", listen=TLS, keys=VERIFIED, expects=DOWN
    ),
    "TLS where the manifest says http": Server(
        server=f"{certificate('server')} {OK}", listen=TLS, expects=("down", "status"), says="HTTPS port"
    ),
    "plain HTTP where the manifest says https": Server(server=OK, keys=HTTPS, expects=DOWN, says="does not speak TLS"),
}


def write_certificates(project: Path) -> None:
    """Write the certificates of the servers and of their clients."""
    place = project / "certificates"
    place.mkdir()
    ours, theirs = Authority(place), Authority(place, "theirs")
    here = ("127.0.0.1",)
    ours.issue("server", hosts=here).rename(place / "server.pem")
    ours.issue(hosts=("localhost",)).rename(place / "local.pem")
    ours.issue("server", hosts=here, days=(-9, -2)).rename(place / "expired.pem")
    ours.issue("server", hosts=here, days=(2, 9)).rename(place / "early.pem")
    ours.issue("shop", hosts=("shop.example.com",)).rename(place / "other-name.pem")
    theirs.issue("server", hosts=here).rename(place / "foreign.pem")
    theirs.issue("client").rename(place / "foreign-client.pem")
    client = ours.issue("client").rename(place / "client.pem")
    key, begin, certificate = client.read_text().partition("-----BEGIN CERTIFICATE-----")
    (place / "client.key").write_text(key)
    (place / "client.crt").write_text(begin + certificate)
    sign_itself(place / "self.pem")


def sign_itself(path: Path) -> None:
    """Write a key and a certificate that is signed with it, made as a person makes them."""
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    files = ("-keyout", str(path), "-out", "-")
    command = [needs("openssl"), "req", "-x509", "-days", "2", *curve, *names, *files]
    certificate = subprocess.run(command, check=True, capture_output=True).stdout
    with path.open("ab") as file:
        file.write(certificate)
