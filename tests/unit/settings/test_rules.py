"""Every configuration rule: a table of `.env` lines with the verdict, the line and the words of the finding.

The text of a row is appended to a `.env` in dry-run mode, so its first line is line 3.
"""

import re
import subprocess

import pytest

from tests.unit.settings.conftest import SAFE, Project
from toombos_cli.base.results import Verdict
from toombos_cli.settings.check import RULES

STRONG = "m4-Xq9_wLr7VtZ2bNc8KsPd5HfGj3YuTe1RaQ6oEiW"
LIVE = (
    f"DRY_RUN_MODE=false\nUSE_MOCK_SERVICES=false\nAPI_KEY={STRONG}\nAPI_KEY_ENCRYPTION_KEY={STRONG[::-1]}\n"
    f"CRM_BASE_URL=https://crm.test\nCRM_API_KEY={STRONG[3:30]}\n"
    f"PLATFORM_BASE_URL=https://platform.test\nPLATFORM_API_KEY={STRONG[5:35]}\n"
)

# id of the row: rule, text, verdict, line, words of the reason
APPENDED = {
    "colon instead of equals": ("parse", "LOG_LEVEL: DEBUG\n", "fail", 3, 'it has ":" instead of "="'),
    "unclosed quote": ("parse", 'RATE_LIMIT_PER_MINUTE="5\n', "fail", 3, "a quote is not closed"),
    "unclosed quote around a secret": ("parse", f"API_KEY='{STRONG}\n", "fail", 3, "a quote is not closed"),
    "bare name": ("parse", "LOG_LEVEL\n", "fail", 3, 'a name without "=" sets nothing'),
    "two words before equals": ("parse", "LOG LEVEL=INFO\n", "fail", 3, "it is not NAME=value"),
    "quote closed too late": ("parse", 'ENVIRONMENT="a\nMOCK_SEED=1\nPORT="b"\n', "fail", 3, "lines 3 to 5"),
    "setting inside a quoted value": (
        "parse",
        'ENVIRONMENT="a\nMOCK_SEED=1\n"\n',
        "fail",
        4,
        "part of the quoted value",
    ),
    "invalid line after blank lines and a comment": (
        "parse",
        "\n\n# x\n\nLOG_LEVEL: INFO\n",
        "fail",
        7,
        "LOG_LEVEL on line 7",
    ),
    "control character": ("parse", "ENVIRONMENT=a\x07b\n", "fail", 3, "control character"),
    "spaces on both sides of equals": ("spaces", "LOG_LEVEL = INFO\n", "warn", 3, "LOG_LEVEL has spaces around ="),
    "space before equals": ("spaces", "LOG_LEVEL =INFO\n", "warn", 3, "spaces around ="),
    "space after equals": ("spaces", "LOG_LEVEL= INFO\n", "warn", 3, "spaces around ="),
    "set twice to different values": ("duplicates", "MOCK_SEED=1\nMOCK_SEED=2\n", "fail", 3, "line 4 wins"),
    "set twice to the same value": ("duplicates", "MOCK_SEED=1\nMOCK_SEED=1\n", "warn", 3, "always to the same value"),
    "space without quotes": ("portability", "ENVIRONMENT=my laptop\n", "warn", 3, "an unquoted space"),
    "dollar in double quotes": ("portability", 'ENVIRONMENT="a$HOME"\n', "warn", 3, "it replaces $NAME"),
    "replacement in single quotes": ("portability", "ENVIRONMENT='${HOME}'\n", "warn", 3, "even in single quotes"),
    "semicolon": ("portability", "ENVIRONMENT=a;b\n", "warn", 3, "special to a shell"),
    "CR LF": ("portability", "LOG_LEVEL=INFO\r\n", "warn", 3, "keeps the CR"),
    "misspelt name": ("extra", "LOG_LEVLE=DEBUG\n", "fail", 3, "did you mean LOG_LEVEL?"),
    "name in another case": ("extra", "log_level=DEBUG\n", "fail", 3, "log_level differs from LOG_LEVEL only in case"),
    "name with a letter too many": ("extra", "LOG_LEVELL=DEBUG\n", "fail", 3, "did you mean LOG_LEVEL?"),
    "name that only the environment can set": ("extra", "TOOMBOS_DEBUG=1\n", "warn", 3, "has no effect in .env"),
    "document without its URL": ("missing", "LIVING_DOC_TYPE=url\n", "fail", 3, "LIVING_DOC_URL is required with"),
    "not a whole number": ("types", "TOOMBOS_X=1\nMOCK_SEED=maybe\n", "fail", 4, "is not a whole number"),
    "not a number": ("types", "REQUEST_TIMEOUT=abc\n", "fail", 3, "is not a number"),
    "number too large": ("types", "MOCK_ERROR_RATE=2\n", "fail", 3, "is above 1"),
    "not a finite number": ("types", "REQUEST_TIMEOUT=nan\n", "fail", 3, "is not a finite number"),
    "not one of the choices": ("types", "LIVING_DOC_TYPE=fil\n", "fail", 3, "did you mean file?"),
    "URL without scheme": ("types", "LIVING_DOC_URL=localhost:80\n", "fail", 3, "begins with http://"),
    "bad port in a URL": ("types", "LIVING_DOC_URL=http://a:99999/\n", "fail", 3, "host or port cannot be read"),
    "broken JSON": ("types", "GOOGLE_CREDENTIALS_JSON={oops\n", "fail", 3, "is not JSON"),
    "unsupported database": ("types", "DATABASE_URL=mongodb://h/x\n", "fail", 3, "is not a database URL"),
    "placeholder as a secret": ("secret_set", "API_KEY=your-key-goes-here\n", "warn", 3, "API_KEY is a placeholder"),
    "short secret": ("secret_set", "API_KEY=a1B2c3\n", "warn", 3, "shorter than 16"),
    "repetitive secret": ("secret_set", "API_KEY=abababababababababab\n", "warn", 3, "too few characters"),
    "secret used twice": ("secret_set", f"API_KEY={STRONG}\nCRM_API_KEY={STRONG}\n", "warn", 3, "are the same secret"),
    "debug in production": ("security", "ENVIRONMENT=production\nLOG_LEVEL=DEBUG\n", "warn", 4, "LOG_LEVEL=DEBUG"),
    "dry run in production": ("security", "ENVIRONMENT=production\n", "warn", 3, "dry-run is on"),
    "mock on another machine": (
        "dryrun",
        "MOCK_CRM_BASE_URL=http://10.1.2.3:8001\n",
        "fail",
        3,
        "is not on this machine",
    ),
    "live address in dry-run": ("dryrun", "CRM_BASE_URL=https://crm.test\n", "warn", 3, "is a live address"),
    "half a publisher": ("publisher", f"CRM_API_KEY={STRONG}\n", "warn", 3, "CRM_API_KEY set without CRM_BASE_URL"),
    "simulated faults": ("mock", "MOCK_ERROR_RATE=0.5\n", "warn", 3, "the mocks simulate faults"),
    "database below a file": (
        "dsn",
        "DATABASE_URL=sqlite:///toombos.toml/x.db\n",
        "fail",
        3,
        "is not a directory",
    ),
    "mocks on one port": (
        "port_clash",
        "MOCK_CRM_BASE_URL=http://127.0.0.1:7\nMOCK_PLATFORM_BASE_URL=http://127.0.0.1:7\n",
        "fail",
        3,
        "are the same address, port 7",
    ),
    "mock on the wrong port": (
        "client_urls",
        "MOCK_CRM_BASE_URL=http://127.0.0.1:7\n",
        "fail",
        3,
        "but crm listens on",
    ),
    "port without effect": ("ports", "PORT=8123\n", "warn", 3, "PORT has no effect"),
}


