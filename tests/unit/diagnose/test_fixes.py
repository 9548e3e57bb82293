"""Which printed fixes may be run without a person: nothing that could harm somebody else's work."""

from pathlib import Path

import pytest

from toombos_cli.diagnose.fixes import is_safe

PROJECT = Path("/srv/shop")
TOOMBOS = f"toombos --project {PROJECT}"


@pytest.mark.parametrize(
    "command",
    [
        f"{TOOMBOS} start",
        f"{TOOMBOS} start --dry-run crm",
        f"{TOOMBOS} restart --changed",
        f"{TOOMBOS} config init",
        f"{TOOMBOS} monitoring reload",
        "kill -CONT 17 18",
        "chmod 600 /srv/shop/.env",
        r"sed -i -E '3s/^(\s*(export\s+)?DRY_RUN_MODE)\s*:\s*/\1=/' /srv/shop/.env",
        r"sed -i -E '4{/^\s*(export\s+)?X\s*=/d}' /srv/shop/.env",
        r"printf '%s\n' DRY_RUN_MODE=true >> /srv/shop/.env",
    ],
)
def test_is_run(command: str):
    assert is_safe(command, PROJECT)


@pytest.mark.parametrize(
    "command",
    [
        "kill 17",
        "kill 17 && timeout 10 tail --pid=17 -f /dev/null; toombos --project /srv/shop start crm",
        "kill -CONT 17; rm -rf /",
        "kill -CONT $(pidof x)",
        "unset DRY_RUN_MODE",
        "export DRY_RUN_MODE=true",
        f"{TOOMBOS} stop",
        f"{TOOMBOS} restore --latest-good",
        f"{TOOMBOS} start; rm -rf /",
        f"{TOOMBOS} start && reboot",
        "toombos --project /elsewhere start",
        "chmod 600 /etc/shadow",
        "chmod 777 /srv/shop/.env",
        "sed -i -E 's/a/b/' /srv/shop/.env",
        "sed -i -E '3s/a/b/' /etc/passwd",
        "sed -i -E '3s/a/b/' /srv/shop/.env; rm x",
        "sed -i -E '3s/a/b/e' /srv/shop/.env",
        'sed -i -E "3s/a/$(id)/" /srv/shop/.env',
        r"printf '%s\n' X=1 >> /etc/environment",
        "pip install x",
        "unbalanced 'quote",
        "",
    ],
)
def test_is_not_run(command: str):
    assert not is_safe(command, PROJECT)
