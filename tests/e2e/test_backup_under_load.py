"""Backups of a system that serves requests, and a restore: no acknowledged generation is lost."""

import json
import threading
from pathlib import Path

import httpx
import pytest

from tests.support.runner import Toombos
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(900)  # many processes: slow on a busy machine

BACKUPS = 20
BODY = {"preview_only": False, "publish_web": False, "generate_social": False}


class Clients:
    """Two threads that request content repeatedly and record the acknowledged ids and the failures."""

    def __init__(self, url: str) -> None:
        self.acknowledged: list[str] = []
        self.failures: list[str] = []
        self._url, self._stop = url, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=20) as client:
            while not self._stop.wait(0.02):
                try:
                    response = client.post("/api/v2/generate-content", json=BODY)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                if response.status_code == 200:
                    self.acknowledged.append(response.json()["content_id"])
                else:
                    self.failures.append(response.text)

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def stored(url: str, ids: list[str]) -> set[str]:
    """Return the ids that are in the history."""
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        return {one for one in ids if client.get(f"/api/v2/generations/{one}").status_code == 200}


def test_20_backups_under_load_and_a_restore_lose_no_acknowledged_generation(project: Path, toombos: Toombos) -> None:
    assert toombos("start", "--dry-run", timeout_s=120).returncode == 0
    rows = json.loads(toombos("status", "--json").stdout)["data"]["services"]
    url = f"http://127.0.0.1:{next(row['port'] for row in rows if row['name'] == 'generator')}"
    before: list[str] = []
    with Clients(url) as clients:
        wait_for(lambda: len(clients.acknowledged) > 5, within_s=30, what="the load")
        for number in range(BACKUPS):
            if number == BACKUPS // 2:
                before = list(clients.acknowledged)
            done = toombos("backup", "--json", "--no-prune")
            assert done.returncode == 0, done.stdout
            made = json.loads(done.stdout)["data"]
            assert [one["integrity"] for one in made["databases"]] == ["ok"]
            if number == BACKUPS // 2:
                archive = made["archive"]
    assert clients.failures == []
    assert stored(url, clients.acknowledged) == set(clients.acknowledged)
    done = toombos("restore", archive, "--json", timeout_s=120)
    assert done.returncode == 0, done.stdout
    assert stored(url, before) == set(before)
    assert len(before) > 5
    after = set(clients.acknowledged) - stored(url, clients.acknowledged)
    assert after, "the history contains generations from after the backup, so it was not restored"
