"""`toombos.toml`: the model of its tables, and the code that reads it."""

FILE_NAME = "toombos.toml"
ALERTS_LOG = "logs/alerts.log"
HEALTH_LOG = "logs/health-check.log"
SCHEDULE_LOG = "logs/schedule.log"
OWN_LOGS = {ALERTS_LOG: "the alerts", HEALTH_LOG: "`health --log`", SCHEDULE_LOG: "the scheduled jobs"}
"""The logs that toombos itself writes, and of what; only services of its monitoring may write to them, too."""
