"""What each key of another tool's file becomes in the manifest."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from toombos_cli.config.imports.run import run_import
from toombos_cli.manifest.schema import manifest_schema


def imported(directory: Path, name: str, text: str) -> dict[str, Any]:
    """Return the manifest that is made from a file, after a check with the schema."""
    from jsonschema import Draft202012Validator

    (directory / name).write_text(text)
    run_import(directory / name, directory, force=False)
    tree = tomllib.loads((directory / "toombos.toml").read_text())
    Draft202012Validator(manifest_schema()).validate(tree)
    return tree


def compose(lines: str) -> str:
    """Return a Compose file with one service of a runtime image, and these lines in it."""
    body = "".join(f"    {line}\n" for line in lines.split("\n"))
    return f"services:\n  a:\n    image: python:3\n    command: python a.py\n{body}"


def program(lines: str) -> str:
    return f"[program:a]\ncommand=python a.py\n{lines}\n"


def process(lines: str) -> str:
    return "processes:\n  a:\n    command: python a.py\n" + "".join(f"    {line}\n" for line in lines.split("\n"))


def app(members: str) -> str:
    return '{"apps": [{"name": "a", "script": "a.js"' + (f", {members}" if members else "") + "}]}"


HEALTH = 'healthcheck: {test: ["CMD", %s]}'
ROWS: list[Any] = [
    # Procfile
    ("Procfile", "a: x --port $PORT", {"port": 5000, "scheme": "tcp", "env": {"PORT": "{port}"}}, "$PORT"),
    ("Procfile", "b: y\na: x $PORT", {"port": 5100}, "the second process has the next port of foreman"),
    ("Procfile", "a: x", {"scheme": "none"}, "a process that does not use $PORT"),
    ("Procfile", "web: z\na: x", {"scheme": "none"}, "only the process web gets a port unasked"),
    # Compose: ports
    ("compose.yaml", compose("ports: ['8080:8000']"), {"port": 8000, "scheme": "tcp"}, "the port in the container"),
    ("compose.yaml", compose("ports: ['127.0.0.1:8080:8000/tcp']"), {"port": 8000}, "a mapping with an address"),
    ("compose.yaml", compose("ports: ['[::1]:8080:8000']"), {"port": 8000}, "a mapping with an address of IPv6"),
    ("compose.yaml", compose("ports: ['8000-8005:9000-9005']"), {"port": 9000}, "a range of ports"),
    ("compose.yaml", compose("ports: [22:22]"), {"port": 22}, "a mapping that YAML 1.1 would take for a number"),
    ("compose.yaml", compose("ports: [{target: 80, published: 8080}]"), {"port": 80}, "a mapping in the long form"),
    ("compose.yaml", compose("ports: ['53:53/udp']"), {"scheme": "none"}, "a port of UDP is none"),
    ("compose.yaml", compose("expose: ['9000']"), {"port": 9000}, "an exposed port"),
    ("compose.yaml", compose("ports: ['${P:-8080}:${Q:-8000}']"), {"port": 8000}, "a port in a variable"),
    # Compose: watch
    (
        "compose.yaml",
        compose("develop: {watch: [{action: sync+restart, path: ./src, target: /x, ignore: [gen/]}]}"),
        {"watch": {"paths": ["src"], "ignore": ["gen"]}},
        "files that restart the container",
    ),
    (
        "compose.yaml",
        compose("develop: {watch: [{action: rebuild, path: requirements.txt}, {action: sync, path: src}]}"),
        {"watch": ["requirements.txt"]},
        "files that rebuild the container",
    ),
    # Compose: health
    (
        "compose.yaml",
        compose("ports: ['8000']\n" + HEALTH % '"curl", "-f", "http://localhost:8000/up"'),
        {"port": 8000, "health": "/up", "health_answer": "page"},
        "curl -f",
    ),
    (
        "compose.yaml",
        compose("healthcheck: {test: 'wget -q --spider http://127.0.0.1:8000/up || exit 1'}"),
        {"port": 8000, "health": "/up"},
        "wget --spider",
    ),
    (
        "compose.yaml",
        compose("healthcheck: {test: ['CMD-SHELL', 'curl -fsS -o /dev/null https://a:8443/x?y=1 >/dev/null 2>&1']}"),
        {"port": 8443, "scheme": "https", "health": "/x?y=1"},
        "curl by the name of the service, with output to nowhere",
    ),
    (
        "compose.yaml",
        compose("ports: ['8000']\n" + HEALTH % '"curl", "http://localhost:8000/up"'),
        {"port": 8000, "scheme": "tcp"},
        "curl without -f is well with any response",
    ),
    (
        "compose.yaml",
        compose("ports: ['8000']\n" + HEALTH % '"curl", "-f", "-H", "X: 1", "http://localhost:8000/up"'),
        {"port": 8000, "scheme": "tcp"},
        "a request with a header is not plainly a path",
    ),
    (
        "compose.yaml",
        compose("ports: ['8000']\n" + HEALTH % '"curl", "-f", "http://elsewhere/up"'),
        {"port": 8000, "scheme": "tcp"},
        "another host is not this service",
    ),
    ("compose.yaml", compose("ports: ['1']\nhealthcheck: {test: [NONE]}"), {"scheme": "tcp"}, "no check"),
    (
        "compose.yaml",
        compose("healthcheck: {test: [CMD, 'true'], interval: 1m30s, timeout: 500ms, retries: 5, start_period: 10s}"),
        {"probe_interval_s": 90, "probe_timeout_s": 0.5, "unhealthy_after": 5, "startup_timeout_s": 460},
        "the timing of the check",
    ),
    # Compose: running
    ("compose.yaml", compose("restart: no"), {"restart": {"policy": "never"}}, "restart: no is no boolean"),
    ("compose.yaml", compose("restart: unless-stopped"), {"restart": None}, "always is the default"),
    (
        "compose.yaml",
        compose("restart: 'on-failure:3'"),
        {"restart": {"policy": "on-failure", "crash_loop_count": 3}},
        "on-failure with a count",
    ),
    ("compose.yaml", compose("stop_grace_period: 1m"), {"grace_period_s": 60}, "the grace period"),
    ("compose.yaml", compose("profiles: [debug]"), {"optional": True}, "a profile"),
    (
        "compose.yaml",
        compose("deploy: {resources: {limits: {memory: 1G, cpus: '1.5'}}}"),
        {"limits": {"memory_restart_mb": 1024, "cpu_warn_percent": 150}},
        "limits",
    ),
    ("compose.yaml", compose("mem_limit: 512m"), {"limits": {"memory_restart_mb": 512}}, "the older limit"),
    # Compose: environment and places
    ("compose.yaml", compose("environment: [A=1, B]"), {"env": {"A": "1"}}, "variables in a list"),
    (
        "compose.yaml",
        compose("environment: {A: 3.10, B: true}"),
        {"env": {"A": "3.10", "B": "true"}},
        "as they are written",
    ),
    ("compose.yaml", compose("environment: {A: '${A:-x}'}"), {"default_env": {"A": "x"}}, "a default"),
    ("compose.yaml", compose("environment: {A: 'a$$b{c}'}"), {"env": {"A": "a$b{{c}}"}}, "a dollar sign and braces"),
    (
        "compose.yaml",
        compose("environment: {A_HOST: a}\nports: ['1']"),
        {"env": {"A_HOST": "{services.a.host}"}},
        "a host",
    ),
    (
        "compose.yaml",
        compose("environment: {U: 'http://a:1/x'}\nports: ['1']"),
        {"env": {"U": "http://{services.a.host}:{services.a.port}/x"}},
        "an address",
    ),
    ("compose.yaml", compose("environment: {A_DB: a}\nports: ['1']"), {"env": {"A_DB": "a"}}, "a word that is no host"),
    (
        "compose.yaml",
        compose("volumes: ['./src:/app']\nworking_dir: /app/sub"),
        {"cwd": "src/sub"},
        "a directory below a mount",
    ),
    (
        "compose.yaml",
        compose("depends_on: {b: {condition: service_healthy, restart: true}}") + "  b: {command: b}\n",
        {"depends_on": {"b": {"when": "ready", "restart": True}}},
        "a restart with a dependency",
    ),
    (
        "compose.yaml",
        compose("mem_limit: 10m")
        + "  b: {command: b, depends_on: {a: {condition: service_completed_successfully}}}\n"
        + "  c: {command: c, depends_on: {a: {condition: service_healthy}}}\n",
        {"kind": "task", "limits": None},
        "a task that others wait for in two ways",
    ),
    # process-compose
    ("process-compose.yaml", process("working_dir: srv"), {"cwd": "srv"}, "a directory"),
    ("process-compose.yaml", process("environment: ['A=1']"), {"env": {"A": "1"}}, "variables"),
    (
        "process-compose.yaml",
        process("readiness_probe: {http_get: {host: 127.0.0.1, scheme: https, path: /r, port: 81}}"),
        {"port": 81, "scheme": "https", "health": "/r"},
        "a probe over HTTP",
    ),
    (
        "process-compose.yaml",
        process("readiness_probe: {http_get: {path: /r, port: 81}}\nliveness_probe: {http_get: {path: /l, port: 81}}"),
        {"port": 81, "ready": "/r", "health": "/l"},
        "two probes over HTTP",
    ),
    (
        "process-compose.yaml",
        process("readiness_probe: {exec: {command: 'redis-cli -p 6390 ping | grep -q PONG'}}"),
        {"port": 6390, "scheme": "tcp"},
        "a probe that asks for a port",
    ),
    ("process-compose.yaml", process("availability: {restart: no}"), {"restart": {"policy": "never"}}, "no restart"),
    (
        "process-compose.yaml",
        process("availability: {restart: on_failure, backoff_seconds: 2, max_restarts: 4}"),
        {"restart": {"policy": "on-failure", "backoff_initial_s": 2, "crash_loop_count": 4}},
        "restarts",
    ),
    ("process-compose.yaml", process("shutdown: {timeout_seconds: 7}"), {"grace_period_s": 7}, "the grace period"),
    ("process-compose.yaml", process("log_location: ./l/a.log"), {"log": "l/a.log"}, "the log"),
    ("process-compose.yaml", process("disabled: true"), {"optional": True}, "disabled"),
    ("process-compose.yaml", process("is_daemon: true") + "  b: {command: b}", {"enabled": False}, "a daemon"),
    # supervisord
    ("supervisord.conf", program("directory=/srv"), {"cwd": "/srv"}, "a directory"),
    ("supervisord.conf", program("environment=A=\"1,2\",B='x'"), {"env": {"A": "1,2", "B": "x"}}, "variables"),
    ("supervisord.conf", program("autostart=false"), {"optional": True}, "autostart"),
    ("supervisord.conf", program("autorestart=unexpected"), {"restart": {"policy": "on-failure"}}, "autorestart"),
    (
        "supervisord.conf",
        program("stopwaitsecs=600 ; long"),
        {"grace_period_s": 600},
        "the grace period, with a comment",
    ),
    ("supervisord.conf", program("stdout_logfile=logs/a.log"), {"log": "logs/a.log"}, "a log of the project"),
    ("supervisord.conf", program("stdout_logfile=/dev/stdout"), {"log": None}, "a log elsewhere"),
    (
        "supervisord.conf",
        program('environment=PATH="/opt:%(ENV_PATH)s"'),
        {"command": ["sh", "-c", 'PATH=/opt:"$PATH" exec python a.py'], "env": None},
        "a variable that continues another",
    ),
    (
        "supervisord.conf",
        program("priority=2\n[program:b]\ncommand=b\npriority=1"),
        {"depends_on": {"b": "started"}},
        "priorities are an order",
    ),
    # PM2
    ("ecosystem.json", app(""), {"command": ["node", "a.js"], "scheme": "none"}, "a script"),
    ("ecosystem.json", app('"interpreter": "none"'), {"command": ["a.js"]}, "no interpreter"),
    (
        "ecosystem.json",
        app('"interpreter": "python3", "interpreter_args": "-u", "args": "x \'y z\'"'),
        {"command": ["python3", "-u", "a.js", "x", "y z"]},
        "interpreter and arguments",
    ),
    ("ecosystem.json", app('"args": ["x", 1]'), {"command": ["node", "a.js", "x", "1"]}, "arguments in a list"),
    ("ecosystem.json", app('"cwd": "./srv"'), {"cwd": "srv"}, "a directory"),
    ("ecosystem.json", app('"env": {"PORT": 3000}'), {"scheme": "none", "env": {"PORT": "3000"}}, "PORT is no proof"),
    ("ecosystem.json", app('"max_memory_restart": "300M"'), {"limits": {"memory_restart_mb": 300}}, "memory"),
    ("ecosystem.json", app('"kill_timeout": 3000'), {"grace_period_s": 3}, "milliseconds"),
    ("ecosystem.json", app('"watch": true'), {"watch": ["."]}, "watch"),
    ("ecosystem.json", app('"watch": false'), {}, "no watch"),
    ("ecosystem.json", app('"watch": ["src", "a.json"], "cwd": "srv"'), {"watch": ["srv/src", "srv/a.json"]}, "paths"),
    (
        "ecosystem.json",
        app('"watch": "src", "ignore_watch": ["node_modules", "./src/gen"], "watch_delay": 500'),
        {"watch": {"paths": ["src"], "ignore": ["node_modules", "src/gen"], "debounce_s": 0.5}},
        "what is not watched",
    ),
    ("ecosystem.json", app('"autorestart": false'), {"restart": {"policy": "never"}}, "autorestart"),
    ("ecosystem.json", app('"restart_delay": 1500, // c\n'), {"restart": {"backoff_initial_s": 1.5}}, "a comment"),
    # package.json
    ("package.json", '{"scripts": {"start:a": "x", "test": "y"}}', {"title": "start:a"}, "start:*"),
]


@pytest.mark.parametrize(
    ("name", "text", "expected"), [pytest.param(*row[:3], id=f"{row[0]}: {row[3]}") for row in ROWS]
)
def test_a_key_becomes_what_means_the_same(tmp_path: Path, name: str, text: str, expected: dict[str, Any]) -> None:
    services = imported(tmp_path, name, text)["services"]
    table = services.get("a") or next(iter(services.values()))
    assert {key: table.get(key) for key in expected} == expected


def test_a_web_process_gets_a_port_unless_it_names_one(tmp_path: Path) -> None:
    assert imported(tmp_path, "Procfile", "web: node server.js")["services"]["web"]["port"] == 5000


def test_a_web_process_with_a_fixed_port_is_not_waited_for_at_another_one(tmp_path: Path) -> None:
    tree = imported(tmp_path, "Procfile", "web: python manage.py runserver 0.0.0.0:8000")
    assert tree["services"]["web"]["scheme"] == "none"
    assert "\n#port = 8000\n" in (tmp_path / "toombos.toml").read_text()


def test_the_first_port_of_foreman_is_that_of_env(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=3000\n")
    tree = imported(tmp_path, "Procfile", "web: x $PORT\napi: y $PORT")
    assert [table["port"] for table in tree["services"].values()] == [3000, 3100]


def test_processes_of_supervisord_are_services_of_their_own(tmp_path: Path) -> None:
    text = "[program:w]\ncommand=w --name=n%(process_num)02d%%\nprocess_name=x\nnumprocs=2\nnumprocs_start=1\n"
    tree = imported(tmp_path, "supervisord.conf", text)
    assert {name: table["command"] for name, table in tree["services"].items()} == {
        "w-1": ["w", "--name=n01%"],
        "w-2": ["w", "--name=n02%"],
    }


def test_a_directory_of_its_own_is_where_the_services_run(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "Procfile").write_text("a: x\nb: cd y && z\n")
    run_import(tmp_path / "sub" / "Procfile", tmp_path, force=False)
    services = tomllib.loads((tmp_path / "toombos.toml").read_text())["services"]
    assert [table["cwd"] for table in services.values()] == ["sub", "sub/y"]


def test_extended_services_and_anchors_are_merged(tmp_path: Path) -> None:
    (tmp_path / "common.yml").write_text(
        "services:\n  base:\n    image: python:3\n    command: [a, b]\n    environment: {A: '1', B: '1'}\n"
    )
    text = """