@pytest.mark.parametrize(("rule", "text", "verdict", "line", "words"), APPENDED.values(), ids=APPENDED.keys())
def test_a_line_has_a_finding(configured: Project, rule, text, verdict, line, words):
    configured.write(SAFE + text)

    found = [f for f in configured.findings()[rule] if f.verdict == verdict]

    assert found, configured.findings()[rule]
    finding = found[0]
    assert words in finding.reason
    assert finding.evidence[0].source == str(configured.env)
    assert finding.evidence[0].line == line
    assert finding.fix


UNDESCRIBED = {
    "an unknown name": "ZZYZX=1\n",
    "a secret of another program": "STRIPE_SECRET_KEY=Vb8Qn3Wm6Ez1Xc5Rv9Ty2Ui7Op4As0DfGh\n",
    "a name that shares its first word with a described one": "CRM_API_TOKEN=x\n",
    "a numbered name": "API_KEY2=x\n",
    "a name like one that the file sets as well": "MOCK_SEED=1\nMOCK_SEEDS=2\n",
}


@pytest.mark.parametrize("text", UNDESCRIBED.values(), ids=UNDESCRIBED)
def test_a_name_that_no_table_describes_is_information_without_a_fix(configured: Project, text: str):
    configured.write(SAFE + text)
    found = configured.findings()["extra"]
    assert [(f.verdict, f.fix) for f in found] == [(Verdict.PASS, None)]
    assert "described by no [environment] table" in found[0].reason


