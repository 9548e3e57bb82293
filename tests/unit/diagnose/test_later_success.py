"""Which errors in a log are over, because the request that failed succeeded later."""

import pytest

from toombos_cli.diagnose.checks.later_success import has_succeeded_since, is_own_refusal
from toombos_cli.diagnose.facts.logs import LogEntry

NGINX = '[error] 9#9: *1 connect() failed (111: Connection refused), client: 127.0.0.1, request: "GET /x HTTP/1.1"'
DJANGO = "Internal Server Error: /ht/"
OWN, USER = ' "-" "toombos/1.0.0"', ' "-" "curl/8.5.0 (not toombos/1.0.0 or so)"'
PYTHON = "ValueError: bad"

# the lines of a log, the first of which is the error; whether it is over
LOGS: dict[str, tuple[list[str], bool]] = {
    "nginx: the same request succeeded": ([NGINX, '"GET /x HTTP/1.1" 502 1', '"GET /x HTTP/1.1" 200 9'], True),
    "nginx: it has not been asked again": ([NGINX, '"GET /x HTTP/1.1" 502 1'], False),
    "nginx: another request succeeded": ([NGINX, '"GET /x HTTP/1.1" 502 1', '"GET /y HTTP/1.1" 200 9'], False),
    "nginx: another method succeeded": ([NGINX, '"GET /x HTTP/1.1" 502 1', '"POST /x HTTP/1.1" 200 9'], False),
    "nginx: it failed, succeeded and failed again": (
        [NGINX, '"GET /x HTTP/1.1" 502 1', '"GET /x HTTP/1.1" 200 9', '"GET /x HTTP/1.1" 502 1'],
        False,
    ),
    "Django: the line of its server": ([DJANGO, '"GET /ht/ HTTP/1.1" 500 145', '"GET /ht/ HTTP/1.1" 200 12'], True),
    "Django: the failed line is far away": ([DJANGO, '"GET /ht/?a=1 HTTP/1.1" 200 12'], True),
    "uvicorn: a traceback and its request": (
        [
            PYTHON,
            'INFO: 127.0.0.1:5 - "POST /pay HTTP/1.1" 500 Internal Server Error',
            '"POST /pay HTTP/1.1" 201 Created',
        ],
        True,
    ),
    "morgan of Node": ([PYTHON, "GET /pay 500 3.1 ms - 12", "GET /pay 200 2.0 ms - 4"], True),
    "it fails every other time": (
        [DJANGO, *['"GET /ht/ HTTP/1.1" 500 1', '"GET /ht/ HTTP/1.1" 200 1'] * 4],
        False,
    ),
    "it failed often and has succeeded often": (
        [DJANGO, *['"GET /ht/ HTTP/1.1" 500 1'] * 4, *['"GET /ht/ HTTP/1.1" 200 1'] * 3],
        True,
    ),
    "a redirection is a success": ([DJANGO, '"GET /ht/ HTTP/1.1" 302 0'], True),
    "a refusal is not": ([DJANGO, '"GET /ht/ HTTP/1.1" 404 0'], False),
    "an error of no request, before a request that succeeded": ([PYTHON, '"GET /x HTTP/1.1" 200 9'], False),
    "no access line": ([PYTHON, "fine"], False),
    "a proxy has reached the service again, which fails": (
        [NGINX, '"GET /x HTTP/1.1" 504 1', '"GET /x HTTP/1.1" 503 1'],
        True,
    ),
    "a proxy does not reach the service": ([NGINX, '"GET /x HTTP/1.1" 504 1', '"GET /x HTTP/1.1" 502 1'], False),
    "a success of toombos counts": (
        [DJANGO, f'"GET /ht/ HTTP/1.1" 500 1{OWN}', f'"GET /ht/ HTTP/1.1" 200 1{OWN}'],
        True,
    ),
    "a failure of toombos counts": ([DJANGO, '"GET /ht/ HTTP/1.1" 200 1', f'"GET /ht/ HTTP/1.1" 503 1{OWN}'], False),
    "a refusal that toombos asked for does not": (
        [DJANGO, '"GET /ht/ HTTP/1.1" 500 1', '"GET /ht/ HTTP/1.1" 200 1', f'"GET /ht/ HTTP/1.1" 401 1{OWN}'],
        True,
    ),
    "a probe of toombos stands between an error and its request": (
        [PYTHON, f'"GET /ht/ HTTP/1.1" 200 1{OWN}', '"POST /pay HTTP/1.1" 500 1', '"POST /pay HTTP/1.1" 201 1'],
        True,
    ),
    "a request of somebody else stands between": (
        [PYTHON, f'"GET /ht/ HTTP/1.1" 200 1{USER}', '"POST /pay HTTP/1.1" 500 1', '"POST /pay HTTP/1.1" 201 1'],
        False,
    ),
}


@pytest.mark.parametrize(("texts", "is_over"), LOGS.values(), ids=LOGS)
def test_an_error_is_over_if_its_request_succeeded_later(texts: list[str], is_over: bool):
    lines = log_of(texts)
    assert has_succeeded_since(lines, lines[0]) is is_over


MISSING = '[error] 9#9: *1 open() "/x" failed (2: No such file or directory), request: "GET /x HTTP/1.1"'
OWN_REQUESTS: dict[str, tuple[list[str], bool]] = {
    "toombos asked for what is not there": ([MISSING, f'"GET /x HTTP/1.1" 404 1{OWN}'], True),
    "somebody else did": ([MISSING, f'"GET /x HTTP/1.1" 404 1{USER}'], False),
    "somebody else did first": ([MISSING, f'"GET /x HTTP/1.1" 404 1{USER}', f'"GET /x HTTP/1.1" 404 1{OWN}'], False),
    "the request of toombos failed": ([NGINX, f'"GET /x HTTP/1.1" 502 1{OWN}'], False),
    "the error names no request": ([PYTHON, f'"GET /x HTTP/1.1" 404 1{OWN}'], False),
}


@pytest.mark.parametrize(("texts", "is_own"), OWN_REQUESTS.values(), ids=OWN_REQUESTS)
def test_an_error_of_a_request_that_only_toombos_made_is_no_evidence_if(texts: list[str], is_own: bool):
    lines = log_of(texts)
    assert is_own_refusal(lines, lines[0]) is is_own


def log_of(texts: list[str]) -> list[LogEntry]:
    """Return the lines of a log, the first of which is an error."""
    return [
        LogEntry(path="a.log", line=None, offset=number, at=None, error=number == 0, startup=False, text=text)
        for number, text in enumerate(texts)
    ]
