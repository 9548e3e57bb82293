"""The toombos command line: start, watch, test, load, diagnose, back up and restore HTTP services."""

import gc

# First of all: imports leave nothing to collect, and looking for it takes a tenth of the time that a command needs.
gc.set_threshold(50_000)

__version__ = "1.0.0"
