"""Which mode the configuration is judged for, when the user names none."""

from toombos_cli.manifest.model import DRY_RUN, Manifest
from toombos_cli.project.state import RUNNING, observed, read_state
from toombos_cli.settings.env_file import ENV_FILE


def mode_now(manifest: Manifest) -> str | None:
    """The mode of the running system; where nothing runs, the dry run if there is no `.env` that might ask for another.

    None is the mode that `.env` and the environment make by themselves.
    """
    state = read_state(manifest.project)
    if state is not None and any(service.phase in RUNNING for service in observed(state).services.values()):
        return state.mode if state.mode in manifest.modes else None
    return DRY_RUN if DRY_RUN in manifest.modes and not (manifest.project / ENV_FILE).exists() else None
