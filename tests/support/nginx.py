"""Many nginx at once, each a row of a table: how it is configured, how the manifest describes it, what health says."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.foreign import UP, ForeignSystem, Keys
from tests.support.ports import free_port
from tests.support.programs import needs


@dataclass(frozen=True, kw_only=True)
class Server:
    """One nginx. `PORT` stands for its port; its files are relative to the project."""

    server: str
    listen: str = "listen 127.0.0.1:PORT;"
    http: str = ""
    keys: Keys = field(default_factory=lambda: {"health": "/health"})
    """How the manifest describes it."""
    expects: tuple[str, str] = UP
    says: str = ""
    """A part of the reason in words."""


def add_nginx(system: ForeignSystem, name: str, row: Server, **keys: object) -> None:
    """Describe the nginx of a row as a service of this name."""
    described = row.keys | keys
    port = 0 if "unix" in described else free_port()
    if port:
        described["port"] = port
    server = f"{row.listen} {row.server}".replace("PORT", str(port))
    system.add(name, nginx(system.project, name, server, http=row.http), **described)


class Group:
    """The servers of a table, running at the same time, and what health and smoke say of each."""

    def __init__(self, system: ForeignSystem, rows: dict[str, Server]) -> None:
        self.system = system
        self.names = {sentence: f"n{number}" for number, sentence in enumerate(rows)}
        for sentence, row in rows.items():
            add_nginx(system, self.names[sentence], row)

    def start(self) -> "Group":
        """Start them all by one command."""
        self.system.start()
        return self._look()

    def start_unjudged(self) -> "Group":
        """Start them as programs that only have to listen; what the manifest says of them counts afterwards."""
        described = dict(self.system.services)
        for name, keys in described.items():
            self.system.services[name] = {"command": keys["command"], "scheme": "tcp", "port": keys["port"]}
        self.system.write()
        self.system.start()
        self.system.services = described
        self.system.write()
        return self._look()

    def _look(self) -> "Group":
        self.rows = self.system.health()
        self.steps = self.system.smoke_steps()
        return self


def nginx(project: Path, name: str, server: str, *, http: str = "") -> list[str]:
    """Write the configuration of an nginx with one server, and return the command that runs it in the foreground."""
    program = needs("nginx", search=("usr/sbin",))
    user = "user root;\n" if os.geteuid() == 0 else ""  # its workers must be able to read the project
    places = "".join(
        f"{kind}_temp_path tmp/{name}-{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (project / "tmp").mkdir(exist_ok=True)
    (project / f"{name}.conf").write_text(
        f"""\
{user}daemon off;
worker_processes 1;
pid tmp/{name}.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
  include /etc/nginx/mime.types;
  access_log /dev/stdout;
  {places}
  {http}
  server {{ {server} }}
}}
"""
    )
    return [program, "-p", str(project), "-e", "stderr", "-c", str(project / f"{name}.conf")]
