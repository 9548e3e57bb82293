"""The periodic work: told to systemd's user timers or to cron, run one job at a time, recorded."""
