"""`toombos.toml`: the model of its tables, and reading it."""

FILE_NAME = "toombos.toml"
