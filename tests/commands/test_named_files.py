"""Files named on the command line that cannot be used: the error shows the name, the reason and a hint."""

import os
import socket
import stat
import subprocess
import sys
import threading

import pytest

from tests.support.programs import obeying_file_modes
from tests.support.runner import run_toombos
from toombos_cli.cli.output_files import write_output

TO_READ = {
    "load http://HOST/ -p FILE": 3,
    "load http://HOST/ --scenario FILE": 3,
    "load http://HOST/ --baseline FILE": 3,
    "diagnose --from FILE": 4,
}
ARCHIVES = {"backup verify FILE": 4, "backup drill FILE": 4, "restore FILE --yes --no-start": 4}
TO_WRITE = (
    "load http://HOST/ --csv FILE",
    "load http://HOST/ --html FILE",
    "load http://HOST/ --junit FILE",
    "load http://HOST/ --save-baseline FILE",
    "smoke --junit FILE",
    "diagnose --html FILE",
    "diagnose --bundle FILE",
)


@pytest.fixture
def ask(project):
    server = socket.create_server(
        ("127.0.0.1", 0)
    )  # accepts connections: a load run checks the target before it starts

    def run(line, file):
        line = line.replace("//HOST", f"//127.0.0.1:{server.getsockname()[1]}")
        return run_toombos(*line.replace("FILE", str(file)).split(), cwd=project, through=obeying_file_modes())

    yield run
    server.close()


@pytest.mark.parametrize(("line", "code"), (TO_READ | ARCHIVES).items())
def test_a_file_that_may_not_be_read_is_reported_with_the_systems_reason(line, code, ask, project):
    (project / "secret").write_text("{}")
    (project / "secret").chmod(0)
    done = ask(line, "secret")
    output = done.stdout + done.stderr
    assert (done.returncode, "Permission denied" in output, "secret" in output) == (code, True, True), output
    assert "hint: " in done.stderr or line in ARCHIVES


@pytest.mark.parametrize(("file", "reason"), [(".", "Is a directory"), ("gone", "No such file or directory")])
@pytest.mark.parametrize(("line", "code"), TO_READ.items())
def test_a_directory_or_absent_file_is_reported_in_the_same_words(line, code, file, reason, ask):
    done = ask(line, file)
    assert done.returncode == code
    assert f"error: {file}: cannot be read: {reason}\nhint: " in done.stderr


@pytest.mark.parametrize("line", TO_WRITE)
def test_a_file_that_cannot_be_written_is_refused_before_the_work_starts(line, ask, project):
    (project / "folder").mkdir()
    (project / "protected").touch()
    (project / "protected").chmod(0o400)
    option = line.split()[-2]
    for file, reason in {"folder": "is a directory", "protected": "is not writable for this user"}.items():
        done = ask(line, file)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: {option} {file}: {reason}\nhint: ")


@pytest.mark.parametrize("option", ["--html", "--bundle"])
def test_diagnose_creates_the_directory_of_its_output_file(option, ask, project):
    ask(f"diagnose --only python {option} FILE", "reports/today/page")
    assert (project / "reports" / "today" / "page").is_file()


def test_a_drill_of_an_archive_elsewhere_needs_no_backup_directory(toombos, project, tmp_path):
    (project / "data").mkdir()
    (project / "data" / "note.txt").write_text("kept")
    assert toombos("backup").returncode == 0
    (archive,) = (project / "backups").glob("*.tar.zst")
    archive.rename(project / archive.name)
    (project / "backups").rename(project / "moved-away")
    assert toombos("backup", "drill", archive.name).returncode == 0


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_output(pipe, b"<page>")
    reader.join(10)
    assert (received, pipe.is_fifo()) == ([b"<page>"], True)


def test_a_page_written_to_redirected_stdout_follows_earlier_output(tmp_path):
    code = (
        "from pathlib import Path; from toombos_cli.cli.output_files import write_output\n"
        "print('first', flush=True); write_output(Path('/dev/stdout'), b'<page>')"
    )
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", code], stdout=log, check=True)
    assert (tmp_path / "log").read_text() == "first\n<page>"


def test_a_symbolic_link_is_kept_and_its_target_is_written(tmp_path):
    (tmp_path / "real.html").write_text("old")
    (tmp_path / "link.html").symlink_to("real.html")
    write_output(tmp_path / "link.html", b"new")
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "real.html").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "real.html").stat().st_mode) == 0o600
