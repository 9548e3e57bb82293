"""nginx as a web front end and as a proxy: what it answers over HTTP, well and unwell."""

import gzip
import json
from pathlib import Path

from tests.support.nginx import Server

FILES = "root html; default_type application/json;"
PASSWORD = 'auth_basic "shop"; auth_basic_user_file html/users;'
JSON = 'default_type application/json; return 200 \'{"status":"ok"}\';'
ONLY_HERE = f"""listen 127.0.0.1:PORT default_server; server_name _; return 444; }}
  server {{ listen 127.0.0.1:PORT; server_name shop.example.com; location / {{ {JSON} }}"""


WELL = {
    "its welcome page is a good answer at /": Server(
        server="root html; location / { index welcome.html; }", keys={"health": "/"}
    ),
    "a listing of files is a good answer at /": Server(
        server="root html; location / { autoindex on; }", keys={"health": "/"}
    ),
    "its stub status is plain text": Server(
        server="location /nginx_status { stub_status; }", keys={"health": "/nginx_status"}
    ),
    "a health route without a body": Server(server="location /health { return 204; }"),
    "JSON that it compresses": Server(
        server=f"location /health {{ {JSON} }}",
        http="gzip on; gzip_types application/json; gzip_min_length 0; gzip_http_version 1.0;",
        keys={"health": {"path": "/health", "json": {"$.status": "ok"}}},
    ),
    "a file that is compressed on disk alone": Server(
        server="root html; gzip_static always;",
        keys={"health": {"path": "/health.json", "json": {"$.status": "ok"}}},
    ),
    "one request a connection": Server(server=f"keepalive_requests 1; location /health {{ {JSON} }}"),
    "connections that are not kept alive": Server(server=f"keepalive_timeout 0; location /health {{ {JSON} }}"),
    "HTTP/2 alone, without TLS": Server(
        server=f"location /health {{ {JSON} }}",
        listen="listen 127.0.0.1:PORT http2;",
        keys={"health": "/health", "http2": True},
    ),
    "a Unix socket alone": Server(
        server=f"location /health {{ {JSON} }}",
        listen="listen unix:tmp/only.sock;",
        keys={"health": "/health", "unix": "tmp/only.sock"},
    ),
    "IPv6 alone": Server(
        server=f"location /health {{ {JSON} }}",
        listen="listen [::1]:PORT;",
        keys={"health": "/health", "host": "::1"},
    ),
    "a virtual host, named by the Host header": Server(
        server=ONLY_HERE, listen="", keys={"health": "/health", "headers": {"Host": "shop.example.com"}}
    ),
    "a virtual host, named for the health request alone": Server(
        server=ONLY_HERE, listen="", keys={"health": {"path": "/health", "headers": {"Host": "shop.example.com"}}}
    ),
    "a password, in a header from a variable": Server(
        server=f"{FILES} {PASSWORD}",
        keys={"health": "/health", "headers": {"Authorization": "Basic ${env.SHOP_LOGIN}"}},
    ),
    "a redirect that the manifest expects": Server(
        server="location / { return 301 https://shop.example.com$request_uri; }",
        keys={"health": {"path": "/health", "status": 301}},
    ),
    "a method that the manifest names": Server(
        server="location /health { limit_except POST { deny all; } return 204; }",
        keys={"health": {"path": "/health", "method": "POST", "status": 204}},
    ),
    "a page of which a word matters": Server(
        server="root html; location / { index welcome.html; }",
        keys={"health": {"path": "/", "text": "Welcome to the (shop|depot)"}},
    ),
    "100 KB of JSON": Server(server="root html;", keys={"health": "/large.json"}),
}

UNWELL = {
    "the page of an application that catches all routes": Server(
        server="root html; location / { try_files $uri /welcome.html; }",
        keys={"health": "/alive"},
        expects=("degraded", "body"),
        says="web page",
    ),
    "a word is missing on the page": Server(
        server="root html; location / { index welcome.html; }",
        keys={"health": {"path": "/", "text": "Welcome to the warehouse"}},
        expects=("degraded", "body"),
        says="warehouse",
    ),
    "nothing at the health path": Server(server="location / { return 404; }", expects=("down", "status"), says="404"),
    "a proxy whose application is dead": Server(
        server="location / { proxy_pass http://127.0.0.1:9; }", expects=("down", "status"), says="502"
    ),
    "a proxy whose application hangs": Server(
        server="location / { proxy_pass http://127.0.0.1:HANGS; }",
        keys={"health": "/health", "probe_timeout_s": 0.3},
        expects=("down", "timeout"),
        says="0.3 s",
    ),
    "a site under maintenance": Server(
        server="error_page 503 /maintenance.html; return 503;", expects=("down", "status"), says="503"
    ),
    "a password is asked for": Server(server=f"{FILES} {PASSWORD}", expects=("down", "status"), says="401"),
    "a wrong password": Server(
        server=f"{FILES} {PASSWORD}",
        keys={"health": "/health", "headers": {"Authorization": "Basic bm86bm8="}},
        expects=("down", "status"),
        says="401",
    ),
    "an address that is not allowed": Server(server=f"{FILES} deny all;", expects=("down", "status"), says="403"),
    "a redirect to the address outside": Server(
        server="location / { return 301 https://shop.example.com$request_uri; }",
        expects=("down", "status"),
        says="https://shop.example.com/health",
    ),
    "a connection that is closed without an answer": Server(server="return 444;", expects=("down", "reset")),
    "a virtual host that is not named": Server(server=ONLY_HERE, listen="", expects=("down", "reset")),
    "a listener that expects the proxy protocol": Server(
        server="location / { return 204; }", listen="listen 127.0.0.1:PORT proxy_protocol;", expects=("down", "reset")
    ),
    "HTTP/2 alone, asked in HTTP/1.1": Server(
        server=f"location / {{ {JSON} }}",
        listen="listen 127.0.0.1:PORT http2;",
        expects=("down", "body"),
        says="HTTP/2",
    ),
    "HTTP/1.1 alone, asked in HTTP/2": Server(
        server=f"location / {{ {JSON} }}", keys={"health": "/health", "http2": True}, expects=("down", "body")
    ),
    "JSON that only claims to be compressed": Server(
        server="root html; add_header Content-Encoding gzip;",
        keys={"health": "/large.json"},
        expects=("degraded", "body"),
        says="gzip",
    ),
}


def write_pages(project: Path) -> None:
    """Write the files that the servers serve."""
    pages = project / "html"
    pages.mkdir()
    (pages / "welcome.html").write_text("<!DOCTYPE html><title>Shop</title><h1>Welcome to the shop</h1>")
    (pages / "maintenance.html").write_text("<!DOCTYPE html><h1>Back soon</h1>")
    (pages / "health.json.gz").write_bytes(gzip.compress(b'{"status":"ok"}'))
    (pages / "large.json").write_text(json.dumps({"status": "ok", "items": ["x" * 98] * 1000}))
    (pages / "health").write_text('{"status":"ok"}')
    (pages / "users").write_text("admin:{PLAIN}open\n")
    (project / ".env").write_text("SHOP_LOGIN=YWRtaW46b3Blbg==\n")
    (project / ".env").chmod(0o600)
