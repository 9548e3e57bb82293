"""A service's database is removed while in use: the service still works, but its data would be lost when it ends."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.support.ports import free_port
from tests.support.runner import Toombos, clean_environment

NOTES = """
import os, sqlite3
from http.server import BaseHTTPRequestHandler, HTTPServer

database = sqlite3.connect(os.environ["DATABASE_URL"].removeprefix("sqlite:///"), isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY)")


class Notes(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/new":
            database.execute("INSERT INTO notes DEFAULT VALUES")
        (rows,) = database.execute("SELECT count(*) FROM notes").fetchone()
        body = b'{"status": "healthy", "rows": %d}' % rows
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Notes).serve_forever()
"""


def test_a_database_that_was_removed_while_in_use_is_reported_and_the_fix_restores_all_rows(
    tmp_path: Path, toombos: Toombos
):
    port = free_port()
    (tmp_path / "notes.py").write_text(NOTES)
    (tmp_path / "toombos.toml").write_text(
        f'[services.notes]\ncommand = ["{{python}}", "notes.py"]\nport = {port}\nenv = {{ PORT = "{{port}}" }}\n'
        '[environment.DATABASE_URL]\ndescription = "Where notes are kept"\n'
        'role = "database"\ntype = "dsn"\nused_by = ["notes"]\n'
    )
    (tmp_path / ".env").write_text(f"DATABASE_URL=sqlite:///{tmp_path}/notes.db\n")

    def rows(path: str = "/health") -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return int(json.load(response)["rows"])

    started = toombos("start")
    assert started.returncode == 0, started.stderr
    assert rows("/new") + 1 == rows("/new") == 2
    for path in tmp_path.glob("notes.db*"):
        path.unlink()
    assert rows("/new") == 3
    data = json.loads(toombos("diagnose", "--json").stdout)["data"]
    found = next(finding for finding in data["findings"] if finding["id"] == "db.ping")
    assert "db.ping" in data["roots"]
    assert "removed while the service is using it" in found["reason"]
    environment = clean_environment()
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    subprocess.run(["/bin/sh", "-ec", found["fix"]["command"]], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert rows() == 3
