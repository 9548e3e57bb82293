"""A small HTTP service that says in its health response whether it runs dry, and publishes when it does not.

PORT                  where it listens
SAYS                  the JSON of `dry_run` in its health response; without it, what its settings say
SAYS_FILE             a file whose text beats SAYS once it exists
LIVE_URL              where POST /api/v2/generate-content publishes to when the settings do not ask for a dry run

It reads its settings as pydantic-settings does by default: whatever the case of their names, the last one wins.
"""

import json
import os
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SETTINGS = {name.lower(): value for name, value in os.environ.items()}
IS_DRY = all(SETTINGS.get(name, "false") == "true" for name in ("dry_run_mode", "use_mock_services"))


class Handler(BaseHTTPRequestHandler):
    """Answers GET with the health, POST with how many requests it sent to the live address."""

    def do_GET(self) -> None:
        said = os.environ.get("SAYS", json.dumps(IS_DRY))
        file = Path(os.environ.get("SAYS_FILE", "/nonexistent"))
        said = file.read_text() if file.exists() else said
        self.answer(f'{{"status": "ok", "dry_run": {said}}}')

    def do_POST(self) -> None:
        if not IS_DRY:
            urllib.request.urlopen(urllib.request.Request(os.environ["LIVE_URL"], data=b"{}"), timeout=5).close()
        self.answer(json.dumps({"published": int(not IS_DRY)}))

    def answer(self, body: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Says nothing."""


class Server(ThreadingHTTPServer):
    """Does not resolve its own name, which may take seconds."""

    def server_bind(self) -> None:
        self.socket.setsockopt(1, 2, 1)  # SO_REUSEADDR
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", self.server_address[1]


if __name__ == "__main__":
    sys.stdout.write("hello\n")
    sys.stdout.flush()
    Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
