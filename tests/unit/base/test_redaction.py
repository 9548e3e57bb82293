"""Redaction: secrets in every spelling are replaced, and nothing else is."""

import base64
import html
import json
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests.support.canaries import CANARIES, INNOCENTS, Canary
from toombos_cli.base.redaction import MASK, Redactor, is_secret_name, mask_values, secrets_inside, spellings

SECRET = 'p@ss\' "wörd"/+&=\\%?-0123456789'
KNOWN = Redactor([("API_KEY", SECRET)])

SPELLINGS = {
    "raw": SECRET,
    "URL path": quote(SECRET),
    "URL, everything quoted": quote(SECRET, safe=""),
    "URL form": quote_plus(SECRET),
    "URL, lower-case hexadecimal": quote(SECRET, safe="").lower(),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(SECRET.encode()).decode(),
    "basic auth": base64.b64encode(f"user:{SECRET}".encode()).decode(),
    "basic auth, one more byte": base64.b64encode(f"users:{SECRET}:x".encode()).decode(),
    "JSON": json.dumps(SECRET),
    "JSON in JSON": json.dumps(json.dumps({"k": SECRET})),
    "JSON with non-ASCII characters": json.dumps(SECRET, ensure_ascii=False),
    "Python": repr(SECRET),
    "Python, bytes": repr(SECRET.encode()),
    "ASCII escapes": SECRET.encode("unicode_escape").decode(),
    "HTML": html.escape(SECRET),
    "HTML text": html.escape(SECRET, quote=False),
    "XML": SECRET.replace("&", "&amp;").replace('"', "&quot;").replace("'", "&apos;"),
    "XML text": SECRET.replace("&", "&amp;").replace('"', "&quot;"),
    "HTML of Jinja and Go": SECRET.replace("&", "&amp;").replace('"', "&#34;").replace("'", "&#39;"),
    "JSON of Go and Java": json.dumps(SECRET, ensure_ascii=False).replace("&", "\\u0026").replace("<", "\\u003c"),
    "JSON of PHP": json.dumps(SECRET).replace("/", "\\/"),
    "hexadecimal": SECRET.encode().hex(),
    "hexadecimal, upper case": SECRET.encode().hex().upper(),
    "URL in URL": quote(quote(SECRET, safe=""), safe=""),
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_known_secret_is_found_in_every_spelling(text):
    cleaned = KNOWN.text(f"before {text} after")

    assert "<API_KEY>" in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert KNOWN.leaks(text) == ("<API_KEY>",)
    assert KNOWN.leaks(cleaned) == ()


UNKNOWN_SECRETS = {
    "env": "API_KEY=hunter22xyz",
    "env, quoted": 'CRM_API_KEY="hunter22xyz"',
    "env, quote not closed": 'CRM_API_KEY="hunter22xyz',
    "yaml": "password: hunter22xyz",
    "JSON": '{"token": "hunter22xyz", "n": 1}',
    "JSON in JSON": '"{\\"token\\": \\"hunter22xyz\\"}"',
    "query": "http://h/p?a=1&access_token=hunter22xyz&b=2",
    "option": "--db-password=hunter22xyz",
    "header": "Authorization: Bearer hunter22xyz",
    "basic header": "authorization: Basic hunter22xyz",
    "custom header": "X-API-Key: hunter22xyz",
    "bearer in a sentence": "sent Bearer hunter22xyz to it",
    "dict": "{'secret_key': 'hunter22xyz'}",
    "URL password": "postgresql://user:hunter22xyz@db/x",
    "URL user": "https://hunter22xyz@github.test/x",
    "URL password with an at sign": "redis://:hunter22xyz@foo@db:6379/0",
    "option and value in two words": "/usr/bin/agent --db-password hunter22xyz --port 5",
    "option and quoted value in two words": "agent --token 'hunter22xyz' --port 5",
    "option with one dash": "agent -apikey hunter22xyz",
    "user and password of curl": "curl -s -u admin:hunter22xyz http://x/",
    "header with another scheme": "Authorization: ApiKey hunter22xyz",
    "cookie": "Cookie: a=hunter22xyz; b=hunter22xyz",
    "set cookie": '"set-cookie": "sid=hunter22xyz; Path=/"',
    "name with a suffix": "SECRET_KEY_BASE=hunter22xyz",
    "name with a version": "ENCRYPTION_KEY_V2: hunter22xyz",
    "short for password": "SMTP_PASS=hunter22xyz",
    "connection string": "Server=db;Uid=a;Pwd=hunter22xyz;",
    "signed URL": "https://h/blob?sv=2&sig=hunter22xyz&x=1",
    "JSON with an escaped quote": '{"password":"a\\"hunter22xyz", "n": 1}',
    "signed URL of AWS": "https://h/b?X-Amz-Date=2&X-Amz-Signature=hunter22xyz",
    "key of a storage account": "AccountName=a;AccountKey=hunter22xyz;EndpointSuffix=x",
    "password of Redis": "redis-server *:6379 --requirepass hunter22xyz --port 6379",
    "password in the Redis configuration": "requirepass: hunter22xyz",
    "SQL": "STATEMENT:  ALTER USER shop WITH PASSWORD 'hunter22xyz' VALID UNTIL 'infinity'",
    "SQL of MySQL": "CREATE USER a IDENTIFIED BY 'hunter22xyz'",
    "quoted password in a sentence": 'wrong password "hunter22xyz" for shop',
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nhunter22xyz\n-----END RSA PRIVATE KEY-----",
    "Telegram bot": "POST https://api.telegram.org/bot123456789:hunter22xyz-hunter22xyz-hunter22xyz/sendMessage",
    "Slack webhook": "POST https://hooks.slack.com/services/T000/B000/hunter22xyz 404",
}

KNOWN_SHAPES = {
    "AWS": "AKIAIOSFODNN7EXAMPLE",
    "GitHub": "ghp_" + "abcdEFGH1234" * 3,
    "Slack": "xoxb-123456789012-abcdefghijkl",
    "Stripe": "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "GitLab": "glpat-abcdefghij0123456789",
    "Anthropic": "sk-ant-api03-abcdEFGH1234-abcdEFGH1234",
    "OpenAI": "sk-proj-abcdEFGH1234_abcdEFGH1234",
    "npm": "npm_" + "abcdEFGH1234" * 3,
    "PyPI": "pypi-AgEIcHlwaS5vcmcCJabcdEFGH1234",
    "Vault": "hvs.CAESIabcdEFGH1234abcdEFGH1234",
    "DigitalOcean": "dop_v1_" + "0123456789abcdef" * 4,
    "Google": "AIza" + "abcdEFGH123" * 3 + "ab",
    "SendGrid": "SG.abcdEFGH1234abcdEFGH12.abcdEFGH1234abcdEFGH1234",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcDEF_-123456789",
}


@pytest.mark.parametrize("secret", KNOWN_SHAPES.values(), ids=KNOWN_SHAPES.keys())
def test_a_token_is_recognized_by_its_shape(secret):
    assert Redactor().text(f"got {secret}, and went on") == "got <secret-1>, and went on"


@pytest.mark.parametrize("text", UNKNOWN_SECRETS.values(), ids=UNKNOWN_SECRETS.keys())
def test_an_unknown_secret_is_recognized_by_its_context(text):
    cleaned = Redactor().text(text)

    assert "hunter22xyz" not in cleaned
    assert "<secret-1>" in cleaned


KEPT = [
    "disk-usage-of-2026-11-26 sk-learn-and-other-long-names SG. npm_config_registry pypi-mirror",
    'FATAL:  password authentication failed for user "shop"; unexpected token "<"',
    "API_KEY: is required in live mode",
    "API_KEY_ENCRYPTION_KEY: must have 32 characters",
    "GET /api/v2/generations?limit=10&offset=20 200 3.1 ms",
    "tokens: 12, max_tokens=400, keyboard=us, monkey: bars",
    "http://127.0.0.1:8001/health",
    "user@example.org wrote at 12:30:45",
    "API_KEY is required in live mode but not set",
    "token: null; password=true; secret: ${NAME}; API_KEY=********",
    "unset API_KEY",
    "PWD=/home/x",
    "password is too short; --password is needed; -u root: no such user",
    "--token --verbose; --secret is unknown",
    "token_count=5 token_type: bearer, secret_name: db",
    "Authorization: missing, or of another scheme",
    "assign=3 design=ok &signal=9 passed=5 bypass: no",
    "cookie jar: empty",
    "docker run -u 1000:1000 image",
    "task_AKIAB and eyJ are words",
    r"sed -i -E '3s/^(\s*(export\s+)?API_KEY)\s*:\s*/\1=/' .env",
]


@pytest.mark.parametrize("text", KEPT)
def test_text_without_a_secret_stays(text):
    assert Redactor().text(text) == text


def test_equal_secrets_get_the_same_placeholder():
    redactor = Redactor()

    assert redactor.text("token=alpha123 token=beta4567") == "token=<secret-1> token=<secret-2>"
    assert redactor.text("password: alpha123") == "password: <secret-1>"


def test_a_second_redaction_with_the_same_redactor_changes_nothing():
    redactor = Redactor([("API_KEY", "hunter22xyz")])
    once = redactor.text("API_KEY=hunter22xyz url=http://u:pw12345@h token=abcdefgh")

    assert redactor.text(once) == once


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    text: str
    path: Path
    rows: tuple[dict[str, str], ...] = ()
    number: int = 3


def test_a_structure_keeps_its_shape():
    row = Row(text="a hunter22xyz", path=Path("/x/hunter22xyz"), rows=({"token": "zzz", "other": "hunter22xyz"},))

    assert Redactor([("K", "hunter22xyz")]).value(row) == Row(
        text="a <K>", path=Path("/x/<K>"), rows=({"token": "<secret-1>", "other": "<K>"},)
    )


def test_a_secret_that_is_a_word_is_not_replaced_inside_other_words():
    redactor = Redactor([("KEY", "short")])
    assert redactor.text("KEY is shorter than 32 characters, shortly") == "KEY is shorter than 32 characters, shortly"
    for text in ("it is short.", "a=short&b", "a%20short%20", '"\\nshort\\n"', "x_short_1", "http://u:short@h/"):
        assert "short" not in redactor.text(text)
        assert redactor.leaks(text) == ("<KEY>",)


def test_a_value_too_short_to_be_a_secret_is_not_replaced():
    assert Redactor([("API_KEY", "on")]).text("on and on") == "on and on"


@pytest.mark.parametrize(
    "name",
    [
        "API_KEY",
        "X-API-Key",
        "notion_token",
        "DB_PWD",
        "GOOGLE_CREDENTIALS_JSON",
        "key",
        "SMTP_PASS",
        "SECRET_KEY_BASE",
        "SIGNING_SECRET_V2",
        "API_KEY_OLD",
    ],
)
def test_a_name_sounds_secret(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["PWD", "MONKEY", "TOKENS", "KEYBOARD", "LOG_LEVEL", "PASSWORD_FILE_MODE", "BYPASS", "KEY_V"]
)
def test_a_name_does_not_sound_secret(name):
    assert not is_secret_name(name)


def test_a_plain_word_has_few_spellings():
    assert len(spellings("abcdefgh12345678")) <= 5


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh12345",
        "key required: Authorization: abcdefgh12345, or X-API-Key",
        "token=alpha123 https://u:pass1234@h/x",
    ],
)
def test_a_second_redaction_with_a_new_redactor_changes_nothing(text):
    once = Redactor().text(text)
    assert "12345" not in once
    assert Redactor().text(once) == once


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["-d", "secret", "url"], ["-d", MASK, "url"]),
        (["-dsecret", "url"], [f"-d{MASK}", "url"]),
        (["--data", "secret", "url"], ["--data", MASK, "url"]),
        (["--data=secret", "url"], [f"--data={MASK}", "url"]),
        (["-d", "-d", "url"], ["-d", MASK, "url"]),
        (["-d", "--data=secret", "url"], ["-d", MASK, "url"]),
        (["-c", "4", "url"], ["-c", "4", "url"]),
        (["url", "-d"], ["url", "-d"]),
    ],
    ids=[
        "in the next word",
        "in the same word",
        "in the next word of a long option",
        "after an equals sign",
        "a value that looks like the option",
        "a value that looks like another option",
        "another option",
        "an option without its value",
    ],
)
def test_the_values_of_named_options_are_masked_in_a_command_line(argv: list[str], shown: list[str]) -> None:
    assert list(mask_values(argv, ("-d", "--data"))) == shown


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.name)
def test_no_spelling_of_a_secret_is_left(canary: Canary):
    known = [(f"KNOWN_{n}", part) for n, value in enumerate(canary.known) for part in (value, *secrets_inside(value))]
    known += [("LINE", line) for value in canary.known for line in value.splitlines()]

    cleaned = Redactor(known).text(canary.text)

    assert [secret for secret in canary.secrets if secret in cleaned] == []


