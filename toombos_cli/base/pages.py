"""Where the pages of the documentation are, for messages that refer to one."""

import sysconfig
from pathlib import Path


def page_path(name: str) -> str:
    """Return the absolute path of a page such as `monitoring-runbook.md`, in the checkout or an installed wheel."""
    checkout = Path(__file__).parents[2] / "docs" / name
    return str(checkout if checkout.is_file() else Path(sysconfig.get_path("data"), "share", "doc", "toombos", name))