@pytest.mark.parametrize(("rule", "text"), [(r, t) for r, t, *_ in APPENDED.values()], ids=APPENDED.keys())
def test_no_fix_shortens_the_file_or_loses_a_value_that_it_does_not_replace(configured: Project, rule, text):
    configured.write(SAFE + text)
    before = configured.env.read_text().splitlines()
    for finding in configured.findings()[rule]:
        if finding.fix and finding.fix.edit:
            subprocess.run(["bash", "-euc", finding.fix.command], check=True, cwd="/", stdin=subprocess.DEVNULL)
            if finding.fix.safe:
                names = {line.partition("=")[0].strip() for line in before if "=" in line}
                assert all(re.search(rf"(?m)^{re.escape(name)}\s*=", configured.env.read_text()) for name in names)
    assert len(configured.env.read_text().splitlines()) >= len(before)


@pytest.mark.parametrize(("rule", "text"), [(r, t) for r, t, *_ in APPENDED.values()], ids=APPENDED.keys())
def test_a_fix_command_removes_its_finding(configured: Project, rule, text):
    configured.write(SAFE + text)
    before = [f for f in configured.findings()[rule] if f.verdict in (Verdict.WARN, Verdict.FAIL)]

    for finding in before:
        if finding.fix and finding.fix.command:
            subprocess.run(["bash", "-euc", finding.fix.command], check=True, cwd="/", stdin=subprocess.DEVNULL)

    after = configured.findings()[rule]
    for finding in before:
        if finding.fix and finding.fix.command:
            assert finding.reason not in [f.reason for f in after]
    assert configured.findings()["dryrun"][-1].reason == "dry-run is on"


def test_the_rows_cover_fix_commands_and_advice(configured: Project):
    has_command = set()
    for rule, text, *_ in APPENDED.values():
        configured.write(SAFE + text)
        has_command |= {bool(f.fix.command) for f in configured.findings()[rule] if f.fix}
    assert has_command == {True, False}


def test_a_fix_leaves_a_line_alone_if_it_has_changed_since(configured: Project):
    configured.write(SAFE + "LOG_LEVEL: DEBUG\n")
    fix = configured.findings()["parse"][0].fix.command
    configured.write(SAFE + "MOCK_SEED=1:2\n")

    subprocess.run(["bash", "-c", fix], check=True)

    assert configured.env.read_text() == SAFE + "MOCK_SEED=1:2\n"


def test_a_plain_dry_run_has_no_problems(configured: Project):
    assert configured.wrong() == []


def test_a_complete_live_system_has_no_problems(configured: Project):
    assert configured.write(LIVE).wrong() == []


def test_every_rule_has_a_finding(configured: Project):
    assert list(configured.findings()) == [rule.id for rule in RULES]


@pytest.mark.parametrize(
    "line",
    ["DRY_RUN_MODE: true", 'DRY_RUN_MODE="true', "DRY_RUN_MODE", "DRY_RUN_MODE:true", "export DRY_RUN_MODE: true"],
)
def test_an_invalid_dry_run_line_reports_that_dry_run_is_off_and_the_fix_restores_it(configured: Project, line):
    configured.write(f"USE_MOCK_SERVICES=true\n{line}\n")

    (finding,) = configured.findings()["parse"]

    assert finding.verdict is Verdict.FAIL
    assert finding.reason.endswith("dry-run is OFF")
    assert finding.evidence[0].line == 2
    subprocess.run(["bash", "-c", finding.fix.command], check=True)
    assert "DRY_RUN_MODE=true" in configured.env.read_text()
    assert configured.wrong() == []


def test_an_invalid_dry_run_line_explains_the_findings_that_follow(configured: Project):
    configured.write("USE_MOCK_SERVICES=true\nDRY_RUN_MODE: true\n")

    followers = {f.explained_by for f in configured.findings()["live"] + configured.findings()["dryrun"] if f.fix}

    assert followers == {"parse"}


@pytest.mark.parametrize(
    ("line", "root"),
    [("DRY_RUN_MODE=ture", "types"), ("DRY_RUN_MOD=true", "extra")],
    ids=["bad value", "misspelt name"],
)
def test_a_wrong_dry_run_setting_explains_the_findings_that_follow(configured: Project, line, root):
    configured.write(f"USE_MOCK_SERVICES=true\n{line}\n")

    assert {f.id for f in configured.wrong() if not f.explained_by} == {root}
    assert {f.explained_by for f in configured.findings()["live"]} == {root}


