"""The toombos command line: start, watch, test, load, diagnose, back up and restore HTTP services."""

__version__ = "1.0.0"
