"""Ends the processes of one service with the grace period, signal and command of its manifest."""

import signal
import time

import msgspec

from toombos_cli import processes
from toombos_cli.base.text import seconds
from toombos_cli.manifest.tables.service import Service
from toombos_cli.supervisor import spawning
from toombos_cli.supervisor.asking import Asking
from toombos_cli.supervisor.process_look import SharedLooks
from toombos_cli.supervisor.protocol import EndedProcess, ServicePlan
from toombos_cli.supervisor.service_process import Running
from toombos_cli.supervisor.stop_command import StopCommand, WatchChild


def those_killed(ended: EndedProcess) -> str:
    """Return which processes had to be killed, and after which time, or ""."""
    named = ", ".join(f"pid {killed.pid} ({killed.command})" for killed in ended.killed)
    return f"killed after {seconds(ended.grace_period_s)}: {named}" if named else ""


def after_the_end(service: Service, ended: EndedProcess) -> str:
    """Return what is worth knowing after a stop: who was killed, and who owns the port if it is not free."""
    port = [spawning.port_failure(service, listener).message for listener in spawning.listeners_of(service)]
    return "; ".join(filter(None, (those_killed(ended), *port)))


def ended_main(running: Running, service: Service) -> EndedProcess:
    """Return the main process of a tree as one that was asked to end."""
    return EndedProcess(
        service=service.name,
        pid=running.tree.leader.pid,
        stop_signal=f"SIG{service.stop_signal}",
        grace_period_s=service.grace_period_s,
    )


class TreeEnding:
    """Ends one tree after the other of a service; `last` is how the last one ended, None if none has since a start."""

    def __init__(self, looks: SharedLooks, watch_child: WatchChild) -> None:
        self.last: EndedProcess | None = None
        self._looks = looks
        self._watch_child = watch_child
        self._asking: Asking | None = None
        self._in_hurry = False

    def hurry(self) -> None:
        """Kill what is being ended, now and from now on, without waiting for the rest of its grace period."""
        self._in_hurry = True
        if self._asking is not None:
            self._asking.hurry()

    async def end(self, running: Running, service: Service, plan: ServicePlan | None) -> EndedProcess:
        """Ask every process of the tree to end, kill what does not, and return how it went. Raises StubbornError.

        Without a plan the environment of the stop command is unknown, and it does not run.
        """
        leader = running.tree.leader
        began = time.monotonic()
        command = None
        if plan is not None and service.stop_command and processes.is_alive(leader):
            command = StopCommand(plan, leader.pid, self._watch_child)
        asking = Asking(leader.pid, service.grace_period_s, signal.Signals[f"SIG{service.stop_signal}"], command)
        self._asking = asking
        if self._in_hurry:
            asking.hurry()
        try:
            killed = await running.tree.end(asking, self._looks)
            if command is not None:
                await command.wait(asking.grace_s - (time.monotonic() - began))
        finally:
            if command is not None:
                command.kill()
        failure = command.failure if command is not None and asking.has_signalled else None
        self.last = msgspec.structs.replace(
            ended_main(running, service), grace_period_s=asking.grace_s, killed=killed, stop_command_failure=failure
        )
        return self.last
