"""The image that each service runs in: one of ours for Python, node and other programs, else a well-known server's."""

import json
import posixpath
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toombos_cli import __version__
from toombos_cli.export.build import INSIDE
from toombos_cli.export.model import ExportedFile, ExportedService, ExportedSystem
from toombos_cli.export.objects import USER_ID
from toombos_cli.export.secret_words import bare
from toombos_cli.export.yaml_text import comment, head
from toombos_cli.manifest import FILE_NAME
from toombos_cli.manifest.tables.env_files import OPTIONAL

_PYTHON = re.compile(
    r"python[0-9.]*|gunicorn|uvicorn|hypercorn|celery|flask|django-admin|rq|huey_consumer(\.py)?|dramatiq"
)
_NODE = re.compile(r"node|npm|npx|yarn|pnpm|tsx")
_OWN_MODULES = ("toombos_cli", "services.")
_SHELLS = ("sh", "bash", "dash")
_NEVER_COPIED = frozenset({"data", "logs", "run", "backups", "export", "venv", "node_modules", "__pycache__"})
_SECRET_FILE = re.compile(
    r"(?i).*\.(pem|key|p12|pfx|jks|kdbx|age)$|id_(rsa|ecdsa|ed25519).*|.*\.env$|.*credentials.*|.*secret.*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerImage:
    """A published image of a well-known server; `asks` is the program in it that asks for a connection."""

    image: str
    asks: tuple[str, ...] = ()
    has_curl: bool = False


_SERVERS = {
    "postgres": ServerImage(image="postgres:{major}", asks=("pg_isready", "-h", "127.0.0.1", "-p", "{port}")),
    "redis-server": ServerImage(image="redis:8", asks=("redis-cli", "-p", "{port}", "ping")),
    "valkey-server": ServerImage(image="valkey/valkey:8", asks=("valkey-cli", "-p", "{port}", "ping")),
    "mariadbd": ServerImage(image="mariadb:11", asks=("mariadb-admin", "-h", "127.0.0.1", "-P", "{port}", "ping")),
    "mysqld": ServerImage(image="mysql:8", asks=("mysqladmin", "-h", "127.0.0.1", "-P", "{port}", "ping")),
    "rabbitmq-server": ServerImage(image="rabbitmq:4", asks=("rabbitmq-diagnostics", "ping")),
    "nginx": ServerImage(image="nginx:1.28", has_curl=True),
    "mongod": ServerImage(image="mongo:8"),
    "memcached": ServerImage(image="memcached:1.6"),
    "nats-server": ServerImage(image="nats:2.11"),
    "caddy": ServerImage(image="caddy:2"),
    "minio": ServerImage(image="minio/minio:latest"),
    "mailpit": ServerImage(image="axllent/mailpit:latest"),
}
_PYTHON_IMAGE = f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim"
_NEWEST_POSTGRES = "17"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaging:
    """What a service runs in: `server` for a published image, else the Dockerfile `dockerfile` of ours."""

    image: str
    program: str
    server: ServerImage | None = None
    dockerfile: str = ""
    is_known: bool = True
    """Whether the image surely holds the program."""

    def tcp_words(self, port: int) -> tuple[str, ...]:
        """Return the command in the image that asks for a connection, () if it has none."""
        if self.server is None:
            return ("nc", "-z", "127.0.0.1", str(port))
        return tuple(word.replace("{port}", str(port)) for word in self.server.asks)

    @property
    def has_curl(self) -> bool:
        """Whether curl is in the image."""
        return self.server is None or self.server.has_curl


def packaging_of(system: ExportedSystem, service: ExportedService) -> Packaging:
    """Return what a service runs in, by the program that its command begins with, also behind a shell."""
    words = _program_words(service)
    program = posixpath.basename(words[0])
    server = _SERVERS.get(program)
    if server is not None:
        found = re.search(r"/postgresql/(\d+)/", words[0])
        image = server.image.replace("{major}", found[1] if found else _NEWEST_POSTGRES)
        return Packaging(image=image, program=program, server=server)
    if _PYTHON.fullmatch(program):
        return Packaging(image=f"{system.name}-python", program=program, dockerfile="python.Dockerfile")
    if _NODE.fullmatch(program):
        return Packaging(image=f"{system.name}-node", program=program, dockerfile="node.Dockerfile")
    own = program in _SHELLS or words[0].startswith(("./", f"{INSIDE}/"))
    return Packaging(image=f"{system.name}-other", program=program, dockerfile="other.Dockerfile", is_known=own)


def words_inside(service: ExportedService, packaging: Packaging) -> tuple[str, ...]:
    """Return the command as the image has it: a server's program is on the PATH of its image."""
    words = service.service.command
    if packaging.server is not None and posixpath.basename(words[0]) == packaging.program:
        return (packaging.program, *words[1:])
    return words


def _program_words(service: ExportedService) -> tuple[str, ...]:
    words = tuple(map(bare, service.service.command))
    if len(words) > 2 and posixpath.basename(words[0]) in _SHELLS and words[1] == "-c":
        try:
            inner = shlex.split(words[2].rpartition("&&")[2])
        except ValueError:
            return words
        inner = [word for word in inner if word != "exec" and "=" not in word]
        return tuple(inner) or words
    return words


def dockerfiles(system: ExportedSystem, engine: str) -> Iterator[ExportedFile]:
    """Yield each Dockerfile that the services need, and what its build may not copy."""
    packagings = {packaging_of(system, service) for service in system.services if service.service.role != "monitoring"}
    packagings |= {packaging_of(system, service) for service in system.services if _is_ours(service)}
    for name in sorted({packaging.dockerfile for packaging in packagings} - {""}):
        unknown = sorted(p.program for p in packagings if p.dockerfile == name and not p.is_known)
        yield ExportedFile(path=name, text=head(engine) + _TEXTS[name](system, unknown))
        yield ignored(name, engine)


def ignored(dockerfile: str, engine: str) -> ExportedFile:
    """Return the file that names what the build of a Dockerfile may not copy."""
    return ExportedFile(path=f"{dockerfile}.dockerignore", text=head(engine) + _IGNORED)


def toombos_image(system: ExportedSystem) -> str:
    """Return the Dockerfile of an image with toombos and Locust."""
    lines = (f"FROM {_PYTHON_IMAGE}\n", f"WORKDIR {INSIDE}\n", *_toombos(system, "[locust]"))
    return "".join((*lines, f"RUN chown {USER_ID}:{USER_ID} {INSIDE}\n"))


def _toombos(system: ExportedSystem, extra: str = "") -> Iterator[str]:
    """Yield the lines that install toombos: from a wheel in the project if there is one, else from the index."""
    wheel = next(iter(sorted(system.manifest.project.glob(f"toombos-{__version__}-*.whl"))), None)
    what = f"toombos{extra}=={__version__}" if wheel is None else f"/tmp/{wheel.name}{extra}"  # noqa: S108  (in the image)
    if wheel is not None:
        yield f"COPY {json.dumps([wheel.name, '/tmp/'])}\n"  # noqa: S108  (in the image)
    yield f"RUN pip install --no-cache-dir {shlex.quote(what)}\n"


def _is_ours(service: ExportedService) -> bool:
    return any(word.startswith(_OWN_MODULES) for word in service.service.command)


_IGNORED = "".join(
    f"{name}\n"
    for name in (
        *("**/.env", "**/.env.*", "**/*.env", ".git", "**/__pycache__", "**/node_modules", "**/.venv", "**/venv"),
        *("**/*.pem", "**/*.key", "**/*.p12", "data", "logs", "run", "backups", "export"),
    )
)
_CURL = comment("The health checks use curl and nc.") + (
    "RUN apt-get update && apt-get install -y --no-install-recommends curl netcat-openbsd \\\n"
    "    && rm -rf /var/lib/apt/lists/*\n"
)


def _python(system: ExportedSystem, unknown: list[str]) -> str:
    del unknown
    project = system.manifest.project
    lines = [f"FROM {_PYTHON_IMAGE}\n", _CURL, f"WORKDIR {INSIDE}\n"]
    if (project / "requirements.txt").is_file():
        lines.append('COPY ["requirements.txt", "./"]\nRUN pip install --no-cache-dir -r requirements.txt\n')
    if any(_is_ours(service) for service in system.services):
        lines += _toombos(system)
    lines += _copies(system)
    if (project / "pyproject.toml").is_file():
        lines.append("RUN pip install --no-cache-dir .\n")
    return "".join(lines)


def _node(system: ExportedSystem, unknown: list[str]) -> str:
    del unknown
    lines = ["FROM node:22-slim\n", _CURL, f"WORKDIR {INSIDE}\n"]
    project = system.manifest.project
    if (project / "package-lock.json").is_file():
        lines.append('COPY ["package.json", "package-lock.json", "./"]\nRUN npm ci --omit=dev\n')
    elif (project / "package.json").is_file():
        lines.append('COPY ["package.json", "./"]\nRUN npm install --omit=dev\n')
    return "".join((*lines, *_copies(system)))


def _other(system: ExportedSystem, unknown: list[str]) -> str:
    todo = comment(f"todo: install {', '.join(unknown)}.") if unknown else ""
    return "".join(("FROM debian:bookworm-slim\n", _CURL, todo, f"WORKDIR {INSIDE}\n", *_copies(system)))


_TEXTS = {"python.Dockerfile": _python, "node.Dockerfile": _node, "other.Dockerfile": _other}


def _copies(system: ExportedSystem) -> Iterator[str]:
    """Yield a line for each file and directory of the project, so that no builder can copy anything else."""
    project = system.manifest.project
    left = {name.removesuffix(OPTIONAL) for service in system.services for name in service.env_files}
    if not any("toombos_cli" in service.service.command for service in system.services):
        left.add(FILE_NAME)  # nothing in the image reads it, and it may hold secrets
    yield comment("Named one by one: no secret and no data gets into the image by accident.")
    if not project.is_dir():
        return
    for path in sorted(project.iterdir()):
        hidden = path.name.startswith(".") or path.name in _NEVER_COPIED | left or path.suffix == ".whl"
        hidden = hidden or _SECRET_FILE.fullmatch(path.name) is not None
        holds_export = path == system.output or path in system.output.parents
        if hidden or holds_export or (path / "pyvenv.cfg").exists() or not (path.is_dir() or path.is_file()):
            continue
        target = f"./{path.name}/" if path.is_dir() else "./"
        yield f"COPY {json.dumps([path.name, target], ensure_ascii=False)}\n"


def persistent_roots(system: ExportedSystem) -> tuple[str, ...]:
    """Return the directories of the project that outlive a container, as paths from the project directory."""
    scope = system.manifest.backup
    return tuple(dict.fromkeys(("data", *(root for root in scope.log_roots if root in scope.roots))))


def mounted_files(system: ExportedSystem, words: tuple[str, ...]) -> Iterator[str]:
    """Yield the paths from the project directory that a server's command names outside its persistent directories."""
    for word in words:
        for found in re.findall(rf"(?:^|[=:\s]){re.escape(str(INSIDE))}/([^\s,;:]+)", word):
            top = Path(found).parts[0]
            if top not in persistent_roots(system) and (system.manifest.project / found).exists():
                yield found
