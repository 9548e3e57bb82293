"""`start --preview` (or --plan) names what would prevent the start, without starting or writing anything."""

import socket
from pathlib import Path

import pytest

from tests.support.manifests import toml
from tests.support.ports import free_port
from tests.support.runner import data_of, run_toombos

SLEEP = {"command": ["sleep", "600"], "scheme": "none"}


def write(project: Path, **services: dict[str, object]) -> None:
    """Write a manifest."""
    tables = {name: "".join(f"{k} = {toml(v)}\n" for k, v in keys.items()) for name, keys in services.items()}
    (project / "toombos.toml").write_text("\n".join(f"[services.{name}]\n{text}" for name, text in tables.items()))


PREVENTED = {
    "a program that is not there": ({"command": ["no-such-program"]}, "command", "its command 'no-such-program'"),
    "a file that is no program": (
        {"command": ["./toombos.toml"]},
        "command",
        "its command './toombos.toml' is not executable",
    ),
    "a stop command that is not there": ({"stop_command": ["no-such"]}, "command", "its stop_command 'no-such' was"),
    "a directory that is not there": ({"cwd": "nowhere"}, "directory", "nowhere does not exist"),
    "a file for a directory": ({"cwd": "toombos.toml"}, "directory", "is not a directory"),
    "an unknown user": ({"user": "nobdy"}, "user", "no user is named 'nobdy'"),
    "a log that cannot be written": ({"log": "toombos.toml/x.log"}, "log", "cannot be written"),
}


@pytest.mark.parametrize(("keys", "kind", "message"), PREVENTED.values(), ids=PREVENTED.keys())
def test_what_prevents_the_start_is_named(tmp_path, keys, kind, message):
    write(tmp_path, well=SLEEP, other=SLEEP | keys)
    before = sorted(tmp_path.rglob("*"))

    done = run_toombos("start", "--plan", "--json", cwd=tmp_path)

    (failure,) = data_of(done)["failures"]
    assert (done.returncode, failure["service"], failure["kind"]) == (1, "other", kind)
    assert message in failure["message"]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_taken_port_is_named_with_its_owner(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        write(tmp_path, web={"command": ["sleep", "600"], "port": port})
        done = run_toombos("start", "--preview", cwd=tmp_path)

    assert done.returncode == 1
    assert f"error: web: port {port} is taken by pid" in done.stderr
    assert done.stdout.startswith("Could not start 1 service, in this order; nothing was started.")


def test_everything_that_is_wrong_is_named_at_once(tmp_path):
    write(tmp_path, a=SLEEP | {"cwd": "nowhere", "command": ["no-such"]}, b=SLEEP | {"command": ["nothing"]})

    failures = data_of(run_toombos("start", "--plan", "--json", cwd=tmp_path))["failures"]

    assert [(row["service"], row["kind"]) for row in failures] == [
        ("a", "directory"),
        ("a", "command"),
        ("b", "command"),
    ]


def test_only_what_would_be_started_counts(tmp_path):
    write(tmp_path, well=SLEEP, broken=SLEEP | {"cwd": "nowhere"}, late=SLEEP | {"cwd": "nowhere", "optional": True})

    assert run_toombos("start", "--plan", "well", cwd=tmp_path).returncode == 0
    assert run_toombos("start", "--plan", "late", cwd=tmp_path).returncode == 1


def test_the_port_of_a_service_that_runs_is_its_own(tmp_path):
    serve = ["{python}", "-m", "http.server", "{port}", "--bind", "127.0.0.1"]
    write(tmp_path, web={"command": serve, "port": free_port(), "health": "/", "health_answer": "page"})
    assert run_toombos("start", cwd=tmp_path).returncode == 0
    try:
        done = run_toombos("start", "--plan", "--json", cwd=tmp_path)
    finally:
        run_toombos("stop", cwd=tmp_path)

    assert (done.returncode, data_of(done)["failures"]) == (0, [])
