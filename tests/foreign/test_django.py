"""Django behind gunicorn: hosts that it refuses, redirects to https, its pages of errors, and a login through smoke."""

import pytest

from tests.foreign.django_shop import HOST, HTTPS, PASSWORD, SECRET, gunicorn, install, log_in, migrate
from tests.support.foreign import UP, ForeignSystem, Keys, well
from tests.support.runner import data_of

SERVICES: dict[str, Keys] = {
    "shop": {"command": gunicorn(), "headers": HOST},
    "socket": {
        "command": gunicorn("unix:shop.sock"),
        "unix": "shop.sock",
        "headers": HOST,
        "health": {"path": "/health", "json": {"$.checks.database": "working"}},
    },
    "secure": {"command": gunicorn(), "env": {"SHOP_SECURE": "1"}, "headers": HTTPS},
    "debug": {"command": gunicorn(), "env": {"SHOP_DEBUG": "1"}, "headers": HOST},
    "hanging": {"command": gunicorn("{host}:{port}", "--timeout", "1"), "headers": HOST},
}


@pytest.fixture(scope="module")
def shops(shared: ForeignSystem) -> ForeignSystem:
    """The shop, served in several ways, started by one `toombos start`."""
    install(shared)
    migrate(shared)
    for name, keys in SERVICES.items():
        shared.add(name, **keys)
    shared.start()
    return shared


def test_healthy_shops_raise_no_alarm(shops: ForeignSystem) -> None:
    assert {name: well(row) for name, row in shops.health().items()} == dict.fromkeys(SERVICES, UP)
    shown = data_of(shops("status", "--json", exit_code=0))["services"]
    assert {row["phase"] for row in shown} == {"ready"}
    shops("smoke", "--wait", "5", exit_code=0)
    assert shops.alarms() == []


UNWELL: dict[str, tuple[str, Keys, tuple[str, str], tuple[str, ...]]] = {
    "a host that Django does not allow": ("shop", {"headers": None}, ("down", "status"), ("400", "Host")),
    "another host that Django does not allow": (
        "shop",
        {"headers": {"Host": "shop.example.org"}},
        ("down", "status"),
        ("400",),
    ),
    "a redirect to https": (
        "secure",
        {"headers": HOST},
        ("down", "status"),
        ("301", "https://shop.example.com/health"),
    ),
    "a page for members alone": ("shop", {"health": "/account"}, ("down", "status"), ("302", "/login")),
    "an error that nobody catches": ("shop", {"health": "/fail"}, ("down", "status"), ("500",)),
    "an error, with Django's page for developers": ("debug", {"health": "/fail"}, ("down", "status"), ("500",)),
    "a route that there is not": ("shop", {"health": "/healthz"}, ("down", "status"), ("404", "/healthz")),
    "a worker that hangs": (
        "hanging",
        {"health": "/hang", "probe_timeout_s": 0.4},
        ("down", "timeout"),
        ("0.4 s",),
    ),
    "a worker that gunicorn ends because it hangs": (
        "hanging",
        {"health": "/hang", "probe_timeout_s": 6},
        ("down", "status"),
        ("500",),
    ),
    "a value that is not the expected one": (
        "shop",
        {"health": {"path": "/health", "json": {"$.checks.cache": "fast"}}},
        ("degraded", "body"),
        ("$.checks.cache", "working"),
    ),
    "a socket at which nothing listens": ("socket", {"unix": "other.sock"}, ("down", "refused"), ("other.sock",)),
}


@pytest.mark.parametrize("sentence", UNWELL)
def test_an_unhealthy_shop_is_named_rightly(shops: ForeignSystem, sentence: str) -> None:
    name, keys, expected, words = UNWELL[sentence]
    before = shops.services[name]
    shops.change(name, **keys)
    try:
        row = shops.health(name)[name]
    finally:
        shops.services[name] = before
        shops.write()
    assert well(row) == expected, row
    for word in words:
        assert word in row["detail"]


STARTS_NOT = ("a host that Django does not allow", "a redirect to https", "an error that nobody catches")


@pytest.mark.parametrize("sentence", STARTS_NOT)
def test_start_does_not_call_it_ready(system: ForeignSystem, sentence: str) -> None:
    """What health calls down, start must not call ready, and it says why in the same words."""
    name, keys, _, words = UNWELL[sentence]
    install(system)
    migrate(system)
    system.add(name, **SERVICES[name] | {"startup_timeout_s": 2})
    system.change(name, **keys)
    done = system("start")
    assert done.returncode == 4, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr


ACCOUNT = {"name": "account", "service": "shop", "path": "/account", "json": {"$.member": "ada"}}
SENT_ON = {
    "status": 302,
    "response_headers": {"Location": "/account"},
    "response_cookies": {"sessionid": {"min_length": 20}},
    "capture": {"next": {"header": "Location"}, "session": {"cookie": "sessionid"}},
}

FLOWS: dict[str, tuple[Keys, list[Keys], dict[str, str]]] = {
    "a login whose session is used afterwards": ({}, [*log_in("shop", **SENT_ON), ACCOUNT], {}),
    "the page after the login, followed as a captured link": (
        {},
        [*log_in("shop", **SENT_ON), ACCOUNT | {"path": "${next}"}],
        {},
    ),
    "the page after the login, followed as a redirect": (
        {},
        log_in("shop", follow_redirects=True, json={"$.member": "ada"}),
        {},
    ),
    "a session cookie for the domain of the host header": (
        {"env": {"SHOP_COOKIES_FOR": "shop.example.com"}},
        [*log_in("shop", **SENT_ON), ACCOUNT],
        {},
    ),
    "a session cookie for a domain above the host header": (
        {"env": {"SHOP_COOKIES_FOR": ".example.com"}},
        [*log_in("shop", **SENT_ON), ACCOUNT],
        {},
    ),
    "a session cookie for another domain": (
        {"env": {"SHOP_COOKIES_FOR": "shop.example.org"}},
        [*log_in("shop", status=302), ACCOUNT],
        {"account": "fail"},
    ),
    "a session cookie for https alone, on this machine": (
        {"env": {"SHOP_SECURE_COOKIES": "1"}},
        [*log_in("shop", **SENT_ON), ACCOUNT],
        {},
    ),
    "a wrong password": (
        {},
        [*log_in("shop", "babbage", **SENT_ON), ACCOUNT],
        {"log-in": "fail", "account": "fail"},
    ),
    "a form without the token": (
        {},
        [*log_in("shop", form={"username": "ada", "password": PASSWORD}, status=302)],
        {"log-in": "fail"},
    ),
    "a page for members, without a login": (
        {},
        [{"name": "account", "service": "shop", "path": "/account", "status": 200}],
        {"account": "fail"},
    ),
}


@pytest.mark.parametrize("sentence", FLOWS)
def test_smoke_logs_in_as_a_browser_would(system: ForeignSystem, sentence: str) -> None:
    keys, steps, failing = FLOWS[sentence]
    install(system)
    migrate(system)
    system.add("shop", **SERVICES["shop"] | keys)
    system.smoke(*steps)
    system.start()
    found = system.smoke_steps()
    wrong = {name: step["verdict"] for name, step in found.items() if step["verdict"] != "pass"}
    assert wrong == failing, found
    assert SECRET not in str(found), "the password is shown"
