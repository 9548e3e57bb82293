"""`toombos backup --to` and `toombos restore URL` against a local S3 server and a directory."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.programs import REQUIRE_ALL
from tests.support.runner import Toombos, begin_toombos
from tests.support.waiting import wait_for

ARCHIVE = "toombos-20260101T000000Z-0000.tar.zst"

for _module in ("obstore", "moto"):
    if find_spec(_module) is None:
        if REQUIRE_ALL:
            pytest.fail(f"{_module} is not installed")
        pytest.skip(f"{_module} is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """The environment for a bucket named `bucket` on a private server."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    serve = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def bucket_made() -> bool:
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT")) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    try:
        wait_for(bucket_made, within_s=60, what="the S3 server")
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
        yield keys | {"AWS_ENDPOINT": url}
    finally:
        server.kill()
        server.wait()


def test_an_archive_is_copied_to_s3_and_restored_on_an_empty_machine(
    project: Path, toombos: Toombos, s3: dict[str, str]
) -> None:
    (project / "data").mkdir()
    (project / "data" / "note").write_text("precious")
    done = toombos("backup", "--to", "s3://bucket/nightly", "--json", env=s3)
    assert done.returncode == 0, done.stdout + done.stderr
    made = json.loads(done.stdout)["data"]
    assert made["remote"] == f"s3://bucket/nightly/{Path(made['archive']).name}"
    subprocess.run(["rm", "-rf", str(project / "backups"), str(project / "data")], check=True)
    done = toombos("restore", made["remote"], env=s3)
    assert done.returncode == 0, done.stderr
    assert (project / "data" / "note").read_text() == "precious"


def test_a_remote_that_cannot_be_written_is_reported_and_leaves_the_local_archive(
    project: Path, toombos: Toombos
) -> None:
    target = project / "elsewhere"
    target.write_text("a file where a directory should be")
    done = toombos("backup", "--to", f"file://{target}", "--json")
    assert done.returncode == 4
    made = json.loads(done.stdout)["data"]
    assert made["remote"] is None
    assert made["remote_problem"]
    assert Path(made["archive"]).exists()
    assert toombos("backup", "verify").returncode == 0


def test_every_backup_is_copied_to_the_remote_in_the_manifest(project: Path, toombos: Toombos, tmp_path: Path) -> None:
    target = tmp_path / "copies"
    target.mkdir()
    with (project / "toombos.toml").open("a") as file:
        file.write(f'[backup]\nremote = "file://{target}"\n')
    assert toombos("backup").returncode == 0
    (copy,) = target.glob("*.tar.zst")
    assert subprocess.run(["sha256sum", "-c", f"{copy.name}.sha256"], cwd=target, check=False).returncode == 0


@pytest.mark.parametrize(
    ("url", "code"), [("s3://bucket/nightly/nonsense", 2), ("nonsense://x/y", 2)], ids=["not an archive", "not a store"]
)
def test_a_url_that_does_not_name_an_archive_is_refused(project: Path, toombos: Toombos, url: str, code: int) -> None:
    done = toombos("restore", url)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def with_remote(project: Path, url: str) -> None:
    with (project / "toombos.toml").open("a") as file:
        file.write(f'[backup]\nremote = "{url}"\n')


