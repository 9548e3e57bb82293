"""The examples of docs/smoke.md, each with a server that does what the page says."""

import json
import re
from pathlib import Path

import pytest
from werkzeug import Request, Response

from tests.support.ports import free_port
from tests.support.runner import data_of
from tests.support.servers import serve
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.smoke.environment import read_environment
from toombos_cli.smoke.plan import make_plan
from toombos_cli.smoke.run import run_smoke

PAGE = (Path(__file__).parents[2] / "docs" / "smoke.md").read_text()
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
COMPLETE = [example for example in EXAMPLES if "[services." in example]
PASSWORD = "password-of-the-page-3"


class Shop:
    """Takes orders and mails them, lists items, knows one user, and makes reports that take a while."""

    def __init__(self):
        self.stored: dict[str, dict[str, object]] = {}
        self.mails = self.polls = 0

    def __call__(self, request: Request) -> Response:
        route = request.path.strip("/").partition("/")[0]
        if request.method == "DELETE":
            return as_json(self.stored.pop(request.path))
        return getattr(self, f"{request.method.lower()}_{route}")(request)

    def get_health(self, request):
        return as_json({"status": "ok", "dry_run": True})

    def get_stats(self, request):
        return as_json({"mails_sent": self.mails})

    def post_orders(self, request):
        assert request.headers["X-API-Key"] == "key-of-the-page"
        self.mails += 1
        order = self.stored["/orders/5"] = {"id": 5, "state": "accepted", "lines": [{"price": 9.5}]}
        return as_json(order, 201)

    def get_orders(self, request):
        return as_json(self.stored[request.path])

    def get_items(self, request):
        page = int(request.args.get("page", "1"))
        return as_json({"items": [page], "next": f"/items?page={page + 1}"})

    def get_login(self, request):
        return Response('<input name="csrf" value="t0k3n">', content_type="text/html")

    def post_login(self, request):
        assert (request.form["csrf"], request.form["user"], request.form["password"]) == ("t0k3n", "smoke", PASSWORD)
        return as_json({}, 302, {"Location": "/account", "Set-Cookie": "session=s; Path=/"})

    def get_account(self, request):
        return as_json({"user": "smoke"} if request.cookies.get("session") == "s" else {})

    def post_reports(self, request):
        self.stored["/reports/1"] = {"state": "running"}
        return as_json({}, 202, {"Location": "/reports/1"})

    def get_reports(self, request):
        self.polls += 1
        return as_json({"state": "done"} if self.polls > 1 else self.stored[request.path])


def as_json(value, status=200, headers=None) -> Response:
    return Response(json.dumps(value), status, content_type="application/json", headers=headers)


def redis(connection):
    while data := connection.recv(100):
        connection.sendall(b"+PONG\r\n" if data == b"PING\r\n" else b"-ERR\r\n")


def mail(connection):
    connection.sendall(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize("example", COMPLETE, ids=["first"])
def test_the_first_example_works_when_it_is_pasted(toombos, project, example):
    (project / "toombos.toml").write_text(example.replace("8090", str(free_port())))
    started = toombos("start")
    assert started.returncode == 0, started.stderr
    steps = data_of(toombos("smoke", "--json"))["steps"]
    assert {step["name"]: step["verdict"] for step in steps} == dict.fromkeys(
        ("health-files", "manifest", "no-such-file"), "pass"
    )


OTHERS = {re.findall(r'name = "(.+?)"', example)[-1]: example for example in EXAMPLES if example not in COMPLETE}


@pytest.mark.parametrize("example", OTHERS.values(), ids=OTHERS)
def test_an_example_passes(tmp_path, httpserver, monkeypatch, example):
    monkeypatch.setenv("SHOP_KEY", "key-of-the-page")
    monkeypatch.setenv("SMOKE_PASSWORD", PASSWORD)
    shop = Shop()
    httpserver.expect_request(re.compile(".*")).respond_with_handler(shop)
    with serve(redis) as redis_port, serve(mail) as mail_port:
        ports = {"shop": httpserver.port, "mailer": httpserver.port, "redis": redis_port, "mail": mail_port}
        used = [name for name in ports if f'service = "{name}"' in example]
        services = "".join(
            f'[services.{name}]\ncommand = ["unused"]\nport = {ports[name]}\n'
            + ('host = "localhost"\n' if name == "mailer" else "")
            + ('scheme = "tcp"\n' if name in ("redis", "mail") else "")
            for name in used
        )
        (tmp_path / "toombos.toml").write_text(services + example)
        manifest = load_manifest(tmp_path)
        report = run_smoke(manifest, make_plan(manifest), environment=read_environment(manifest))
    assert [(s.name, s.got, s.detail) for s in report.steps if s.verdict != "pass"] == []
    assert report.left_behind == ()
    assert shop.stored == {}, "something was left behind"
