"""No password stands in an argument of a program that toombos runs: every user of the machine can read those."""

import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.runner import run_toombos

PASSWORD = "pw of-the/database:9"
KEY_PASSWORD = "pw-of-the-private-key-9"
ENCODED = quote(PASSWORD, safe="")

URLS = {
    "in the user part": f"postgresql://app:{ENCODED}@127.0.0.1/shop",
    "in a parameter": f"postgresql://app@127.0.0.1/shop?password={ENCODED}",
    "in both": f"postgresql://app:{ENCODED}@127.0.0.1/shop?password={ENCODED}&sslmode=disable",
    "with a driver": f"postgresql+psycopg://app:{ENCODED}@127.0.0.1/shop",
    "of the private key": f"postgresql://app:{ENCODED}@127.0.0.1/shop?sslkey=/k.pem&sslpassword={KEY_PASSWORD}",
}

# It notes its own arguments, as the kernel shows them, and behaves as far as a backup needs.
RECORDER = """#!{python}
import os, sys
with open({log!r}, "ab") as log:
    log.write(open("/proc/self/cmdline", "rb").read() + b"\\n")
    service = os.environ.get("PGSERVICEFILE")
    mode = oct(os.stat(service).st_mode & 0o777) if service else "-"
    log.write(f"PGPASSWORD={{os.environ.get('PGPASSWORD') is not None}} PGSERVICEFILE={{mode}}\\n".encode())
if "--version" in sys.argv:
    print(os.path.basename(sys.argv[0]), "(PostgreSQL) 15.4")
for word in sys.argv:
    if word.startswith("--file="):
        open(word.removeprefix("--file="), "w").write("dump")
if os.path.basename(sys.argv[0]) == "psql" and "-c" not in sys.argv:
    print("snapshot-1\\n15", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_the_password_of_a_database_is_in_no_argument(url: str, tmp_path: Path) -> None:
    project, programs, log = tmp_path / "project", tmp_path / "bin", tmp_path / "log"
    project.mkdir()
    programs.mkdir()
    for name in ("psql", "pg_dump", "pg_restore"):
        (programs / name).write_text(RECORDER.format(python=sys.executable, log=str(log)))
        (programs / name).chmod(0o755)
    (project / "toombos.toml").write_text('[services.x]\ncommand = ["sleep", "9"]\nscheme = "none"\n')
    (project / ".env").write_text(f'DATABASE_URL="{url}"\n')
    (project / ".env").chmod(0o600)

    done = run_toombos("backup", "--json", cwd=project, env={"PATH": f"{programs}:/usr/bin:/bin"})

    recorded = log.read_bytes().decode()
    assert "pg_dump" in recorded, done.stdout
    for secret in (PASSWORD, ENCODED, KEY_PASSWORD):
        assert secret not in recorded
        assert secret not in done.stdout + done.stderr
    assert "PGPASSWORD=True" in recorded
    assert ("PGSERVICEFILE=0o600" in recorded) == (KEY_PASSWORD in url)
