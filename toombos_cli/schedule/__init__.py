"""Periodic jobs: installed in systemd's user timers or cron, run one at a time, recorded."""