def test_an_invalid_dry_run_line_fails_even_if_the_environment_sets_dry_run(configured: Project):
    configured.write("USE_MOCK_SERVICES=true\nDRY_RUN_MODE: true\n")

    (finding,) = configured.findings({"DRY_RUN_MODE": "true"})["parse"]

    assert finding.reason.endswith("dry-run is on only by environment")


def test_a_byte_order_mark_is_reported_and_the_fix_removes_it(configured: Project):
    configured.write(b"\xef\xbb\xbf" + SAFE.encode())

    (finding,) = configured.findings()["portability"]

    assert "byte order mark" in finding.reason
    subprocess.run(["bash", "-c", finding.fix.command], check=True)
    assert configured.wrong() == []


@pytest.mark.parametrize("name", ["API_KEY", "API_KEY_ENCRYPTION_KEY", "CRM_BASE_URL", "PLATFORM_API_KEY"])
def test_live_mode_reports_a_missing_setting(configured: Project, name):
    configured.write("".join(line for line in LIVE.splitlines(True) if not line.startswith(f"{name}=")))

    (finding,) = configured.wrong()

    assert (finding.id, finding.verdict) == ("live", Verdict.FAIL)
    assert finding.reason == f"{name} is required in live mode but not set"


@pytest.mark.parametrize(
    ("old", "new", "rule", "words"),
    [
        (f"API_KEY={STRONG}", "API_KEY=changeme", "secret_set", "placeholder"),
        ("CRM_BASE_URL=https://crm.test", "CRM_BASE_URL=http://crm.test", "security", "sent unencrypted"),
        ("CRM_BASE_URL=https://crm.test", "CRM_BASE_URL=https://crm.example.com", "live", "is a placeholder"),
        ("USE_MOCK_SERVICES=false", "USE_MOCK_SERVICES=true", "dryrun", "USE_MOCK_SERVICES is on"),
    ],
    ids=["a weak key", "a key over http", "an example address", "mocks in live mode"],
)
def test_live_mode_rejects(configured: Project, old, new, rule, words):
    configured.write(LIVE.replace(old, new))

    assert [(f.id, words in f.reason) for f in configured.wrong()] == [(rule, True)]


def test_a_live_address_that_is_a_mock_is_refused(configured: Project):
    mock = configured.facts().manifest.services["crm"].url
    configured.write(LIVE.replace("https://crm.test", mock))

    assert "CRM_BASE_URL is the address of a mock" in [f.reason for f in configured.findings()["live"]]


def test_dry_run_without_the_mocks_is_refused(configured: Project):
    configured.write("DRY_RUN_MODE=true\n")

    finding = configured.findings()["dryrun"][0]

    assert (finding.verdict, finding.reason) == (Verdict.FAIL, "DRY_RUN_MODE is on and USE_MOCK_SERVICES is off")
    subprocess.run(["bash", "-c", finding.fix.command], check=True)
    assert configured.wrong() == []


def test_the_dry_run_mode_overrides_a_live_env_file(configured: Project):
    configured.write("")

    assert configured.wrong(mode="dry_run") == []
    assert configured.wrong() != []


def test_an_exported_variable_that_switches_dry_run_off_is_a_failure(configured: Project):
    finding = next(f for f in configured.wrong({"DRY_RUN_MODE": "false"}) if f.id == "shadow")

    assert finding.verdict is Verdict.FAIL
    assert finding.reason == "DRY_RUN_MODE in the environment overrides .env: false instead of true"
    assert finding.fix.command == "unset DRY_RUN_MODE"
    assert finding.evidence[1].line == 1


def test_an_environment_that_names_another_env_file_is_a_warning(configured: Project):
    (finding,) = configured.wrong({"TOOMBOS_ENV_FILE": "/etc/other.env"})

    assert (finding.id, finding.verdict, finding.fix.command) == ("shadow", Verdict.WARN, "unset TOOMBOS_ENV_FILE")
    assert configured.wrong({"TOOMBOS_ENV_FILE": str(configured.env)}) == []
    assert configured.wrong({"TOOMBOS_ENV_FILE": ".env"}) == []


def test_an_exported_variable_with_the_same_meaning_is_not_reported(configured: Project):
    assert configured.wrong({"DRY_RUN_MODE": "1"}) == []


