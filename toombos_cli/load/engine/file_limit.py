"""The limit of open files, of which each connection needs one."""

import resource

from toombos_cli.base.errors import OperationError
from toombos_cli.load.plan import LoadPlan

_OTHER_FILES = 64  # open files of a process besides its connections


def raise_file_limit(plan: LoadPlan) -> None:
    """Raise the soft limit of open files to what the plan needs. Raise OperationError if the hard limit is lower."""
    share = plan.shares()[0]
    needed = (share.max_connections if plan.mode == "open" else share.connections) + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            option = "--max-connections" if plan.mode == "open" else "-c"
            raise OperationError(
                f"{needed - _OTHER_FILES} connections need {needed} open files, but the limit is {hard}",
                where=option,
                hint=f"use {option} {max(1, hard - _OTHER_FILES)}, or raise the hard limit (ulimit -Hn)",
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
