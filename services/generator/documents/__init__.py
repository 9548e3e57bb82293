"""The living document: its sources and its parser."""
