"""Alerts are sent even if the disk is full."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.waiting import wait_for
from tests.unit.alerts.conftest import Webhook
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.project import alert_spool
from toombos_cli.project.alert_spool import AlertDirectory, AlertEvent, emit


@pytest.fixture
def full(tmp_path: Path, httpserver):
    """A project on a full disk, and the receiver of its alert channel."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", disk], check=False).returncode:
        pytest.skip("mount -t tmpfs is not permitted")
    webhook = Webhook(httpserver)
    (disk / "toombos.toml").write_text(
        f'extends = "toombos"\n[services.alerts]\nport = {free_port()}\n[alerts.channels.hook]\nurl = "{webhook.url}"\n'
    )
    directory = AlertDirectory(disk)
    directory.path.mkdir(parents=True)
    with (disk / "filler").open("wb") as file:
        while True:
            try:
                os.write(file.fileno(), b"x" * 4096)
            except OSError:
                break
    yield disk, webhook
    for sender in alert_spool._begun:
        sender.wait(30)
    subprocess.run(["umount", disk], check=True)


def test_an_alert_is_sent_even_if_the_disk_is_full(full):
    disk, webhook = full
    event = AlertEvent(key="disk", source="test", severity=Severity.P0, title="the disk is full")
    assert emit(disk, event)
    wait_for(lambda: webhook.titles, within_s=20, what="the message")
    assert webhook.titles == ["[P0] toombos: the disk is full"]
