"""The services that a command may name even if the manifest is broken: `stop`, `status` and `logs` must still work."""

from typing import TYPE_CHECKING

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.cli.invocation import Invocation

if TYPE_CHECKING:
    from toombos_cli.manifest.model import Manifest
    from toombos_cli.manifest.tables.service import Service


def known_services(
    invocation: Invocation, asked: list[str] | None
) -> "tuple[dict[str, Service], tuple[str, ...], Manifest | None]":
    """Return the services, the given names, and the manifest, or None if it cannot be read.

    Without a manifest, the services are those last started, or, if no state can be read, those found running. Raises
    UsageError for an unknown name.
    """
    from toombos_cli.cli.service_names import named_services
    from toombos_cli.project.state import read_state

    state = read_state(invocation.project)
    running = {name: entry.service for name, entry in state.services.items()} if state else {}
    manifest = None
    try:
        manifest = invocation.manifest
        known = dict(manifest.services)
    except ConfigurationError as error:
        running = running or _found_running(invocation)
        if not running:
            raise
        from toombos_cli.render.problems import print_problems

        print_problems(error.problems, invocation.stderr)
        known = running
    return known, named_services(asked or (), known, also=running), manifest


def _found_running(invocation: Invocation) -> "dict[str, Service]":
    from toombos_cli.project.own_processes import unsupervised_state  # only if manifest and state are lost

    state = unsupervised_state(invocation.project, {})
    return {name: entry.service for name, entry in state.services.items()} if state else {}
