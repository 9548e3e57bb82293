"""PostgreSQL and Redis, judged by their own programs, and conversations with servers that speak no HTTP."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import cluster_of_postgres, postgres_cluster, postgres_program, redis_cli, redis_server
from tests.support.foreign import UP, ForeignSystem, Keys, well
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.runner import begin_toombos, data_of
from tests.support.waiting import wait_for

PASSWORD = "wellington"


def psql(statement: str, database: str = "postgres") -> list[str]:
    """Return the command that runs a statement."""
    place = ["-h", "{host}", "-p", "{port}", "-U", "shop", "-d", database]
    return [postgres_program("psql"), "-XAtq", *place, "-c", statement]


def is_ready() -> list[str]:
    """Return the command that asks whether the server accepts connections."""
    return [postgres_program("pg_isready"), "-h", "{host}", "-p", "{port}", "-U", "shop", "-d", "postgres"]


@pytest.fixture(scope="module")
def stores(shared: ForeignSystem) -> Iterator[ForeignSystem]:
    """PostgreSQL, Redis with a password and a mail server, started by one `toombos start`."""
    with postgres_cluster() as postgres:
        shared.add("db", postgres, scheme="tcp", health={"command": psql("select 1")}, ready={"command": is_ready()})
        authenticated = redis_cli("-a", PASSWORD, "--no-auth-warning", "ping")
        locked = redis_server("--requirepass", PASSWORD, "--enable-debug-command", "yes")
        shared.add("cache", locked, scheme="tcp", health={"command": authenticated})
        shared.add("mail", ["{python}", "-m", "aiosmtpd", "-n", "-l", "{host}:{port}"], scheme="tcp")
        shared.start()
        yield shared
        shared.stop()


def test_healthy_stores_raise_no_alarm(stores: ForeignSystem) -> None:
    assert {name: well(row) for name, row in stores.health().items()} == dict.fromkeys(stores.services, UP)
    shown = data_of(stores("status", "--json", exit_code=0))["services"]
    assert {row["phase"] for row in shown} == {"ready"}
    stores("smoke", "--wait", "5", exit_code=0)
    assert stores.alarms() == []


COMMANDS: dict[str, tuple[str, list[str], tuple[str, str], str]] = {
    "a database that there is not": ("db", ["psql", "-d", "nothing"], ("down", "command"), '"nothing" does not exist'),
    "a statement that fails": ("db", ["psql", "-c", "select 1/0"], ("down", "command"), "division by zero"),
    "a user that there is not": ("db", ["psql", "-U", "nobody"], ("down", "command"), '"nobody" does not exist'),
    "a statement that takes too long": ("db", ["psql", "-c", "select pg_sleep(30)"], ("down", "timeout"), "0.8 s"),
    "no password": ("cache", redis_cli("ping"), ("down", "command"), "NOAUTH"),
    "a wrong password": ("cache", redis_cli("-a", "waterloo", "ping"), ("down", "command"), "NOAUTH"),
    "an unknown command of the server": ("cache", redis_cli("-a", PASSWORD, "pong"), ("down", "command"), "unknown"),
    "a program that is not installed": ("db", ["pg_is_ready"], ("down", "error"), "pg_is_ready"),
    "a program that a signal ends": ("db", ["sh", "-c", "kill -9 $$"], ("down", "command"), "SIGKILL"),
}


@pytest.mark.parametrize("sentence", COMMANDS)
def test_a_command_that_fails_is_named_with_its_own_words(stores: ForeignSystem, sentence: str) -> None:
    name, command, expected, words = COMMANDS[sentence]
    if command[0] == "psql":
        options = dict(zip(command[1::2], command[2::2], strict=True))
        command = psql(options.pop("-c", "select 1")) + [part for pair in options.items() for part in pair]
    row = looked_at(stores, name, health={"command": command, "timeout_s": 0.8})
    assert well(row) == expected, row
    assert words in row["detail"]


def test_redis_cli_without_an_exit_code_is_judged_by_its_words(stores: ForeignSystem) -> None:
    """`redis-cli ping` exits with 0 when the server refuses it, unless it is run with -e."""
    command = [needs("redis-cli"), "-p", "{port}", "ping"]
    row = looked_at(stores, "cache", health={"command": command, "text": "^PONG$"})
    assert row["status"] == "down"
    assert "NOAUTH" in row["detail"]
    right = [*command[:1], "-a", PASSWORD, *command[1:]]
    assert well(looked_at(stores, "cache", health={"command": right, "text": "^PONG$"})) == UP


def looked_at(system: ForeignSystem, name: str, **keys: object) -> Keys:
    """Return the row of health that a service has with these keys."""
    before = system.services[name]
    system.change(name, **keys)
    try:
        return system.health(name)[name]
    finally:
        system.services[name] = before
        system.write()


def test_a_stopped_server_is_down_and_the_others_stay_well(stores: ForeignSystem) -> None:
    stores("stop", "db", exit_code=0)
    try:
        rows = stores.health()
        assert rows["db"]["status"] == "down"
        assert well(rows["cache"]) == UP
    finally:
        stores.start()
    assert well(stores.health()["db"]) == UP


def test_a_suspended_server_is_down(stores: ForeignSystem) -> None:
    os.kill(stores.pid("cache"), signal.SIGSTOP)
    try:
        row = stores.health("cache")["cache"]
        assert row["status"] == "down"
        assert row["reason"] in ("stopped", "timeout")
    finally:
        os.kill(stores.pid("cache"), signal.SIGCONT)


CONVERSATIONS: dict[str, tuple[Keys, str]] = {
    "a greeting": ({"service": "mail", "expect": "^220 .*SMTP"}, "pass"),
    "a greeting and a reply": ({"service": "mail", "send": "NOOP\r\n", "expect": "250 OK"}, "pass"),
    "an error as the reply": ({"service": "cache", "send": "PING\r\n", "expect": "NOAUTH"}, "pass"),
    "a reply that the manifest does not expect": (
        {"service": "cache", "send": "PING\r\n", "expect": r"\+PONG"},
        "fail",
    ),
    "a reply after a password": (
        {"service": "cache", "send": f"AUTH {PASSWORD}\r\nPING\r\n", "expect": r"\+OK\r\n\+PONG"},
        "pass",
    ),
    "a silent server": ({"service": "db", "expect": "hello", "timeout_s": 0.5}, "fail"),
    "a refusal of a protocol that it does not speak": (
        {"service": "db", "send": "GET / HTTP/1.0\r\n\r\n", "expect": "HTTP/1.1 200", "timeout_s": 1},
        "fail",
    ),
}


@pytest.fixture(scope="module")
def conversations(stores: ForeignSystem) -> dict[str, Keys]:
    """The steps of a smoke test with every conversation."""
    for number, (keys, _) in enumerate(CONVERSATIONS.values()):
        stores.smoke({"name": f"talk-{number}", "writes": False} | keys)
    try:
        return stores.smoke_steps()
    finally:
        stores.steps = []
        stores.write()


@pytest.mark.parametrize("sentence", CONVERSATIONS)
def test_smoke_talks_to_servers_without_http(conversations: dict[str, Keys], sentence: str) -> None:
    step = conversations[f"talk-{list(CONVERSATIONS).index(sentence)}"]
    assert step["verdict"] == CONVERSATIONS[sentence][1], step


def test_start_waits_until_redis_has_loaded_its_data(system: ForeignSystem, tmp_path: Path) -> None:
    """While it loads, Redis accepts connections and refuses commands."""
    port = free_port()
    write_slow_dump(tmp_path, port)
    slow = ["--dbfilename", "slow.rdb", "--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"]
    system.add(
        "cache", redis_server(*slow, "--dir", str(tmp_path)), scheme="tcp", health={"command": redis_cli("ping")}
    )
    cli = [needs("redis-cli"), "-e", "-p", str(system.services["cache"]["port"]), "ping"]
    starting = begin_toombos("start", cwd=system.project)
    wait_for(lambda: b"LOADING" in subprocess.run(cli, capture_output=True, check=False).stderr, what="loading")
    row = system.health()["cache"]
    assert row["status"] != "up"
    assert "LOADING" in row["detail"]
    assert starting.poll() is None
    subprocess.run([*cli[:-1], "config", "set", "key-load-delay", "0"], check=True, capture_output=True)
    out, err = starting.communicate(timeout=30)
    assert starting.returncode == 0, out + err
    assert subprocess.run(cli, capture_output=True, check=True).stdout == b"PONG\n"
    assert well(system.health()["cache"]) == UP


def write_slow_dump(directory: Path, port: int) -> None:
    """Write a dump of 1500 keys, which Redis can be made to load slowly."""
    command = redis_server("--enable-debug-command", "yes", "--dbfilename", "slow.rdb", "--dir", str(directory))
    places = {"{port}": str(port), "{host}": "127.0.0.1"}
    with subprocess.Popen([places.get(word, word) for word in command], stdout=subprocess.DEVNULL) as server:
        cli = [needs("redis-cli"), "-e", "-p", str(port)]
        wait_for(lambda: subprocess.run([*cli, "ping"], capture_output=True, check=False).returncode == 0)
        subprocess.run([*cli, "debug", "populate", "1500"], check=True, capture_output=True)
        subprocess.run([*cli, "save"], check=True, capture_output=True)
        server.terminate()


def test_start_waits_until_postgresql_accepts_connections(system: ForeignSystem) -> None:
    with postgres_cluster() as postgres:
        late = ["sh", "-c", 'sleep 0.5; exec "$@"', "sh", *postgres]
        system.add("db", late, scheme="tcp", health={"command": psql("select 1")})
        system.start()
        row = system.health()["db"]
        system.stop()
    assert well(row) == UP


@pytest.mark.parametrize(
    ("command", "words"),
    [
        pytest.param(["false"], "code 1", id="a command that always fails"),
        pytest.param(["sh", "-c", "echo still migrating; exit 3"], "still migrating", id="a command that says why"),
        pytest.param(["no-such-program"], "no-such-program", id="a program that is not installed"),
        pytest.param(["sleep", "30"], "0.5 s", id="a command that hangs"),
    ],
)
def test_start_does_not_call_it_ready_against_its_command(
    system: ForeignSystem, command: list[str], words: str
) -> None:
    health = {"command": command, "timeout_s": 0.5}
    system.add("cache", redis_server(), scheme="tcp", health=health, startup_timeout_s=1)
    done = system("start")
    assert done.returncode == 4, done.stdout + done.stderr
    assert words in done.stderr


def test_root_runs_postgresql_as_its_own_user(system: ForeignSystem) -> None:
    """It refuses to run as root, as does pg_ctl; its socket lets only the user postgres in as postgres."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    with cluster_of_postgres() as (server, data):
        (data / "pg_hba.conf").write_text("local all all peer\n")
        ask = [postgres_program("psql"), "-h", str(data.parent), "-p", "{port}", "-XAtqc", "select current_user"]
        stop = [postgres_program("pg_ctl"), "-D", str(data), "-m", "fast", "stop"]
        health = {"command": ask, "text": "^postgres$"}
        system.add("db", server, user="postgres", cwd=str(data.parent), scheme="tcp", health=health, stop_command=stop)
        system.start()
        assert well(system.health()["db"]) == UP
        assert system.alarms() == []
        assert (system.project / "logs" / "db.log").stat().st_uid == 0
        stopped = data_of(system("stop", "--json", exit_code=0))
        log = (system.project / "logs" / "db.log").read_text()
    assert [row["killed"] for row in stopped["ended"]] == [[]]
    assert "received fast shutdown request" in log
    assert "database system is shut down" in log
