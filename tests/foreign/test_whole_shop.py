"""A whole shop from one manifest: nginx in front of gunicorn and Django, which use PostgreSQL and Redis."""

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

import psutil
import pytest

from tests.foreign.django_shop import HOST, MIGRATE, gunicorn, install, log_in
from tests.support.databases import postgres_cluster, postgres_program, redis_cli, redis_server
from tests.support.foreign import UP, ForeignSystem, well
from tests.support.nginx import nginx
from tests.support.ports import free_port
from tests.support.runner import data_of
from tests.support.waiting import wait_for

NEVER = {"policy": "never"}
PROXY = """listen 127.0.0.1:PORT;
  location /healthz { default_type application/json; return 200 '{"status":"ok"}'; }
  location / { proxy_pass http://127.0.0.1:WEB; proxy_set_header Host $host; proxy_read_timeout 2s; }"""


def describe(system: ForeignSystem, postgres: list[str]) -> None:
    """Describe the four services; what the application needs first is done by its own command."""
    install(system)
    select = [postgres_program("psql"), "-XAtq", "-h", "{host}", "-p", "{port}", "-U", "shop", "postgres"]
    db = system.add("db", postgres, scheme="tcp", restart=NEVER, health={"command": [*select, "-c", "select 1"]})
    cache = system.add("cache", redis_server(), scheme="tcp", restart=NEVER, health={"command": redis_cli("ping")})
    serve = shlex.join(["{python}", *MIGRATE]) + " && exec " + shlex.join(gunicorn("{host}:{port}", "-w", "2"))
    system.add(
        "web",
        ["sh", "-c", serve],
        env={"SHOP_DATABASE": str(db), "SHOP_REDIS": str(cache)},
        headers=HOST,
        depends_on=["db", "cache"],
        restart=NEVER,
        probe_timeout_s=4,
    )
    port = free_port()
    server = PROXY.replace("PORT", str(port)).replace("WEB", str(system.services["web"]["port"]))
    system.add(
        "front",
        nginx(system.project, "front", server),
        port=port,
        headers=HOST,
        health="/health",
        ready="/healthz",
        depends_on=["web"],
        restart=NEVER,
        probe_timeout_s=4,
    )
    system.smoke(*log_in("front", follow_redirects=True, json={"$.member": "ada"}))


@pytest.fixture(scope="module")
def shop(shared: ForeignSystem) -> Iterator[ForeignSystem]:
    """The shop, healthy and started. Each test heals what it breaks."""
    with postgres_cluster() as postgres:
        describe(shared, postgres)
        shared.start()
        yield shared
        shared.stop()


def test_a_healthy_shop_raises_no_alarm(shop: ForeignSystem) -> None:
    assert {name: well(row) for name, row in shop.health().items()} == dict.fromkeys(shop.services, UP)
    shown = data_of(shop("status", "--json", exit_code=0))["services"]
    assert {row["phase"] for row in shown} == {"ready"}
    steps = shop.smoke_steps("--wait", "5")
    assert {step["verdict"] for step in steps.values()} == {"pass"}, steps
    assert shop.alarms() == []


def ask_redis(shop: ForeignSystem, *words: str) -> None:
    """Send a command to Redis."""
    places = {"{host}": "127.0.0.1", "{port}": str(shop.services["cache"]["port"])}
    subprocess.run([places.get(word, word) for word in redis_cli(*words)], check=True, capture_output=True)


def ask_postgres(shop: ForeignSystem, statement: str) -> None:
    """Run a statement."""
    place = ["-h", "127.0.0.1", "-p", str(shop.services["db"]["port"]), "-U", "shop", "postgres"]
    subprocess.run([postgres_program("psql"), *place, "-c", statement], check=True, capture_output=True)


@contextmanager
def ended(shop: ForeignSystem, name: str, number: signal.Signals = signal.SIGTERM) -> Iterator[None]:
    """End one service, behind the supervisor's back, and start it again."""
    pid = shop.pid(name)
    os.kill(pid, number)
    wait_for(lambda: not psutil.pid_exists(pid))
    yield
    shop.start()


@contextmanager
def suspended(shop: ForeignSystem, name: str) -> Iterator[None]:
    """Suspend all processes of a service."""
    tree = [psutil.Process(shop.pid(name)), *psutil.Process(shop.pid(name)).children(recursive=True)]
    for process in tree:
        process.suspend()
    try:
        yield
    finally:
        for process in tree:
            process.resume()


@contextmanager
def full_redis(shop: ForeignSystem) -> Iterator[None]:
    """Let Redis take no more data."""
    ask_redis(shop, "config", "set", "maxmemory", "1")
    try:
        yield
    finally:
        ask_redis(shop, "config", "set", "maxmemory", "0")