x-env: &env {C: '3'}
services:
  a:
    extends: {file: common.yml, service: base}
    command: c
    environment: {<<: *env, B: '2'}
"""
    table = imported(tmp_path, "compose.yaml", text)["services"]["a"]
    assert (table["command"], table["env"]) == (["c"], {"A": "1", "B": "2", "C": "3"})


DOCKERFILES = [
    pytest.param('CMD ["python", "x.py"]', ["python", "x.py"], id="words"),
    pytest.param("CMD python x.py", ["python", "x.py"], id="a line"),
    pytest.param("CMD a && b", ["sh", "-c", "a && b"], id="a line for a shell"),
    pytest.param('ENTRYPOINT ["python"]\nCMD ["x.py"]', ["python", "x.py"], id="an entrypoint with arguments"),
    pytest.param('FROM x AS late\nCMD ["y"]', ["y"], id="the last stage"),
    pytest.param("WORKDIR /app\nCOPY . .\nCMD python \\\n  /app/x.py", ["python", "x.py"], id="a path"),
    pytest.param('COPY run.sh /run.sh\nENTRYPOINT ["/run.sh"]', ["./run.sh"], id="a copied script"),
]


@pytest.mark.parametrize(("lines", "command"), DOCKERFILES)
def test_the_command_of_a_build_is_that_of_its_dockerfile(tmp_path: Path, lines: str, command: list[str]) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM python:3\n{lines}\n")
    tree = imported(tmp_path, "compose.yaml", "services:\n  a:\n    build: .\n")
    assert tree["services"]["a"]["command"] == command


def test_a_service_whose_program_nothing_names_is_left_out_with_the_command_that_shows_it(tmp_path: Path) -> None:
    tree = imported(tmp_path, "compose.yaml", "services:\n  a: {image: 'example/a:1'}\n  b: {image: 'redis:7'}\n")
    assert (tree["services"]["a"]["enabled"], "enabled" in tree["services"]["b"]) == (False, False)
    assert (
        "\n#   docker inspect -f '{{.Config.Entrypoint}} {{.Config.Cmd}}' example/a:1\n"
        in (tmp_path / "toombos.toml").read_text()
    )


def test_a_file_whose_services_all_need_a_person_still_becomes_a_manifest(tmp_path: Path) -> None:
    tree = imported(tmp_path, "compose.yaml", "services:\n  a: {image: 'example/a:1'}\n")
    assert (tree["services"]["a"]["optional"], "enabled" in tree["services"]["a"]) == (True, False)


def test_two_services_never_get_one_port(tmp_path: Path) -> None:
    one = "{image: 'python:3', command: x, ports: ['8080:80']}"
    text = f"services:\n  a: {one}\n  b: {one}\n  c: {one}\n"
    services = imported(tmp_path, "compose.yaml", text)["services"]
    assert [table.get("port") for table in services.values()] == [80, 8080, None]


def test_the_same_file_gives_the_same_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = compose("environment: {A: '${A}', B: '${B:-1}'}\nports: ['${A:-1}']")
    first = imported(tmp_path, "compose.yaml", text)
    monkeypatch.setenv("A", "7")
    run_import(tmp_path / "compose.yaml", tmp_path, force=True)
    assert tomllib.loads((tmp_path / "toombos.toml").read_text()) == first
