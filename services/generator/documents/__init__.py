"""The living document: where it is read from, and what it says."""
