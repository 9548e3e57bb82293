"""`python -m toombos_cli` is `toombos`."""

from toombos_cli.entry import run

run()
