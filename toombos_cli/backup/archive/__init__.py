"""The archive format (docs/backup-format.md): writing, reading, verifying and encrypting one archive."""
