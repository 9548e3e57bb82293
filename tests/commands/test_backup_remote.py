"""`toombos backup --to` and `toombos restore URL` against a local S3 server and a directory."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import REQUIRE_ALL, Toombos, free_port, wait_for

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
            with urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT")) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    try:
        wait_for(bucket_made, within_s=60, what="the S3 server")
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
        yield keys | {"AWS_ENDPOINT": url}
    finally:
        server.kill()
        server.wait()


def test_an_archive_goes_to_s3_and_comes_back_to_an_empty_machine(
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


def test_a_store_that_does_not_answer_leaves_the_local_archive_and_says_so(project: Path, toombos: Toombos) -> None:
    target = project / "elsewhere"
    target.write_text("a file where a directory should be")
    done = toombos("backup", "--to", f"file://{target}", "--json")
    assert done.returncode == 4
    made = json.loads(done.stdout)["data"]
    assert made["remote"] is None
    assert made["remote_problem"]
    assert Path(made["archive"]).exists()
    assert toombos("backup", "verify").returncode == 0


def test_the_manifests_remote_receives_every_backup(project: Path, toombos: Toombos, tmp_path: Path) -> None:
    target = tmp_path / "copies"
    with (project / "toombos.toml").open("a") as file:
        file.write(f'[backup]\nremote = "file://{target}"\n')
    assert toombos("backup").returncode == 0
    (copy,) = target.glob("*.tar.zst")
    assert subprocess.run(["sha256sum", "-c", f"{copy.name}.sha256"], cwd=target, check=False).returncode == 0


@pytest.mark.parametrize(
    ("url", "code"), [("s3://bucket/nightly/nonsense", 2), ("nonsense://x/y", 2)], ids=["no archive", "no store"]
)
def test_an_address_that_names_no_archive_is_refused(project: Path, toombos: Toombos, url: str, code: int) -> None:
    done = toombos("restore", url)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