def test_an_exported_empty_variable_counts_as_unset(configured: Project):
    assert configured.wrong({"DRY_RUN_MODE": ""}) == []


def test_an_encrypted_value_without_its_key_cannot_be_loaded(configured: Project):
    configured.write(SAFE + "CRM_API_KEY=enc:gAAAAAB\nCRM_BASE_URL=http://127.0.0.1:1\n")

    (finding,) = (f for f in configured.wrong() if f.id == "load")

    assert finding.reason == "CRM_API_KEY is encrypted and cannot be decrypted: no key is set"
    assert finding.evidence[0].line == 3


OWN_TABLES = {
    "a wrong type": (
        "types",
        'env.RATE_LIMIT_PER_MINUTE = "many"',
        "RATE_LIMIT_PER_MINUTE is not a whole number",
        "env",
    ),
    "a database of another kind": (
        "types",
        'env.DATABASE_URL = "oracle://h/x"',
        "DATABASE_URL is not a database",
        "env",
    ),
    "a wrong suggestion": ("types", 'default_env.REQUEST_TIMEOUT = "soon"', "REQUEST_TIMEOUT is not a", "default_env"),
    "an encrypted value": ("load", 'env.API_KEY = "enc:gAAAAAB"', "API_KEY is encrypted and cannot be", "env"),
}


@pytest.mark.parametrize("case", OWN_TABLES)
def test_settings_in_the_table_of_a_service_are_checked_too(case: str, configured: Project):
    rule, line, reason, table = OWN_TABLES[case]
    (configured.path / "toombos.toml").write_text(f'extends = "toombos"\n[services.generator]\n{line}\n')

    (finding,) = (f for f in configured.wrong() if f.id == rule)

    assert finding.reason.startswith(reason)
    assert f"[services.generator] {table}" in finding.evidence[0].text or finding.evidence[0].source == "manifest"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@db/x?schema=public",
        "postgresql+asyncpg://u:p@db/x?ssl=disable",
        "'postgresql://u:pa#ss@db/x'",
        "postgresql://u@/x?host=/run/postgresql",
        "postgresql://u@a:5432,b:5433/x",
        "postgresql://u@[::1]:5432/x",
    ],
)
def test_a_database_url_that_a_client_library_accepts_is_not_reported(url: str, configured: Project):
    configured.write(SAFE + f"DATABASE_URL={url}\n")
    assert [f.reason for f in configured.wrong() if f.id in ("types", "dsn", "port_clash")] == []


def test_the_redactor_knows_a_secret_in_the_table_of_a_service(configured: Project):
    (configured.path / "toombos.toml").write_text(
        'extends = "toombos"\n[services.generator]\nenv.BILLING_PASSWORD = "toml-SECRET2"\n'
    )
    assert "SECRET2" not in configured.facts().redactor.text("refused: toml-SECRET2")


def test_a_secret_that_the_example_contains_too_is_a_failure(configured: Project):
    configured.write(SAFE + f"API_KEY={STRONG}\n")
    (configured.path / ".env.example").write_text(f"API_KEY={STRONG}\n")

    finding = next(f for f in configured.findings()["example_diff"] if f.verdict is Verdict.FAIL)

    assert (finding.evidence[0].line, STRONG in repr(finding)) == (1, False)


def test_a_setting_of_the_example_that_env_lacks_is_reported_with_a_fix(configured: Project):
    from toombos_cli.config.template import render_example

    configured.write("USE_MOCK_SERVICES=true\n")
    (configured.path / ".env.example").write_text(render_example(configured.facts().manifest))

    (finding,) = (f for f in configured.findings()["example_diff"] if f.verdict is Verdict.WARN)

    assert finding.reason == "DRY_RUN_MODE is set in .env.example but not in .env"
    subprocess.run(["bash", "-c", finding.fix.command], check=True)
    assert configured.wrong() == []


@pytest.mark.parametrize(
    ("pattern", "is_reported"),
    [("data/cache/", False), ("*.tmp", False), ("/data/abs", True), ("./data/cache", True), ("node_modules/", True)],
)
def test_an_exclude_pattern_that_matches_nothing_is_reported(configured: Project, pattern: str, is_reported: bool):
    (configured.path / "data" / "cache").mkdir(parents=True)
    (configured.path / "data" / "x.tmp").write_text("x")
    (configured.path / "toombos.toml").write_text(f'extends = "toombos"\n[backup]\nexclude = ["{pattern}"]\n')
    (finding,) = configured.findings()["excludes"]
    assert finding.verdict is (Verdict.WARN if is_reported else Verdict.PASS)
    assert (pattern in finding.reason) == is_reported


