"""The packaged system, exported and really run: by podman as Kubernetes, by podman-compose, and by systemd."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.containers import Containers, make_containers
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.runner import begin_toombos, run_toombos
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800), pytest.mark.xdist_group("containers")]
SERVICES = ("crm", "platform", "generator")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged system on ports of its own, exported for the engines of containers."""
    project = tmp_path_factory.mktemp("far")
    ports = "".join(f"[services.{name}]\nport = {free_port()}\n" for name in SERVICES)
    (project / "toombos.toml").write_text(f'name = "far"\nextends = "toombos"\n{ports}')
    for name in ("data", "logs"):
        (project / name).mkdir()
    for name in ("kubernetes", "compose"):
        done = run_toombos("export", name, cwd=project)
        assert done.returncode == 0, done.stderr
    return project


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[Containers]:
    """An engine that has built the exported image, and whose containers find each other by name."""
    directory = tmp_path_factory.mktemp("engine")
    engine = make_containers(directory)
    engine.name_hosts(SERVICES)
    engine.run("buildah", "bud", "-t", "far-python", "-f", project / "export/kubernetes/python.Dockerfile", project)
    yield engine
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def engine(built: Containers) -> Iterator[Containers]:
    yield built
    built.clear()


def is_well(project: Path) -> None:
    """Assert that health and smoke find the system well where it runs."""
    done = run_toombos("health", *SERVICES, "--wait", "60", cwd=project, timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    done = run_toombos("smoke", cwd=project, timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr


def is_restarted(project: Path, pid: int) -> None:
    """Kill the platform's process; assert that health says so, and that the engine starts it again."""
    log = project / "logs" / "health-check.log"
    log.unlink(missing_ok=True)
    with begin_toombos(
        "health", "platform", "--watch", "0.1", "--log", cwd=project, stdout=subprocess.DEVNULL
    ) as watch:
        wait_for(lambda: log.exists() and "platform=up" in log.read_text(), within_s=60, what="the first check")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "platform=down:refused" in log.read_text(), within_s=60, what="the end in the log")
        wait_for(lambda: "platform=up" in log.read_text().rpartition("down:")[2], within_s=60, what="the restart")
        watch.terminate()


def test_kubernetes_files_run(engine: Containers, project: Path) -> None:
    output = project / "export/kubernetes"
    files = (
        *sorted(output.glob("base/services/*.yaml")),
        output / "base/claims.yaml",
        output / "overlays/dry-run/mode.yaml",
    )
    played = project / "export/played.yaml"
    played.write_text("---\n".join(path.read_text() for path in files))
    engine.run("podman", "kube", "play", "--network", "host", played)
    is_well(project)
    is_restarted(project, engine.main_pid("platform-pod-0-platform"))


def test_the_compose_file_runs(engine: Containers, project: Path) -> None:
    needs("podman-compose")
    host = project / "export/host.yaml"
    host.write_text(yaml.safe_dump({"services": {name: {"network_mode": "host"} for name in SERVICES}}))
    output = project / "export/compose"
    files = (output / "compose.yaml", output / "compose.dry-run.yaml", host)
    engine.run("podman-compose", *(word for file in files for word in ("-f", file)), "up", "--detach")
    is_well(project)
    is_restarted(project, engine.main_pid("far_platform_1"))


def test_the_units_run(engine: Containers, project: Path) -> None:
    def in_machine(*words: object) -> str:
        return engine.run("podman", "exec", "--workdir", project, "machine", *words)

    engine.run(
        *("podman", "run", "--detach", "--name", "machine", "--systemd", "always", "--network", "host"),
        *("--volume", f"{project}:{project}", "far-python", "/sbin/init"),
    )
    wait_for(
        lambda: "running" in engine.run("podman", "exec", "machine", "systemctl", "is-system-running", check=False),
        within_s=60,
        what="systemd",
    )
    commands = in_machine("toombos", "export", "systemd").partition("next:\n")[2]
    in_machine("sh", "-ec", commands)
    is_well(project)
    is_restarted(project, in_machine_pid(engine, in_machine("systemctl", "show", "-P", "MainPID", "far-platform")))
    assert in_machine("systemctl", "show", "-P", "NRestarts", "far-platform").strip() == "1"
    in_machine("systemctl", "start", *(path.name for path in project.glob("export/systemd/*-health.service")))
    in_machine("systemctl", "stop", "far.target")
    assert run_toombos("health", *SERVICES, cwd=project).returncode == 1
    states = in_machine("systemctl", "show", "-P", "ActiveState", *(f"far-{name}" for name in SERVICES))
    assert set(states.split()) == {"inactive"}


def in_machine_pid(engine: Containers, inside: str) -> int:
    """Return the process of this machine that has a pid inside the container with systemd."""
    rows = engine.run("podman", "top", "machine", "pid", "hpid").splitlines()[1:]
    return next(int(outside) for row in rows for pid, outside in [row.split()] if pid == inside.strip())
