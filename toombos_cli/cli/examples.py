"""The examples and the page of each command: `--help`, `toombos help` and the man pages show them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guide:
    """What a command's help ends with: the page that explains more, and command lines with what each does."""

    page: str
    examples: tuple[tuple[str, str], ...]


GUIDES: dict[str, Guide] = {
    "start": Guide(
        "operations",
        (
            ("toombos start --preview", "See what would be started."),
            ("toombos start shop", "Start one service and what it depends on."),
            ("toombos start @web --timeout 30", "Start a group; give up after 30 seconds."),
            ("toombos start --foreground", "Stay, print the services' output, stop them at Ctrl-C."),
        ),
    ),
    "stop": Guide(
        "operations",
        (("toombos stop", "Stop everything."), ("toombos stop shop", "Stop one service and what depends on it.")),
    ),
    "restart": Guide(
        "operations",
        (
            ("toombos restart", "Stop everything and start it again."),
            ("toombos restart shop", "Restart one service after changing its code."),
        ),
    ),
    "run": Guide(
        "manifest",
        (
            ("toombos run migrate", "Run a task, such as a migration."),
            ("toombos run migrate -- --plan", "Pass an argument to the task."),
        ),
    ),
    "status": Guide(
        "operations",
        (
            ("toombos status", "Show every service."),
            ("toombos status --watch", "Keep the table up to date; q ends it."),
            ("toombos status --short", "Print one line, for a shell prompt."),
            ("toombos status --hosts all", "Show the services of every host of the manifest."),
        ),
    ),
    "logs": Guide(
        "operations",
        (
            ("toombos logs shop -n 20", "Show the last 20 lines of one service."),
            ("toombos logs -f", "Follow the logs of all services."),
            ("toombos logs --errors --since 1h", "Show the errors of the last hour."),
            ("toombos logs --grep 'job [0-9]+'", "Show the lines that match."),
            ("toombos logs --hosts web1,web2 --errors", "Show the errors on two hosts."),
        ),
    ),
    "events": Guide(
        "operations",
        (
            ("toombos events", "Show who started and stopped what, and why."),
            ("toombos events shop --since 1d", "Show one service's last day."),
        ),
    ),
    "exec": Guide(
        "manifest",
        (("toombos exec shop -- env", "Show the variables that the service gets."),),
    ),
    "ui": Guide(
        "ui",
        (
            ("toombos ui", "Watch everything on one screen; ? lists the keys, q ends it."),
            ("toombos ui --light", "Use dark text on a light background."),
        ),
    ),
    "health": Guide(
        "health",
        (
            ("toombos health", "Check every service once."),
            ("toombos health shop --watch 5", "Check one service every 5 seconds; q ends it."),
            ("toombos health --at all", "Check the system at every place of the manifest."),
            ("toombos health --hosts all", "Let every host of the manifest check itself."),
            ("toombos health --format nagios", "Print the result for Nagios or Icinga."),
            ("toombos health --format junit > health.xml", "Write a JUnit file, for CI."),
        ),
    ),
    "smoke": Guide(
        "smoke",
        (
            ("toombos smoke", "Run every step."),
            ("toombos smoke --only front", "Run one step and those that it needs."),
            ("toombos smoke --at staging", "Use the system at another place."),
            (
                "toombos smoke --wait 60 --junit smoke.xml",
                "Wait until every service is ready; write a JUnit file, for CI.",
            ),
        ),
    ),
    "load": Guide(
        "load",
        (
            ("toombos load", "Send 100 requests, 10 at a time."),
            ("toombos load --rate 20 --duration 2s", "Send 20 requests per second."),
            ("toombos load -n 50 --slo 'p99<800ms,error_rate<1%'", "Fail if an objective is missed."),
            ("toombos load -n 50 --at staging", "Load another place, if the manifest allows it."),
            ("toombos load -n 50 --html load.html", "Write a page with charts."),
            ("toombos load -n 50 --csv - > load.csv", "Write the time series to stdout."),
        ),
    ),
    "diagnose": Guide(
        "diagnose",
        (
            ("toombos diagnose", "Find problems and their causes."),
            ("toombos diagnose --only config", "Run one group of checks."),
            ("toombos diagnose --fix", "Run the safe fixes, asking before each."),
            ("toombos diagnose --at staging", "Find out what another place says of itself."),
            ("toombos diagnose --bundle case.tar.zst", "Save all evidence, without secrets."),
            ("toombos diagnose --hosts all --bundle case.tar.zst", "Save the evidence of every host, in a file each."),
        ),
    ),
    "backup": Guide(
        "operations",
        (
            ("toombos backup", "Make an archive while the services run."),
            ("toombos backup list", "List the archives."),
            ("toombos backup drill", "Prove that the newest one restores."),
        ),
    ),
    "backup create": Guide(
        "operations",
        (
            ("toombos backup create --pin", "Make an archive that is never pruned."),
            ("toombos backup create --hosts all", "Make an archive on every host of the manifest."),
            ("toombos backup create --to file:///srv/archives", "Also copy it to another place."),
        ),
    ),
    "backup list": Guide("operations", (("toombos backup list", "List the archives, newest first."),)),
    "backup copy": Guide(
        "operations",
        (("toombos backup copy --to file:///srv/archives", "Copy the good archives that are missing there."),),
    ),
    "backup verify": Guide("backup-format", (("toombos backup verify", "Compare every checksum of every archive."),)),
    "backup prune": Guide("operations", (("toombos backup prune --preview", "See what the retention would remove."),)),
    "backup status": Guide(
        "operations",
        (("toombos backup status --max-age 26h", "Fail if the newest good archive is older than that."),),
    ),
    "backup drill": Guide("operations", (("toombos backup drill", "Prove that the newest good archive restores."),)),
    "backup pin": Guide(
        "operations",
        (("toombos backup pin toombos-20261123T234656Z-7d50.tar.zst", "Keep an archive from being pruned."),),
    ),
    "restore": Guide(
        "operations",
        (
            ("toombos restore --latest-good --preview", "See what would change."),
            ("toombos restore --latest-good", "Restore the newest good archive, after a question."),
            ("toombos restore --latest-good --only data", "Restore one directory."),
        ),
    ),
    "recover": Guide("operations", (("toombos recover", "Stop, archive, start and check, up to the first failure."),)),
    "config": Guide(
        "configuration",
        (
            ("toombos config check", "Check the settings."),
            ("toombos config show shop", "Show what one service gets, and from where."),
        ),
    ),
    "config check": Guide(
        "configuration",
        (
            ("toombos config check", "Check .env, and toombos.toml."),
            ("toombos config check --format junit > config.xml", "Write a JUnit file, for CI."),
        ),
    ),
    "config show": Guide("configuration", (("toombos config show shop", "Show what one service gets."),)),
    "config init": Guide(
        "import",
        (
            ("toombos config init", "Write a first .env."),
            ("toombos config init --manifest", "Write a first toombos.toml."),
            ("toombos config init --from docker-compose.yml", "Write a toombos.toml from another tool's file."),
        ),
    ),
    "config schema": Guide(
        "manifest", (("toombos config schema > toombos.schema.json", "Let an editor complete toombos.toml."),)
    ),
    "config encrypt": Guide("configuration", (("toombos config encrypt", "Encrypt every secret in .env."),)),
    "config rotate-key": Guide("configuration", (("toombos config rotate-key", "Use a new encryption key."),)),
    "config trust": Guide(
        "configuration", (("toombos config trust", "List the projects of other users that you trust."),)
    ),
    "monitoring": Guide(
        "monitoring-runbook",
        (
            ("toombos monitoring up", "Start Prometheus, Alertmanager and Grafana."),
            ("toombos monitoring status", "Show the monitoring programs and their addresses."),
        ),
    ),
    "monitoring up": Guide("monitoring-runbook", (("toombos monitoring up", "Start the monitoring programs."),)),
    "monitoring down": Guide(
        "monitoring-runbook", (("toombos monitoring down", "Stop the monitoring programs; their data stays."),)
    ),
    "monitoring restart": Guide(
        "monitoring-runbook", (("toombos monitoring restart", "Stop the monitoring programs and start them again."),)
    ),
    "monitoring status": Guide(
        "monitoring-runbook", (("toombos monitoring status", "Show the monitoring programs and their addresses."),)
    ),
    "monitoring logs": Guide(
        "monitoring-runbook",
        (("toombos monitoring logs -n 20", "Show the last 20 log lines of each monitoring program."),),
    ),
    "monitoring reload": Guide(
        "monitoring-runbook", (("toombos monitoring reload", "Apply changes of the manifest to monitoring."),)
    ),
    "monitoring check": Guide(
        "monitoring-runbook", (("toombos monitoring check --wait 60", "Check that every panel and rule has data."),)
    ),
    "alert": Guide("monitoring-runbook", (("toombos alert status", "List the open problems."),)),
    "alert test": Guide(
        "monitoring-runbook",
        (("toombos alert test --severity P1", "Send a test message to the channels of P1 alerts."),),
    ),
    "alert send": Guide(
        "monitoring-runbook",
        (
            ("toombos alert send 'the disk is full' --severity P1", "Raise an alert."),
            ("toombos alert send 'the disk is full' --resolved", "Report that the problem is over."),
        ),
    ),
    "alert status": Guide("monitoring-runbook", (("toombos alert status", "List the open problems."),)),
    "alert deliver": Guide("monitoring-runbook", ()),
    "alert serve": Guide("monitoring-runbook", ()),
    "schedule": Guide("operations", (("toombos schedule show", "List the jobs."),)),
    "schedule show": Guide("operations", (("toombos schedule show", "List the jobs with their next runs."),)),
    "schedule install": Guide(
        "operations",
        (
            ("toombos schedule install --print", "See what would be installed."),
            ("toombos schedule install", "Install the jobs."),
        ),
    ),
    "schedule remove": Guide("operations", (("toombos schedule remove", "Remove the jobs of this project."),)),
    "schedule run": Guide("operations", (("toombos schedule run backup", "Run one job now."),)),
    "export": Guide(
        "many-machines",
        (("toombos export compose --check", "See the Compose file, and what it would leave out."),),
    ),
    "export systemd": Guide(
        "many-machines",
        (
            ("toombos export systemd --check", "See the units, the verdict of systemd-analyze, and what is left out."),
            ("toombos export systemd", "Write them to export/systemd."),
        ),
    ),
    "export compose": Guide(
        "many-machines",
        (
            ("toombos export compose", "Write compose.yaml and its Dockerfiles to export/compose."),
            ("toombos export compose --diff export/compose", "Show what has changed since."),
        ),
    ),
    "export kubernetes": Guide(
        "many-machines",
        (("toombos export kubernetes", "Write objects for `kubectl apply -k` to export/kubernetes."),),
    ),
    "help": Guide(
        "architecture",
        (
            ("toombos help", "List the commands and the pages."),
            ("toombos help backup create", "Show the help of a command."),
            ("toombos help manifest", "Show a page: every key of toombos.toml."),
        ),
    ),
}
