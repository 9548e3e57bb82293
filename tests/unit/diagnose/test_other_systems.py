"""Systems other than the dry-run system: checks of absent parts are skipped and never pass."""

from pathlib import Path

from tests.support.ports import free_port
from tests.support.servers import answer, serve
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.run import run_diagnose
from toombos_cli.manifest.reading.loader import load_manifest

ABSENT = (
    *("net.mock_urls", "net.fetcher", "ready", "metrics.endpoint", "metrics", "prom.targets", "prom.series"),
    *("metrics.nodata", "grafana", "alerts", "auth.keycheck", "openapi.diff", "db.ping", "db.pool"),
)


def test_checks_of_absent_parts_are_skipped(tmp_path: Path):
    with serve(answer(b"fine")) as web:
        (tmp_path / "toombos.toml").write_text(
            f'[services.web]\ncommand = ["web"]\nport = {web}\n'
            f'[services.cache]\ncommand = ["cache"]\nport = {free_port()}\nscheme = "tcp"\noptional = true\n'
        )
        report = run_diagnose(load_manifest(tmp_path), searched_from=tmp_path).report
    verdicts = {f.id: f.verdict for f in report.findings if f.id in ABSENT}
    assert verdicts == dict.fromkeys(ABSENT, Verdict.SKIP)


def test_a_service_that_is_not_ready_is_reported_with_its_response(tmp_path: Path):
    with serve(answer(b"warming up", status="503 Busy")) as web, serve(answer(b"fine")) as health:
        (tmp_path / "toombos.toml").write_text(
            f'[services.web]\ncommand = ["web"]\nport = {health}\n'
            f'[services.slow]\ncommand = ["slow"]\nport = {web}\nready = "/ready"\nhealth = "/health"\n'
        )
        report = run_diagnose(load_manifest(tmp_path), searched_from=tmp_path).report
    found = next(f for f in report.findings if f.id == "ready")
    assert (found.verdict, found.service, found.evidence[0].text) == (Verdict.FAIL, "slow", "warming up")