def data(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["errors"] == [], document
    return document["data"] | {"verdict": document["verdict"]}


def test_archives_missing_at_the_remote_are_reported_and_copied(
    project: Path, toombos: Toombos, s3: dict[str, str]
) -> None:
    first = Path(data(toombos("backup", "--json"))["archive"]).name  # made before there was a remote
    with_remote(project, "s3://bucket/offsite")
    second = Path(data(toombos("backup", "--json", env=s3))["archive"]).name
    remote = data(toombos("backup", "list", "--json", env=s3))["remote"]
    assert [(row["name"], row["here"]) for row in remote["archives"]] == [(second, True)]
    assert (remote["missing"], remote["newest_good_missing"]) == ([first], False)
    shown = toombos("backup", "status", env=s3)
    assert f"warning: not at the remote: {first}" in shown.stderr
    assert "hint: toombos backup copy" in shown.stderr
    assert data(toombos("backup", "copy", "--json", env=s3))["copied"] == [f"s3://bucket/offsite/{first}"]
    assert data(toombos("backup", "status", "--json", env=s3))["remote"]["missing"] == []
    assert "nothing is missing" in toombos("backup", "copy", env=s3).stdout


def test_a_machine_without_local_archives_lists_those_at_the_remote(
    project: Path, toombos: Toombos, s3: dict[str, str]
) -> None:
    with_remote(project, "s3://bucket/lost")
    name = Path(data(toombos("backup", "--json", env=s3))["archive"]).name
    subprocess.run(["rm", "-rf", str(project / "backups")], check=True)
    assert f"only there: {name}" in toombos("backup", "list", env=s3).stdout


@pytest.mark.parametrize("command", ["list", "status", "prune"])
def test_a_remote_that_does_not_respond_is_a_warning_within_seconds(
    project: Path, toombos: Toombos, s3: dict[str, str], command: str
) -> None:
    assert toombos("backup").returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # accepts and never responds
        with_remote(project, "s3://bucket/nobody")
        env = s3 | {"AWS_ENDPOINT": f"http://127.0.0.1:{deaf.getsockname()[1]}"}
        done = toombos("backup", command, "--json", env=env, timeout_s=40)
    assert done.returncode == 0, done.stderr
    assert data(done)["remote"]["problem"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
@pytest.mark.parametrize("command", [["backup", "--to", "s3://bucket/x"], ["restore", f"s3://bucket/{ARCHIVE}"]])
def test_a_wait_for_a_remote_that_does_not_respond_can_be_interrupted(
    project: Path, s3: dict[str, str], command: list[str], number: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.settimeout(60)
        env = s3 | {"AWS_ENDPOINT": f"http://127.0.0.1:{deaf.getsockname()[1]}"}
        waiting = begin_toombos(*command, cwd=project, env=env)
        connection, _ = deaf.accept()
        with connection:
            waiting.send_signal(number)
            _, errors = waiting.communicate(timeout=20)
    assert (waiting.returncode, errors) == ({signal.SIGINT: 130, signal.SIGTERM: 143}[number], "")


def test_a_copy_that_is_truncated_or_was_never_verified_counts_as_missing(
    project: Path, toombos: Toombos, tmp_path: Path
) -> None:
    target = tmp_path / "copies"
    target.mkdir()
    with_remote(project, f"file://{target}")
    (cut, unchecked) = (Path(data(toombos("backup", "--json"))["archive"]).name for _ in range(2))
    (target / cut).write_bytes((target / cut).read_bytes()[:-1])
    (target / f"{unchecked}.sha256").unlink()
    remote = data(toombos("backup", "status", "--json"))["remote"]
    assert set(remote["missing"]) == {cut, unchecked}
    assert remote["newest_good_missing"]
    assert toombos("backup", "copy").returncode == 0
    status = data(toombos("backup", "status", "--json"))
    assert (status["remote"]["missing"], status["verdict"]) == ([], "pass")


def test_prune_leaves_the_remote_alone_and_lists_what_is_only_there(
    project: Path, toombos: Toombos, tmp_path: Path
) -> None:
    target = tmp_path / "copies"
    target.mkdir()
    with_remote(project, f"file://{target}")
    with (project / "toombos.toml").open("a") as file:
        file.write("[backup.retention]\nlast = 1\ndaily = 0\n")
    (old, new) = (Path(data(toombos("backup", "--no-prune", "--json"))["archive"]).name for _ in range(2))
    pruned = data(toombos("backup", "prune", "--json"))
    assert [Path(one["path"]).name for one in pruned["decisions"] if not one["keep"]] == [old]
    assert {row["name"]: row["here"] for row in pruned["remote"]["archives"]} == {old: False, new: True}
    assert (target / old).exists()
    assert f"only there: {old}" in toombos("backup", "list").stdout


KEEP_ONE = "[backup.retention]\nlast = 1\ndaily = 0\n"


def test_every_archive_in_an_object_store_is_verified_and_pruned(
    project: Path, toombos: Toombos, s3: dict[str, str]
) -> None:
    with_remote(project, "s3://bucket/kept")
    with (project / "toombos.toml").open("a") as file:
        file.write(KEEP_ONE)
    names = [Path(data(toombos("backup", "--no-prune", "--json", env=s3))["archive"]).name for _ in range(2)]
    verified = data(toombos("backup", "verify", "--remote", "--json", env=s3))["archives"]
    assert {one["path"] for one in verified} == {f"s3://bucket/kept/{name}" for name in names}
    assert "1 removed at the remote" in toombos("backup", "prune", "--remote", env=s3).stdout
    left = data(toombos("backup", "list", "--json", env=s3))["remote"]["archives"]
    assert [row["name"] for row in left] == [names[1]]


def test_a_missing_directory_of_a_remote_is_not_created(project: Path, toombos: Toombos, tmp_path: Path) -> None:
    target = tmp_path / "mnt" / "not mounted"
    done = toombos("backup", "--to", f"file://{str(target).replace(' ', '%20')}")
    assert done.returncode == 4
    assert "the directory of the remote does not exist" in done.stderr
    assert f"mkdir -m 700 -p '{target}'" in done.stderr
    assert not target.parent.exists()


def test_a_directory_that_had_copies_and_is_empty_gets_none_until_a_person_says_so(
    project: Path, toombos: Toombos, tmp_path: Path
) -> None:
    target = tmp_path / "mnt"
    target.mkdir()
    with_remote(project, f"file://{target}")
    assert toombos("backup").returncode == 0
    for copy in target.iterdir():
        copy.unlink()  # as a mount point looks without its disk
    for command in (("backup",), ("backup", "copy")):
        done = toombos(*command)
        assert (done.returncode, list(target.iterdir())) == (4, [])
        assert "mount its disk" in done.stderr
    assert "is empty" in data(toombos("backup", "status", "--json"))["remote"]["problem"]
    (target / ".toombos").touch()
    assert toombos("backup", "copy").returncode == 0


def test_copy_without_a_remote_explains_how_to_configure_one(toombos: Toombos) -> None:
    done = toombos("backup", "copy")
    assert done.returncode == 2
    assert "hint: [backup] remote" in done.stderr
