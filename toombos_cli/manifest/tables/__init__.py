"""The tables of `toombos.toml`, one file per table."""
