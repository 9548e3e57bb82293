"""A service's unit, apart from its processes."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.state import FailureKind, Phase, RunDirectory, ServiceState
from toombos_cli.supervisor.process_look import SharedLooks
from toombos_cli.supervisor.protocol import ServiceFailure
from toombos_cli.supervisor.unit import ServiceUnit


class FullDisk:
    """A supervisor that cannot note a change."""

    def __init__(self, project: Path) -> None:
        self.run = RunDirectory(project)
        self.looks = SharedLooks(tuple)

    def changed(self, unit: ServiceUnit) -> None:
        raise OSError("No space left on device")

    def why_not_restarted(self, place: Path) -> str | None:
        return None

    def leave_if_idle(self) -> None:
        """Stay."""

    def watch_child(self, child: "subprocess.Popen[bytes]", ended: Callable[[int], None]) -> None:
        raise AssertionError("nothing is spawned")


def test_a_command_that_waits_for_a_change_goes_on_even_if_the_change_cannot_be_noted(tmp_path: Path) -> None:
    async def fail_while_waited_for() -> None:
        service = Service(name="crm", command=("true",), port=8001)
        state = ServiceState(service=service, desired=True, phase=Phase.STARTING)
        unit = ServiceUnit(state, None, FullDisk(tmp_path))
        waiting = asyncio.create_task(unit.wait_settled())
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="No space left"):
            unit.refuse(ServiceFailure(service="crm", kind=FailureKind.EXITED, message="it ended"))
        await asyncio.wait_for(waiting, 5)

    asyncio.run(fail_while_waited_for())