@pytest.mark.parametrize("text", INNOCENTS)
def test_innocent_text_stays_readable(text: str):
    assert Redactor().text(text) == text


def test_a_private_key_that_is_read_line_by_line_is_redacted():
    lines = next(canary for canary in CANARIES if canary.name == "an RSA private key").text.splitlines()
    redactor = Redactor()

    shown = [redactor.text(line) for line in ("before", *lines, "and after it")]

    assert not any(line in "\n".join(shown) for line in lines if line.isalnum() or "=" in line)
    assert (shown[0], shown[-1]) == ("before", "and after it")


STRUCTURES = {
    "a list under a name": ({"passwords": ["alpha123", "beta4567"]}, "alpha123", "beta4567"),
    "an object under a name": ({"credentials": {"user": "jane7788", "value": "alpha123"}}, "alpha123"),
    "a number under a name": ({"password": 88419731}, "88419731"),
    "a name and a value apart": ([{"name": "DB_PASSWORD", "value": "alpha123"}], "alpha123"),
    "a pair of a name and a value": ([("x-api-key", "alpha123")], "alpha123"),
    "a name in camel case": ({"clientSecret": "alpha123"}, "alpha123"),
    "a URL in a nested text": ({"a": {"b": ("url=postgresql://u:alpha123@h/d",)}}, "alpha123"),
    "a key of a mapping": ({"https://u:alpha123@h/": 1}, "alpha123"),
}


