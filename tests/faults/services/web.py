"""A small HTTP service whose misbehaviour is chosen by environment variables; each is named for what it does.

PORT, HOST            where it listens
START_DELAY_S         seconds before it listens
IGNORE_TERM=1         SIGTERM does nothing
EXIT_CODE=n           prints LAST_WORDS and exits at once, when EXIT_FLAG is unset or names an existing file
ESCAPE=1              leaves behind a double-forked child in a session of its own, its pid in ESCAPED_PID_FILE
WORKER_IGNORES_TERM=1 starts a child that ignores SIGTERM, its pid in WORKER_PID_FILE
NOTE_SIGNALS          file to which the name of every signal that arrives is appended
STATUS_FILE           file whose text is the HTTP status of every answer; 200 when it does not exist
"""

import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Answers every GET with the status of STATUS_FILE and its own pid."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status_file = Path(os.environ.get("STATUS_FILE", "/nonexistent"))
        status = int(status_file.read_text()) if status_file.exists() else 200
        body = str(os.getpid()).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Says nothing: the tests read the log."""


class Server(ThreadingHTTPServer):
    """Does not resolve its own name, which may take seconds."""

    daemon_threads = True

    def server_bind(self) -> None:
        self.socket.setsockopt(1, 2, 1)  # SO_REUSEADDR
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]


def leave_a_daemon() -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            Path(os.environ["ESCAPED_PID_FILE"]).write_text(str(os.getpid()))
            time.sleep(600)
        os._exit(0)
    os.wait()


def start_stubborn_worker() -> None:
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path(os.environ["WORKER_PID_FILE"]).write_text(str(os.getpid()))
        time.sleep(600)
        os._exit(0)


def note_signals(path: Path) -> None:
    def note(number: int, _: object) -> None:
        with path.open("a") as file:
            file.write(f"{signal.Signals(number).name}\n")

    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, note)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    env = os.environ
    say(f"hello from {env.get('GREETING', 'web')}")
    if "EXIT_CODE" in env and ("EXIT_FLAG" not in env or Path(env["EXIT_FLAG"]).exists()):
        say(env.get("LAST_WORDS", "cannot go on"))
        sys.exit(int(env["EXIT_CODE"]))
    if env.get("NOTE_SIGNALS"):
        note_signals(Path(env["NOTE_SIGNALS"]))
    elif env.get("IGNORE_TERM"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if env.get("ESCAPE"):
        leave_a_daemon()
    if env.get("WORKER_IGNORES_TERM"):
        start_stubborn_worker()
    time.sleep(float(env.get("START_DELAY_S", "0")))
    Server((env.get("HOST", "127.0.0.1"), int(env["PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
