"""`python -m toombos_cli` is `toombos`."""

from toombos_cli.main import run

run()
