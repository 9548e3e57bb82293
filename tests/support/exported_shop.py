"""A shop to export: a database, a cache, a migration, an application, a worker, a front end, and secrets."""

from pathlib import Path

CANARIES = (
    "Canary-Cmd-77xQ",
    "Canary-Url-55zR",
    "Canary-Env-99kL",
    "Canary-Dot-11aB",
    "Canary-Tok-22cD",
    "canary-plain",
)
"""No exported file holds any of them."""

ENV_FILE = "PROBE_KEY=Canary-Dot-11aB\nPLAIN_SETTING=canary-plain\nAPI_TOKEN=Canary-Tok-22cD\n"

MANIFEST = r"""
name = "Shop"
[services.db]
command = ["/usr/lib/postgresql/15/bin/postgres", "-D", "{project}/data/pg", "-h", "{host}", "-p", "{port}", "-k", ""]
port = 5432
scheme = "tcp"
stop_signal = "INT"
health = { command = ["pg_isready", "-h", "127.0.0.1", "-p", "{port}"] }
[services.cache]
command = ["redis-server", "--bind", "{host}", "--port", "{port}", "--requirepass", "Canary-Cmd-77xQ"]
port = 6379
scheme = "tcp"
[services.migrate]
kind = "task"
command = ["{python}", "manage.py", "migrate"]
depends_on = ["db"]
timeout_s = 300
env = { DATABASE_URL = "postgresql://shop:Canary-Url-55zR@{services.db.host}:{services.db.port}/shop" }
[services.web]
title = "The shop's pages"
command = ["{python}", "web.py", "--bind", "{host}:{port}"]
port = 8100
health = { path = "/health", status = 204, headers = { X-Key = "${env.PROBE_KEY}" } }
live = "/live"
metrics = "/metrics"
restart_when_unhealthy = true
depends_on = { migrate = "completed", cache = "ready", db = { when = "ready", restart = true } }
default_env = { WORKERS = "2", GREETING = 'say "hi" \ all' }
limits = { memory_restart_mb = 512, cpu_restart_percent = 90 }
restart = { policy = "on-failure", crash_loop_count = 3 }
groups = ["front"]
watch = ["shop"]
latency_warn_ms = 300
[services.web.env]
SECRET_KEY = "Canary-Env-99kL"
CACHE_URL = "redis://{services.cache.host}:{services.cache.port}/0"
PRICE = "5$ or 100%"
[services.worker]
command = ["{python}", "worker.py"]
scheme = "none"
depends_on = ["cache"]
stop_signal = "QUIT"
grace_period_s = 30
cwd = "shop"
[services.front]
command = ["{python}", "front.py"]
port = 8180
health = "/"
health_answer = "page"
depends_on = ["web"]
optional = true
[modes.test]
env = { SHOP_MODE = "test" }
[environment.PROBE_KEY]
description = "Key"
secret = true
[schedule.nightly]
command = ["backup", "create"]
at = "02:00"
[schedule.revival]
command = ["start", "--adopt"]
every_minutes = 5
"""


def write_shop(project: Path) -> Path:
    """Write the shop's project into a directory and return it."""
    (project / "shop").mkdir(parents=True)
    for name in ("manage.py", "web.py", "front.py", "shop/worker.py", "requirements.txt", "server.key"):
        (project / name).touch()
    (project / "toombos.toml").write_text(MANIFEST)
    env_file = project / ".env"
    env_file.touch(0o600)
    env_file.write_text(ENV_FILE)
    return project
