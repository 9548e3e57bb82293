"""`toombos.toml`: the model of its tables, and the code that reads it."""

FILE_NAME = "toombos.toml"
