"""A project whose alerts go to a webhook receiver inside the test."""

import json
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.waiting import wait_for
from toombos_cli.project import alert_spool

SECRET = "hunter2-token-of-the-receiver"


class Webhook:
    """A receiver: the messages that arrived, and the statuses it responds with."""

    def __init__(self, httpserver):
        self.url = httpserver.url_for("").replace("http://", "json://") + f"hook/{SECRET}"
        self.received = []
        self.statuses = []
        self.before_responding = lambda: None
        httpserver.expect_request(f"/hook/{SECRET}", method="POST").respond_with_handler(self._respond)

    def _respond(self, request):
        from werkzeug import Response

        self.before_responding()
        self.received.append(json.loads(request.get_data()))
        return Response("", status=self.statuses.pop(0) if self.statuses else 200)

    @property
    def titles(self):
        return [message["title"] for message in self.received]


@pytest.fixture
def webhook(httpserver) -> Webhook:
    return Webhook(httpserver)


@pytest.fixture
def alerting(project: Path, webhook) -> Path:
    """A project with one channel, whose secret is in `.env`."""
    add_alerts(project, url="${HOOK_URL}")
    (project / ".env").write_text(f"HOOK_URL={webhook.url}\n")
    return project


def add_alerts(project: Path, *, url: str, more: str = "") -> None:
    text = (project / "toombos.toml").read_text()
    text += f"[services.alerts]\nport = {free_port()}\n"
    text += "[alerts]\nmax_per_hour = 20\n[alerts.delivery]\nattempts = 3\nfirst_pause_s = 0.05\ntimeout_s = 2\n"
    text += f'[alerts.channels.hook]\nurl = "{url}"\n{more}'
    (project / "toombos.toml").write_text(text)


def log_lines(project: Path, containing: str):
    path = project / "logs" / "alerts.log"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if containing in line]


def wait_until_quiet(project: Path) -> None:
    """Wait until no sender is running and the spool is empty."""
    import fcntl

    def quiet() -> bool:
        directory = project / "run" / "alerts"
        if (directory / "spool.jsonl").exists() or not (directory / "sender.lock").exists():
            return False
        with (directory / "sender.lock").open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    wait_for(quiet, within_s=30, what="the sender to end")
    for sender in alert_spool._begun:  # started by this process
        sender.wait(10)
