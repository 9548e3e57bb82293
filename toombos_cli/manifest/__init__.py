"""`toombos.toml`: the model of its tables, and the code that reads it."""

FILE_NAME = "toombos.toml"
ALERTS_LOG = "logs/alerts.log"
"""Where toombos logs the alerts of a project; only services of its monitoring may, too."""
