"""Start, restart after a kill, and stop, side by side with the supervisors that are installed.

    python tests/benchmarks/supervision_peers.py [--services 3] [--rounds 5] [--only toombos pm2]

Each supervisor runs the same services: Python processes that wait 0.2 s and then answer /health. Printed are medians
in seconds, and the ratio to the fastest of the run:
- start: from the command until all services answer;
- restart: from SIGKILL of a service that was well until it answers again, for the first and the second kill;
- stop: from the command until no process of a service is left.
A supervisor that is not found on PATH is left out.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.ports import free_port
from tests.support.runner import TOOMBOS
from tests.support.waiting import wait_for

_SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
time.sleep(0.2)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"status": "ok"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
class Server(ThreadingHTTPServer):
    def server_bind(self):
        self.server_name, self.server_port = "localhost", self.server_address[1]
        super(ThreadingHTTPServer.__base__, self).server_bind()
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
_SETTLED_S = 3
"""A service that has run so long is well for each of them; supervisord and PM2 want it to run for a second."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A supervisor: the program to look for, how its files are written, and its commands, run in that directory."""

    program: str
    write: Callable[[Path, dict[str, int]], None]
    start: tuple[str, ...]
    stop: tuple[str, ...]


def command(port: int) -> list[str]:
    """Return the command line of a service."""
    return [sys.executable, "-I", "-S", "server.py", str(port)]


def write_toombos(place: Path, ports: dict[str, int]) -> None:
    (place / "toombos.toml").write_text(
        "".join(
            f'[services.{name}]\ncommand = {json.dumps(command(port))}\nport = {port}\nhealth = "/health"\n'
            "grace_period_s = 3\n"
            for name, port in ports.items()
        )
    )


def write_supervisord(place: Path, ports: dict[str, int]) -> None:
    programs = "".join(
        f"[program:{name}]\ncommand={' '.join(command(port))}\nautorestart=true\nstopasgroup=true\nkillasgroup=true\n"
        "stopwaitsecs=3\n"
        for name, port in ports.items()
    )
    (place / "s.conf").write_text(
        f"[supervisord]\npidfile={place}/s.pid\nlogfile={place}/s.log\n[unix_http_server]\nfile={place}/s.sock\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{place}/s.sock\n{programs}"
    )


def write_circus(place: Path, ports: dict[str, int]) -> None:
    watchers = "".join(
        f"[watcher:{name}]\ncmd={' '.join(command(port))}\ngraceful_timeout=3\nstop_children=True\n"
        for name, port in ports.items()
    )
    place.joinpath("c.ini").write_text(
        f"[circus]\nendpoint=ipc://{place}/c.sock\npubsub_endpoint=ipc://{place}/p.sock\npidfile={place}/c.pid\n{watchers}"
    )


def write_pm2(place: Path, ports: dict[str, int]) -> None:
    apps = [
        {
            "name": name,
            "script": command(port)[0],
            "args": command(port)[1:],
            "interpreter": "none",
            "cwd": str(place),
            "kill_timeout": 3000,
        }
        for name, port in ports.items()
    ]
    (place / "e.config.js").write_text(f"module.exports = {json.dumps({'apps': apps})}")


def write_run_scripts(place: Path, ports: dict[str, int]) -> None:
    for name, port in ports.items():
        directory = place / "sv" / name
        directory.mkdir(parents=True)
        run = directory / "run"
        run.write_text(f"#!/bin/sh\ncd {place}\nexec {' '.join(command(port))}\n")
        run.chmod(0o755)
        (directory / "timeout-kill").write_text("3000")