@pytest.mark.parametrize(("value", "secrets"), [(v, s) for v, *s in STRUCTURES.values()], ids=STRUCTURES)
def test_a_secret_in_a_structure_is_replaced_by_its_name_or_its_form(value: object, secrets: list[str]):
    assert [secret for secret in secrets if secret in repr(Redactor().value(value))] == []


@pytest.mark.parametrize(
    ("words", "secret"),
    [
        (["app", "--password", "two words 7", "--port", "80"], "words"),
        (["app", "--password=two words 7"], "words"),
        (["env", "PGPASSWORD=two words 7", "psql"], "words"),
        (["app", "-c", '{"token": "two words 7"}'], "words"),
    ],
    ids=["in the next word", "in the same word", "as a variable", "as a document"],
)
def test_a_value_with_blanks_in_a_command_line_is_one_value(words: list[str], secret: str):
    shown = " ".join(Redactor().argv(words))

    assert secret not in shown
    assert shown.startswith(words[0])


LONG = {
    "one letter": ("", "a", ""),
    "names": ("", "key=", ""),
    "open quotes": ("", 'password="', ""),
    "open brackets": ("", "tokens=[", ""),
    "dots and dashes": ("", "a.b-c_", "token"),
    "programs": ("", "curl ", ""),
    "user names": ("http://", "a:", ""),
    "blanks": ("", " ", "token"),
    "beginnings of keys": ("", "-----BEGIN A-----", ""),
    "backslashes": ("password=", "\\", '"'),
}


@pytest.mark.parametrize(("first", "unit", "last"), LONG.values(), ids=LONG)
def test_a_long_text_takes_time_in_proportion_and_not_its_square(first: str, unit: str, last: str):
    text = first + unit * (200_000 // len(unit)) + last
    began = time.process_time()

    Redactor().text(text)

    assert time.process_time() - began < 4