@contextmanager
def read_only_redis(shop: ForeignSystem) -> Iterator[None]:
    """Make Redis the replica of a server that there is not."""
    ask_redis(shop, "replicaof", "127.0.0.1", "9")
    try:
        yield
    finally:
        ask_redis(shop, "replicaof", "no", "one")


@contextmanager
def missing_table(shop: ForeignSystem) -> Iterator[None]:
    """Take a table away from the application."""
    ask_postgres(shop, "alter table auth_user rename to auth_user_kept")
    try:
        yield
    finally:
        ask_postgres(shop, "alter table auth_user_kept rename to auth_user")


Fault = Callable[[ForeignSystem], AbstractContextManager[None]]
SAYS_DATABASE = ("down", "status", "database")
SAYS_CACHE = ("down", "status", "cache")

FAULTS: dict[str, tuple[Fault, dict[str, tuple[str, str, str]]]] = {
    "PostgreSQL is ended": (
        partial(ended, name="db", number=signal.SIGINT),
        {"db": ("down", "command", ""), "web": SAYS_DATABASE, "front": SAYS_DATABASE},
    ),
    "Redis is ended": (
        partial(ended, name="cache"),
        {"cache": ("down", "command", ""), "web": SAYS_CACHE, "front": SAYS_CACHE},
    ),
    "the application is ended": (
        partial(ended, name="web"),
        {"web": ("down", "refused", ""), "front": ("down", "status", "502")},
    ),
    "the front end is ended": (partial(ended, name="front"), {"front": ("down", "refused", "")}),
    "the application is suspended": (
        partial(suspended, name="web"),
        {"web": ("down", "stopped", ""), "front": ("down", "status", "504")},
    ),
    "Redis is suspended": (
        partial(suspended, name="cache"),
        {"cache": ("down", "stopped", ""), "web": ("down", "timeout", ""), "front": ("down", "status", "504")},
    ),
    "Redis is full": (full_redis, {"web": SAYS_CACHE, "front": SAYS_CACHE}),
    "Redis is read-only": (read_only_redis, {"web": SAYS_CACHE, "front": SAYS_CACHE}),
    "a table is missing": (missing_table, {"web": SAYS_DATABASE, "front": SAYS_DATABASE}),
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_health_names_each_fault_rightly(shop: ForeignSystem, sentence: str) -> None:
    fault, expected = FAULTS[sentence]
    with fault(shop):
        rows = shop.health()
    found = {name: (*well(row), row["detail"]) for name, row in rows.items() if well(row) != UP}
    assert {name: row[:2] for name, row in found.items()} == {name: row[:2] for name, row in expected.items()}, found
    for name, (*_, words) in expected.items():
        assert words in rows[name]["detail"]
    root = next(iter(expected))
    assert {rows[name]["explained_by"] for name in list(expected)[1:]} <= {root}
    assert {name: well(row) for name, row in shop.health().items()} == dict.fromkeys(shop.services, UP)


COMBINATIONS: dict[str, tuple[tuple[Fault, ...], dict[str, str]]] = {
    "PostgreSQL and Redis are ended": (
        (partial(ended, name="db", number=signal.SIGINT), partial(ended, name="cache")),
        {"db": "proc.missing", "cache": "proc.missing"},
    ),
    "the application is suspended and Redis is full": (
        (full_redis, partial(suspended, name="web")),
        {"cache": "redis.memory", "web": "proc.stopped"},
    ),
    "Redis is read-only and the front end is ended": (
        (read_only_redis, partial(ended, name="front")),
        {"cache": "redis.role", "front": "proc.missing"},
    ),
    "PostgreSQL is suspended, Redis is full and the front end is ended": (
        (full_redis, partial(ended, name="front"), partial(suspended, name="db")),
        {"cache": "redis.memory", "db": "proc.stopped", "front": "proc.missing"},
    ),
}
FEW = "PostgreSQL and Redis are ended"


@pytest.mark.parametrize(
    "sentence", [pytest.param(s, marks=[] if s == FEW else [pytest.mark.full]) for s in COMBINATIONS]
)
def test_diagnose_names_the_roots_of_several_faults_and_nothing_else(shop: ForeignSystem, sentence: str) -> None:
    faults, roots = COMBINATIONS[sentence]
    with ExitStack() as stack:
        for fault in faults:
            stack.enter_context(fault(shop))
        findings = data_of(shop("diagnose", "--json"))["findings"]
    failed = [f for f in findings if f["verdict"] == "fail" and not f["explained_by"]]
    assert {f["service"]: f["id"] for f in failed} == roots, failed
    assert len(failed) == len(roots)
    wait_for(lambda: {well(row) for row in shop.health().values()} == {UP}, within_s=30)