PEERS = {
    "toombos": Peer(program=TOOMBOS[0], write=write_toombos, start=(*TOOMBOS, "start"), stop=(*TOOMBOS, "stop")),
    "supervisord": Peer(
        program="supervisord",
        write=write_supervisord,
        start=("supervisord", "-c", "s.conf"),
        stop=("supervisorctl", "-c", "s.conf", "shutdown"),
    ),
    "circus": Peer(
        program="circusd",
        write=write_circus,
        start=("circusd", "--daemon", "c.ini"),
        stop=("sh", "-c", 'circusctl --endpoint "ipc://$PWD/c.sock" quit'),
    ),
    "pm2": Peer(program="pm2", write=write_pm2, start=("pm2", "start", "e.config.js"), stop=("pm2", "kill")),
    "runit": Peer(
        program="runsvdir",
        write=write_run_scripts,
        start=("runsvdir", "-P", "sv"),
        stop=("sh", "-c", "sv -w 4 force-stop ./sv/*"),  # and SIGHUP
    ),
    "s6": Peer(
        program="s6-svscan",
        write=write_run_scripts,
        start=("s6-svscan", "sv"),
        stop=("s6-svscanctl", "-t", "sv"),
    ),
}


class Trial:
    """One supervisor with its services, from start to stop."""

    def __init__(self, peer: Peer, services: int) -> None:
        self.peer = peer
        self.ports = {f"s{number}": free_port() for number in range(services)}

    @contextmanager
    def running(self, taken: dict[str, list[float]]) -> Iterator[None]:
        """Start the services, stop them at the end, and note the seconds of both."""
        with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as directory:
            place = Path(directory)
            place.joinpath("server.py").write_text(_SERVER)
            self.peer.write(place, self.ports)
            environment = os.environ | {"PM2_HOME": str(place / "pm2")}
            began = time.perf_counter()
            started = subprocess.Popen(
                self.peer.start, cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                wait_for(lambda: all(map(answers, self.ports.values())), within_s=60)
                taken["start"].append(time.perf_counter() - began)
                yield
            finally:
                processes = [process for port in self.ports.values() for process in served_by(port)]
                began = time.perf_counter()
                subprocess.run(self.peer.stop, cwd=place, env=environment, capture_output=True, check=False)
                wait_for(lambda: not any(map(lives, processes)), within_s=60)
                taken["stop"].append(time.perf_counter() - began)
                if started.poll() is None:
                    started.send_signal(signal.SIGHUP)  # a supervisor in the foreground without services
                started.wait(10)

    def restart(self) -> float:
        """Kill one service and return the seconds until it answers again."""
        port = self.ports["s0"]
        (before,) = served_by(port)
        began = time.perf_counter()
        before.send_signal(signal.SIGKILL)
        wait_for(lambda: not lives(before), within_s=5)
        wait_for(lambda: answers(port), within_s=60)
        return time.perf_counter() - began


def served_by(port: int) -> list[psutil.Process]:
    """Return the processes whose command line ends like that of the service on this port."""
    ending = command(port)[-2:]
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [])[-2:] == ending and lives(process)
    ]


def lives(process: psutil.Process) -> bool:
    """Report whether the process runs still; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def answers(port: int) -> bool:
    """Report whether the service on this port answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=1, help="rounds in which a service is killed, twice")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    found = {name: PEERS[name] for name in options.only if shutil.which(PEERS[name].program)}
    taken: dict[str, dict[str, list[float]]] = {
        name: {"start": [], "first restart": [], "second restart": [], "stop": []} for name in found
    }
    for number in range(options.rounds):  # alternating, so that a busy machine affects all
        for name, peer in found.items():
            trial = Trial(peer, options.services)
            with trial.running(taken[name]):
                if number < options.kills:
                    time.sleep(_SETTLED_S)
                    taken[name]["first restart"].append(trial.restart())
                    time.sleep(1)
                    taken[name]["second restart"].append(trial.restart())
    print(f"{options.services} services, {options.rounds} rounds, seconds (ratio to the fastest)")
    show({name: {what: statistics.median(t) for what, t in times.items() if t} for name, times in taken.items()})


def show(medians: dict[str, dict[str, float]]) -> None:
    """Print a line for each supervisor."""
    figures = list(next(iter(medians.values())))
    best = {figure: min(found[figure] for found in medians.values()) for figure in figures}
    print(" " * 12 + "".join(f"{figure:>18}" for figure in figures))
    for name, found in medians.items():
        cells = (f"{found[figure]:.2f} ({found[figure] / best[figure]:.2f})" for figure in figures)
        print(f"{name:12}" + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()
