"""Random `.env` files: no traceback, no secret in any output, and valid files load with the same values."""

import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter

from services.generator.settings import GeneratorSettings
from tests.unit.settings.conftest import Project
from toombos_cli.base.redaction import spellings
from toombos_cli.base.results import Verdict
from toombos_cli.config.check import run_check
from toombos_cli.config.show import run_show
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.render.console import make_console
from toombos_cli.render.envelope import plain
from toombos_cli.render.junit import document
from toombos_cli.render.text import config, findings
from toombos_cli.settings.values import Origin

CANARY = "zQ7canary_9fX2kPw8Lm"
MANIFEST = load_manifest(Path("/nonexistent"))
SECRETS = [name for name, variable in MANIFEST.environment.items() if variable.secret]
READ = [name for name in MANIFEST.environment if name.lower() in GeneratorSettings.model_fields]

_newline = st.sampled_from(["\n", "\n", "\n", "\r\n", "\n\n", "\r", ""])
_separator = st.sampled_from(["=", "=", "=", "=", " = ", "= ", ": ", ":", "==", " ", ""])
_quoted = st.sampled_from(["{}", "{}", "{}", "'{}'", '"{}"', "'{}", '"{}', "{}'", "{} # c", " {} ", "{}\\"])
_HARMLESS = """
true false 1 0 yes TRUE abc 5 1e3 -1 nan INFO info debug file url {} [1] é a#b $HOME enc:x sqlite:///x.db
http://127.0.0.1:8001 https://a.test/x http://[ ${API_KEY} ${NO_SUCH:-x} ${ENVIRONMENT}
"""
_harmless = st.sampled_from([*_HARMLESS.split(), "", "a b", "\x00", "\t"])
_secret = st.sampled_from(
    [CANARY, f"{CANARY} {CANARY}", f"x{CANARY}", f"{CANARY}#1", f"enc:{CANARY}", f"{{{CANARY}", f"a\n{CANARY}"]
)
_names = st.sampled_from([*MANIFEST.environment, "LOG_LEVLE", "log_level", "ZZYZX", "1A", "A.B", "'Q R'", "é"])


def _line(name: str, separator: str, quoted: str, value: str, newline: str, export: str) -> str:
    return f"{export}{name}{separator}{quoted.format(value)}{newline}"


_export = st.sampled_from(["", "", "", "export ", "  ", "# "])
_plain_line = st.builds(_line, _names, _separator, _quoted, _harmless, _newline, _export)
_secret_names = st.sampled_from([*SECRETS, "API_KYE", "MY_TOKEN"])
_secret_line = st.builds(_line, _secret_names, _separator, _quoted, _secret, _newline, _export)
_dsn_line = st.sampled_from(
    [
        f"DATABASE_URL=postgresql://u:{CANARY}@h/x\n",
        f"LIVING_DOC_URL=https://h.test/p?k={CANARY}\n",
        f"CRM_BASE_URL=http://{CANARY}@h.test/\n",
        f"{CANARY}\n",
        f"{CANARY}==\n",
        f"{CANARY}: x\n",
        f"{CANARY} = x\n",
        f"REQUEST_TIMEOUT={CANARY}\n",
    ]
)
_text = st.text(alphabet="AB=:'\"\\\n\r\t #${}", max_size=12)
ENV_FILES = st.lists(st.one_of(_plain_line, _plain_line, _secret_line, _dsn_line, _text), max_size=10).map("".join)


# No shrinking: it takes minutes here, and the failing text is short anyway.
FUZZ = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


@given(text=ENV_FILES)
@example(text=f"{CANARY}REQUEST_TIMEOUT={CANARY}\nREQUEST_TIMEOUT={CANARY}\n")  # a lost newline before a name
@example(text=f"EGRESS_ALLOWED_HOSTS=true READ_ONLY_API_KEY=  {CANARY} {CANARY}\n")  # a lost newline after a value
@FUZZ
def test_no_output_about_any_env_file_shows_a_secret(text):
    with tempfile.TemporaryDirectory() as name:
        project = Project(Path(name)).write(text)
        manifest = load_manifest(project.path)

        check = run_check(manifest, mode=None, start=project.path)
        show = run_show(manifest, service=None, mode=None)

        assert not [f for f in check.findings if f.verdict is Verdict.ERROR], check.findings
        outputs = [
            json.dumps(plain(check)),
            json.dumps(plain(show)),
            document(check, suite="config check"),
            _printed(findings.show, check),
            _printed(config.show_values, show),
        ]
        for output in outputs:
            assert not [spelling for spelling in spellings(CANARY) if spelling in output]


@given(text=ENV_FILES)
@FUZZ
def test_an_env_file_that_passes_loads_with_the_same_values(text):
    _assert_same_values(text)


@given(pairs=st.lists(st.tuples(st.sampled_from(READ), _harmless, st.sampled_from(["{}", "'{}'", '"{}"'])), max_size=6))
@FUZZ
def test_well_formed_assignments_that_pass_load_with_the_same_values(pairs):
    _assert_same_values("".join(f"{name}={quoted.format(value)}\n" for name, value, quoted in pairs))


def _assert_same_values(text: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        project = Project(Path(name)).write(text)
        facts = project.facts(dict(os.environ))
        found = project.findings(dict(os.environ))
        if any(f.verdict is Verdict.FAIL for rule in ("load", "parse", "extra", "types") for f in found[rule]):
            return
        arguments = {"_env_file": project.env}
        loaded = GeneratorSettings(**arguments)
        for setting in READ:
            value = facts.values.get(setting)
            actual = getattr(loaded, setting.lower())
            actual = actual.get_secret_value() if isinstance(actual, SecretStr) else actual
            if value is None or value.origin is not Origin.ENV_FILE:
                field = GeneratorSettings.model_fields[setting.lower()].default
                assert actual == (field.get_secret_value() if isinstance(field, SecretStr) else field)
            else:
                expected = TypeAdapter(type(actual)).validate_python(facts.clear[setting])
                assert actual == (expected.upper() if facts.variables[setting].any_case else expected)


def _printed(view: Callable[..., None], report: object) -> str:
    stream = io.StringIO()
    output = SimpleNamespace(stdout=make_console(stream), stderr=make_console(stream), verbose=True, quiet=False)
    view(report, output)
    return stream.getvalue()