def test_missing_and_unknown_names_of_the_example_are_reported(configured: Project):
    (configured.path / ".env.example").write_text("# LOG_LEVEL=INFO\nNO_SUCH_NAME=1\n")

    reasons = [f.reason for f in configured.findings()["example_diff"]]

    assert "ENVIRONMENT" in reasons[0]
    assert "LOG_LEVEL" not in reasons[0]
    assert reasons[1] == ".env.example also lists NO_SUCH_NAME"


def test_settings_written_for_pydantic_1_are_reported_with_their_lines(configured: Project):
    source = configured.path / "app" / "config.py"
    source.parent.mkdir()
    source.write_text(
        "from pydantic import BaseSettings, Field\n\nclass S(BaseSettings):\n    a: str = Field('', env='B')\n"
    )
    (configured.path / ".venv").mkdir()
    (configured.path / ".venv" / "x.py").write_text("from pydantic import BaseSettings\n")
    (configured.path / "text.py").write_text('TEXT = """\nfrom pydantic import BaseSettings\nField(env=1)\\d"""\n')
    (configured.path / "python2.py").write_text("from pydantic import BaseSettings\nprint 1\n")
    several = configured.path / "several.py"
    several.write_text(
        "from pydantic import (\n    Field,\n    BaseSettings,\n)\n\na = pydantic.Field(\n    '', env='B'\n)\n"
    )

    found = configured.findings()["pydantic_v1"]

    assert [f.evidence[0].place for f in found] == [
        *(f"{several}:3", f"{several}:6"),
        *(f"{source}:1", f"{source}:4"),
    ]


def test_a_service_open_to_the_network_without_a_key_is_a_failure(configured: Project):
    manifest = configured.path / "toombos.toml"
    manifest.write_text(manifest.read_text().replace("[services.crm]\n", '[services.crm]\nhost = "0.0.0.0"\n'))

    assert "crm listens on 0.0.0.0 without API_KEY" in configured.findings()["dryrun_auth"][0].reason


def test_two_services_on_the_same_port_of_different_hosts_clash(configured: Project):
    (configured.path / "toombos.toml").write_text(
        'extends = "toombos"\n[services.crm]\nport = 7001\nhost = "0.0.0.0"\n[services.platform]\nport = 7001\n'
    )

    assert "crm and platform both listen on port 7001" in [f.reason for f in configured.findings()["port_clash"]]


def test_a_database_url_that_names_a_tcp_service_is_not_a_clash(configured: Project):
    url = "DATABASE_URL=postgresql://me:geheim@127.0.0.1:7432/x\n"
    manifest = 'extends = "toombos"\n[services.db]\ncommand = ["postgres"]\nport = 7432\n'
    (configured.path / "toombos.toml").write_text(manifest)
    reasons = [f.reason for f in configured.write(SAFE + url).findings()["port_clash"]]
    assert "DATABASE_URL uses port 7432, which is the port of db" in reasons
    (configured.path / "toombos.toml").write_text(f'{manifest}scheme = "tcp"\n')
    assert [f.verdict for f in configured.findings()["port_clash"]] == [Verdict.PASS]


PROMETHEUS = {
    "complete configuration": ("scrape_configs:\n - static_configs:\n   - targets: [{all}]\n", []),
    "tab as indentation": ("scrape_configs:\n\t- x\n", ["is indented with a tab"]),
    "nothing scraped": ("global: {{}}\n", ["has no scrape_configs"]),
    "one service missing": ("scrape_configs:\n - targets: [{crm}, {generator}]\n", ["does not scrape platform"]),
    "one service only in a comment": (
        "scrape_configs:\n - targets: [{crm}, {generator}]\n # {platform}\n",
        ["scrape platform"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), PROMETHEUS.values(), ids=PROMETHEUS.keys())
def test_the_prometheus_configuration_is_checked(configured: Project, text, expected):
    services = configured.facts().manifest.services
    targets = {name: f"'127.0.0.1:{services[name].port}'" for name in ("crm", "platform", "generator")}
    path = configured.path / "run" / "monitoring" / "prometheus.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text.format(all=", ".join(targets.values()), **targets))

    wrong = [f for f in configured.findings()["prometheus"] if f.verdict is not Verdict.PASS]

    assert [words in f.reason for words, f in zip(expected, wrong, strict=True)] == [True] * len(expected)
