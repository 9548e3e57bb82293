"""Waits until services are ready, however they were started."""

import time
from collections.abc import Iterable

from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Question, Service
from toombos_cli.probes import is_ready
from toombos_cli.project.service_probe import ask_service, why_not_known

_POLL_S = 0.1


def wait_until_ready(manifest: Manifest, services: Iterable[Service], wait_s: float) -> None:
    """Wait until all services are ready, or the time is up; a check that follows reports the others."""
    deadline = time.monotonic() + wait_s
    waiting = [service for service in services if why_not_known(service) is None]
    while waiting and time.monotonic() < deadline:
        if is_service_ready(manifest, waiting[0]):
            waiting.pop(0)
        else:
            time.sleep(_POLL_S)


def is_service_ready(manifest: Manifest, service: Service) -> bool:
    """Report whether the service is ready, and as healthy as what follows demands."""
    questions: tuple[Question, ...] = ("health",) if service.ready is None else ("ready", "health")
    for question in questions:
        result = ask_service(manifest, service, question)
        if not is_ready(result.reason, result.cause):
            return False
    return True
