"""The shop on Django as a service: its command, its project, and the steps of a login."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.foreign import ForeignSystem, Keys

PROGRAM = Path(__file__).parent / "programs" / "shop.py"
SECRET = "m7Qx2LpVt9Rw4Zk8"
MIGRATE = ("shop.py", "migrate", "-v0")
"""The arguments that make the tables and the member."""
HOST = {"Host": "shop.example.com"}
"""The host that Django allows."""
HTTPS = HOST | {"X-Forwarded-Proto": "https"}


def gunicorn(bind: str = "{host}:{port}", *options: str) -> list[str]:
    """Return the command that serves the shop."""
    return ["{python}", "-m", "gunicorn", "--no-control-socket", "--bind", bind, *options, "shop:application"]


def install(system: ForeignSystem) -> None:
    """Put the shop into the project, with the password of its member as a secret variable."""
    shutil.copy(PROGRAM, system.project)
    system.tables["environment.SHOP_PASSWORD"] = {"description": "The password of the member", "secret": True}
    (system.project / ".env").write_text(f"SHOP_PASSWORD={SECRET}\n")
    (system.project / ".env").chmod(0o600)


def migrate(system: ForeignSystem) -> None:
    """Make the tables and the member in SQLite."""
    subprocess.run([sys.executable, *MIGRATE], cwd=system.project, check=True)


PASSWORD = "${env.SHOP_PASSWORD}"


def log_in(service: str, password: str = PASSWORD, **more: object) -> list[Keys]:
    """Return the steps that open the form and send it."""
    return [
        {"name": "for-tests", "service": service, "path": "/health", "proves_dry_run": True},
        {
            "name": "form",
            "service": service,
            "path": "/login",
            "response_cookies": {"csrftoken": {"min_length": 32}},
            "capture": {"token": {"text": 'name="csrfmiddlewaretoken" value="([^"]+)"'}},
        },
        {
            "name": "log-in",
            "service": service,
            "method": "POST",
            "path": "/login",
            "form": {"username": "ada", "password": password, "csrfmiddlewaretoken": "${token}"},
        }
        | more,
    ]
