"""Backup and restore: one verified archive file, and a restore that leaves the old or the new state whole."""
