"""A service that is well, until the file ODD exists: then its content is the response to everything, and a log line."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ODD = Path(os.environ["ODD"])
ANSWERS = {"200": {"content": {"application/json": {"schema": {"type": "object"}}}}}
WELL = {
    "/health": b'{"status": "healthy"}',
    "/ready": b'{"ready": true, "checks": []}',
    "/openapi.json": json.dumps({"paths": {"/ready": {"get": {"responses": ANSWERS}}}}).encode(),
    "/metrics": b"requests_total 1\n",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = ODD.read_bytes() if ODD.exists() else WELL.get(self.path, b"")
        if ODD.exists():
            sys.stdout.buffer.write(b'{"level": "ERROR", "message": ' + body + b"}\n" + body + b"\n")
            sys.stdout.buffer.flush()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain" if self.path == "/metrics" else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
