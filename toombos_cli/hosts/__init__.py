"""Runs a command of toombos on several hosts at once, through the system's ssh."""
