"""`health`, `ready` and `live` are one language: a path, a table of conditions, or a command."""

from pathlib import Path

import pytest

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.manifest.tables.health_words import dictionary
from toombos_cli.manifest.tables.service import Service

TCP = 'port = 1\nscheme = "tcp"\n'
HTTPS = 'port = 1\nscheme = "https"\n'


def service(project: Path, lines: str, top: str = "") -> Service:
    """Return the service of a manifest with these lines in its table."""
    (project / "toombos.toml").write_text(f'[services.s]\ncommand = ["x"]\n{lines}\n{top}\n')
    return load_manifest(project).services["s"]


INVALID = {
    "an unknown key": ("port = 1\nhealth = { pth = '/x' }", "unknown key services.s.health.pth"),
    "another type": (
        "port = 1\nhealth = 7",
        "services.s.health: must be a text in quotes or a table",
    ),
    "a path that is not one": ("port = 1\nhealth = { path = 'x' }", "path must be a path that begins with /"),
    "a method that no one knows": ("port = 1\nready = { path = '/', method = 'GETT' }", "'GETT' is not one of"),
    "a status that no response has": ("port = 1\nlive = { status = 700 }", "a status is 100 to 599"),
    "a class that no response has": ("port = 1\nlive = { status = '9xx' }", "write 200, [200, 204] or '2xx'"),
    "no status at all": ("port = 1\nlive = { status = [] }", "a status is 100 to 599"),
    "an operator that no one knows": ("port = 1\nhealth = { json = { a = { mn = 1 } } }", "unknown operator 'mn'"),
    "a JSON path that is not one": ("port = 1\nhealth = { json = { 'a[' = 1 } }", "json: a["),
    "a regular expression that is not one": ("port = 1\nhealth = { text = '(' }", "text is not a regular expression"),
    "no bytes at all": ("port = 1\nhealth = { body_max = 0 }", "body_max must be at least 1 byte"),
    "no time at all": ("port = 1\nhealth = { timeout_s = 0 }", "timeout_s must be above 0"),
    "a word in two lists": ("port = 1\nwords = { well = ['a_b'], down = ['A B'] }", "down and well both list"),
    "a command and a path": (
        "port = 1\nhealth = { command = ['x'], path = '/' }",
        "path is for HTTP, but command is set",
    ),
    "a command and a condition on JSON": (
        "port = 1\nready = { command = ['x'], text = 'a', json = { a = 1 } }",
        "json is for HTTP, but command is set",
    ),
    "a command and no regular expression": (
        "port = 1\nhealth = { command = ['x'], text = '(' }",
        "text is not a regular expression",
    ),
    "a header that cannot be sent": ('port = 1\nheaders = { A = "x\\ny" }', "has a character that cannot be sent"),
    "a header without a name": ("port = 1\nheaders = { 'a b' = 'x' }", "'a b' is not the name of a header"),
    "a variable of another kind": ("port = 1\nheaders = { A = '${x}' }", "write ${env.NAME}"),
    "conditions without HTTP": (f"{TCP}health = {{ status = 200 }}", "health needs `command`"),
    "headers without HTTP": (f"{TCP}headers = {{ A = 'x' }}", "headers is set, but scheme = 'tcp' speaks no HTTP"),
    "a socket without HTTP": ('unix = "a"\nscheme = "tcp"', "unix is set, but scheme = 'tcp' speaks no HTTP"),
    "neither a port nor a socket": ("", "port is missing"),
    "certificates without TLS": ('port = 1\nca_file = "a"', "only scheme = 'https' has certificates"),
    "a key without a certificate": (f'{HTTPS}client_key = "a"', "client_key is set, but client_cert is not"),
    "authorities that do not count": (f'{HTTPS}ca_file = "a"\ninsecure = true', "insecure accepts any certificate"),
    "an unknown placeholder": ("port = 1\nhealth = { command = ['{prot}'] }", "unknown placeholder {prot}"),
}


@pytest.mark.parametrize(("lines", "text"), INVALID.values(), ids=INVALID)
def test_a_mistake_is_reported_with_its_line(tmp_path: Path, lines: str, text: str):
    with pytest.raises(ConfigurationError) as caught:
        service(tmp_path, lines)
    assert text in "; ".join(problem.message for problem in caught.value.problems)
    assert all(problem.where.rpartition(":")[2].isdigit() for problem in caught.value.problems)


def test_the_short_form_is_a_table_with_a_path(tmp_path: Path):
    found = service(tmp_path, "port = 1\nhealth = '/a'\nready = { status = 204 }\nheaders = { Host = 'h' }")
    assert found.expectation("health").path == found.health_path == "/a"
    assert found.expectation("ready").path == "/a"
    assert found.expectation("live").headers == {"Host": "h"}
    assert (found.ready_path, found.live_path) == ("/a", None)


def test_commands_and_files_have_placeholders_and_whole_paths(tmp_path: Path):
    lines = "health = { command = ['c', '{unix}', '{services.s.url}'] }\nunix = 'run/{name}.sock'"
    found = service(tmp_path, lines)
    assert found.unix == f"{tmp_path.resolve()}/run/s.sock"
    assert found.expectation("health").command == ("c", found.unix, "http://localhost")
    assert (found.url, found.place, found.listens) == ("http://localhost", f"unix:{found.unix}", True)


def test_words_of_the_system_are_outweighed_by_those_of_a_service(tmp_path: Path):
    found = service(
        tmp_path,
        "port = 1\nwords = { well = ['yellow'] }\nhealth = { words = { down = ['meh'] } }",
        "[health_words]\ndown = ['Yellow', 'groovy']",
    )
    words = dictionary((found.words, found.expectation("health").words))
    assert (words["yellow"], words["groovy"], words["meh"]) == ("well", "down", "down")
