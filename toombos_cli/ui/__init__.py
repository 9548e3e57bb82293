"""The screen of `toombos ui`: services, logs, details and the output of commands, drawn by Textual.

Its thread only paints. Everything that may take time, a status, a log, a probe, is read in a thread of its own.
"""
