"""The table of health responses that real servers, frameworks and proxies send, with the verdict each deserves."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field

JSON = "application/json"
HEALTH_JSON = "application/health+json"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
XML = "application/xml"

_SINGLE_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title>'
    '<script type="module" src="/assets/index.js"></script></head><body><div id="root"></div></body></html>'
)
_LOGIN = (
    "<html><head><title>Sign in</title></head><body><form method=post action=/login>"
    "<input name=user><input type=password name=password><button>OK</button></form></body></html>"
)
_LISTING = (
    "<!DOCTYPE HTML><html><head><title>Directory listing for /</title></head>"
    '<body><h1>Directory listing for /</h1><hr><ul><li><a href="app.py">app.py</a></li></ul></body></html>'
)
_MAINTENANCE = "<html><head><title>Maintenance</title></head><body><h1>We will be back soon</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Shape:
    """One health response: what is asked, what is sent and the state it means."""

    name: str
    expected: str  # well, starting, degraded or down
    body: bytes
    content_type: str = JSON
    status: int = 200
    path: str = "/health"
    headers: dict[str, str] = field(default_factory=dict)


def _shape(
    name: str,
    expected: str,
    body: object,
    content_type: str = JSON,
    status: int = 200,
    path: str = "/health",
    headers: dict[str, str] | None = None,
) -> Shape:
    """Return a shape; a body that is neither text nor bytes is sent as JSON."""
    if isinstance(body, str):
        sent = body.encode()
    elif isinstance(body, bytes):
        sent = body
    else:
        sent = json.dumps(body).encode()
    return Shape(name, expected, sent, content_type, status, path, headers or {})


def _spring(status: str, **components: str) -> dict[str, object]:
    parts = {name: {"status": value, "details": {"exists": False}} for name, value in components.items()}
    return {"status": status, "components": parts}


def _checks(status: str, *checks: str) -> dict[str, object]:
    return {"status": status, "checks": [{"name": f"check {n}", "status": word} for n, word in enumerate(checks)]}


def _net(status: str, **entries: str) -> dict[str, object]:
    parts = {name: {"data": {}, "duration": "00:00:00.1", "status": word} for name, word in entries.items()}
    return {"status": status, "totalDuration": "00:00:00.2", "entries": parts}


def _kibana(level: str, plugin: str = "available") -> dict[str, object]:
    core = {"elasticsearch": {"level": level, "summary": "s"}}
    return {
        "name": "kibana",
        "status": {"overall": {"level": level}, "core": core, "plugins": {"reporting": {"level": plugin}}},
        "metrics": {"collection_interval_in_millis": 5000},
    }


def _deep(word: str, depth: int) -> object:
    value: object = {"status": word}
    for _ in range(depth):
        value = {"components": {"part": value}}
    return value


JVM = (
    _shape("Spring Boot: UP", "well", {"status": "UP"}, "application/vnd.spring-boot.actuator.v3+json"),
    _shape("Spring Boot: UP with groups", "well", {"status": "UP", "groups": ["liveness", "readiness"]}),
    _shape("Spring Boot: UP with components that are up", "well", _spring("UP", db="UP", diskSpace="UP")),
    _shape("Spring Boot: DOWN sent with 200 (version 1.1, or a mapped status)", "down", {"status": "DOWN"}),
    _shape("Spring Boot: DOWN with 503", "down", _spring("DOWN", db="DOWN"), status=503),
    _shape("Spring Boot: OUT_OF_SERVICE", "down", {"status": "OUT_OF_SERVICE"}),
    _shape("Spring Boot: UNKNOWN", "degraded", {"status": "UNKNOWN"}),
    _shape("Spring Boot: UP with a component that does not know", "well", _spring("UP", discovery="UNKNOWN")),
    _shape("Spring Boot: UP with a component that is down", "down", _spring("UP", db="DOWN", diskSpace="UP")),
    _shape(
        "Spring Boot 2.1: nested details, one down",
        "down",
        {"status": "UP", "details": {"db": {"status": "DOWN", "details": {"error": "refused"}}}},
    ),
    _shape(
        "Spring Boot: a composite whose second part is down",
        "down",
        {"status": "UP", "components": {"broker": {"status": "UP", "components": {"us2": {"status": "DOWN"}}}}},
    ),
    _shape("MicroProfile: UP without checks (Keycloak)", "well", {"status": "UP", "checks": []}),
    _shape("MicroProfile: UP with checks", "well", _checks("UP", "UP", "UP")),
    _shape("MicroProfile: DOWN with 503", "down", _checks("DOWN", "UP", "DOWN"), status=503),
    _shape("MicroProfile: a check that is down", "down", _checks("UP", "UP", "DOWN")),
    _shape("Eureka in XML: UP", "well", "<application><status>UP</status></application>", XML),
    _shape("Eureka in XML: OUT_OF_SERVICE", "down", "<instance><status>OUT_OF_SERVICE</status></instance>", XML),
    _shape(
        "Zipkin: UP",
        "well",
        {"status": "UP", "zipkin": {"status": "UP", "details": {"InMemoryStorage{}": {"status": "UP"}}}},
    ),
    _shape("ksqlDB: healthy", "well", {"isHealthy": True, "details": {"metastore": {"isHealthy": True}}}),
    _shape("ksqlDB: not healthy", "down", {"isHealthy": False, "details": {"metastore": {"isHealthy": False}}}),
)

DOT_NET = (
    _shape(".NET: Healthy", "well", "Healthy", "text/plain"),
    _shape(".NET: Degraded", "degraded", "Degraded", "text/plain"),
    _shape(".NET: Unhealthy sent with 200", "down", "Unhealthy", "text/plain"),
    _shape(".NET: Unhealthy with 503", "down", "Unhealthy", "text/plain", status=503),
    _shape(".NET UI client: Healthy", "well", _net("Healthy", sql="Healthy")),
    _shape(".NET UI client: Degraded", "degraded", _net("Degraded", sql="Healthy", storage="Degraded")),
    _shape(".NET UI client: Unhealthy", "down", _net("Unhealthy", sql="Unhealthy", storage="Degraded")),
    _shape(".NET own writer: results", "degraded", {"status": "Healthy", "results": {"db": {"status": "Degraded"}}}),
)

DRAFT = (
    _shape("health+json: pass", "well", {"status": "pass", "version": "1", "notes": [""]}, HEALTH_JSON),
    _shape("health+json: warn", "degraded", {"status": "warn"}, HEALTH_JSON),
    _shape("health+json: fail", "down", {"status": "fail", "output": "no disk"}, HEALTH_JSON),
    _shape(
        "health+json: pass with a list of checks, one warns",
        "degraded",
        {"status": "pass", "checks": {"cpu:utilization": [{"status": "pass"}, {"status": "warn"}]}},
        HEALTH_JSON,
    ),
    _shape(
        "health+json: pass with a list of checks, one fails",
        "down",
        {"status": "pass", "checks": {"db:connections": [{"status": "fail", "observedValue": 75}]}},
        HEALTH_JSON,
    ),
    _shape(
        "health+json: the whole warns of a check that fails",
        "degraded",
        {"status": "warn", "checks": {"cache:ping": [{"status": "fail"}]}},
        HEALTH_JSON,
    ),
    _shape("Gitea: pass", "well", {"status": "pass", "checks": {"database:ping": [{"status": "pass", "time": "t"}]}}),
    _shape(
        "Tyk: pass",
        "well",
        {"status": "pass", "version": "5", "details": {"redis": {"status": "pass", "componentType": "datastore"}}},
    ),
    _shape("Tyk: fail", "down", {"status": "fail", "details": {"redis": {"status": "fail", "output": "x"}}}),
    _shape(
        "InfluxDB: pass",
        "well",
        {"name": "influxdb", "message": "ready for queries and writes", "status": "pass", "checks": []},
    ),
    _shape("InfluxDB: ready, with the time it is up", "well", {"status": "ready", "started": "2026", "up": "3m6s"}),
)

NODE_AND_GO = (
    _shape(
        "NestJS: ok",
        "well",
        {"status": "ok", "info": {"db": {"status": "up"}}, "error": {}, "details": {"db": {"status": "up"}}},
    ),
    _shape(
        "NestJS: error",
        "down",
        {"status": "error", "info": {}, "error": {"redis": {"status": "down"}}, "details": {}},
        status=503,
    ),
    _shape(
        "NestJS: ok beside an error that is not empty", "down", {"status": "ok", "error": {"r": {"status": "down"}}}
    ),
    _shape("NestJS: shutting_down", "down", {"status": "shutting_down", "info": {}, "details": {}}),
    _shape("alexliesenfeld/health: up", "well", {"status": "up", "details": {"db": {"status": "up"}}}),
    _shape("alexliesenfeld/health: a part is down", "down", {"status": "up", "details": {"db": {"status": "down"}}}),
    _shape("hellofresh/health-go: OK", "well", {"status": "OK", "system": {"goroutines_count": 4}}),
    _shape(
        "hellofresh/health-go: partially available",
        "degraded",
        {"status": "Partially Available", "failures": {"rabbitmq": "failed during connect"}},
    ),
    _shape("hellofresh/health-go: unavailable", "down", {"status": "Service Unavailable", "failures": {"db": "x"}}),
    _shape("InVision/go-health: ok", "well", {"status": "ok", "details": {"db": {"status": "ok", "fatal": True}}}),
    _shape(
        "InVision/go-health: a check that is not fatal fails",
        "well",
        {"status": "ok", "details": {"cache": {"status": "failed", "fatal": False}, "db": {"status": "ok"}}},
    ),
    _shape("InVision/go-health: failed", "down", {"status": "failed", "details": {"db": {"status": "failed"}}}),
    _shape("gRPC gateway: SERVING", "well", {"status": "SERVING"}),
    _shape("gRPC gateway: NOT_SERVING", "down", {"status": "NOT_SERVING"}),
    _shape("gRPC gateway: SERVICE_UNKNOWN", "degraded", {"status": "SERVICE_UNKNOWN"}),
    _shape("Nomad: ok", "well", {"client": {"message": "ok", "ok": True}, "server": {"message": "ok", "ok": True}}),
    _shape("Nomad: a server that is not ok", "down", {"client": {"ok": True}, "server": {"message": "x", "ok": False}}),
    _shape("OpenTelemetry collector: available", "well", {"status": "Server available", "uptime": "5s"}),
    _shape("OpenTelemetry collector: not available", "down", {"status": "Server not available"}),
    _shape("Kubernetes: ok", "well", "ok", TEXT),
    _shape("Kubernetes: verbose", "well", "[+]ping ok\n[+]etcd ok\nhealthz check passed\n", TEXT),
    _shape("Kubernetes: verbose, failed", "down", "[-]etcd failed: reason withheld\nhealthz check failed\n", TEXT, 500),
    _shape("Harbor: healthy", "well", {"status": "healthy", "components": [{"name": "core", "status": "healthy"}]}),
    _shape(
        "Harbor: a component that is unhealthy",
        "down",
        {"status": "healthy", "components": [{"name": "redis", "status": "unhealthy", "error": "x"}]},
    ),
)

STORES = (
    _shape("etcd: true", "well", {"health": "true", "reason": ""}),
    _shape("etcd: false", "down", {"health": "false", "reason": "ALARM NOSPACE"}),
    _shape("Elasticsearch: green", "well", {"cluster_name": "c", "status": "green", "timed_out": False}),
    _shape("Elasticsearch: yellow", "degraded", {"cluster_name": "c", "status": "yellow", "timed_out": False}),
    _shape("OpenSearch: red", "down", {"cluster_name": "c", "status": "red", "timed_out": False}),
    _shape("Elasticsearch: its first page", "well", {"name": "n", "tagline": "You Know, for Search"}, path="/"),
    _shape("Elasticsearch: _cat/health", "well", "1475871424 16:17:04 elasticsearch green 1 1\n", TEXT),
    _shape("Kibana: available", "well", _kibana("available")),
    _shape("Kibana: degraded", "degraded", _kibana("degraded")),
    _shape("Kibana: unavailable", "down", _kibana("unavailable")),
    _shape("Kibana: a plugin that is degraded", "degraded", _kibana("available", "degraded")),
    _shape("Kibana 7: green", "well", {"status": {"overall": {"state": "green"}, "statuses": [{"state": "green"}]}}),
    _shape("CouchDB: ok", "well", {"status": "ok", "seeds": {}}),
    _shape("CouchDB: maintenance_mode", "down", {"status": "maintenance_mode"}, status=404),
    _shape("ClickHouse: Ok.", "well", "Ok.\n", TEXT),
    _shape(
        "Solr: OK with a response header of 0", "well", {"responseHeader": {"status": 0, "QTime": 1}, "status": "OK"}
    ),
    _shape("Meilisearch: available", "well", {"status": "available"}),
    _shape("Typesense: ok", "well", {"ok": True}),
    _shape("Typesense: not ok", "down", {"ok": False}),
    _shape("Qdrant: a sentence", "well", "healthz check passed", TEXT),
    _shape("ZooKeeper: imok", "well", "imok", TEXT),
    _shape("CockroachDB: an empty object", "well", {}),
    _shape("MinIO: an empty body", "well", "", TEXT),
    _shape("PostgREST: an empty body without a type", "well", "", ""),
    _shape("Weaviate: 204", "well", "", "", 204),
    _shape("Neo4j: true as JSON", "well", True),
    _shape("MongoDB Data API: ok 1", "well", {"ok": 1}),
    _shape("MongoDB Data API: ok 0", "down", {"ok": 0, "errmsg": "not primary"}),
    _shape("RabbitMQ: ok", "well", {"status": "ok"}),
    _shape("RabbitMQ: failed", "down", {"status": "failed", "reason": "There are alarms in effect"}),
    _shape("NATS: unavailable", "down", {"status": "unavailable", "error": "JetStream"}),
    _shape("Pulsar: ok", "well", "ok", TEXT),
)

OPERATIONS = (
    _shape("Vault: initialized and unsealed", "well", {"initialized": True, "sealed": False, "standby": False}),
    _shape("Vault: standby with 429", "down", {"initialized": True, "sealed": False, "standby": True}, status=429),
    _shape("Vault: sealed with 503", "down", {"initialized": True, "sealed": True, "standby": True}, status=503),
    _shape("Consul: leader", "well", '"10.1.10.12:8300"'),
    _shape("Consul: passing", "well", [{"Node": {"Node": "n"}, "Checks": [{"Status": "passing"}]}]),
    _shape("Consul: warning", "degraded", [{"Checks": [{"Status": "passing"}, {"Status": "warning"}]}]),
    _shape("Consul: critical", "down", {"mem": {"CheckID": "mem", "Status": "critical", "Output": "x"}}),
    _shape("Grafana: ok", "well", {"database": "ok", "version": "11.0.0", "commit": "abc"}),
    _shape("Grafana: failing", "down", {"database": "failing", "version": "11.0.0", "commit": "abc"}, status=503),
    _shape("Prometheus: healthy", "well", "Prometheus Server is Healthy.\n", TEXT),
    _shape("Prometheus: ready", "well", "Prometheus Server is Ready.\n", TEXT),
    _shape("Prometheus: starting", "down", "Service Unavailable", TEXT, 503),
    _shape("Alertmanager: OK", "well", "OK", TEXT),
    _shape("Loki: ready", "well", "ready\n", TEXT),
    _shape("Loki: not ready", "down", "Ingester not ready: waiting for 15s after being ready\n", TEXT, 503),
    _shape("SonarQube: GREEN", "well", {"health": "GREEN", "causes": []}),
    _shape("SonarQube: YELLOW", "degraded", {"health": "YELLOW", "causes": [{"message": "m"}]}),
    _shape("SonarQube: RED", "down", {"health": "RED", "causes": [{"message": "m"}]}),
    _shape("SonarQube: STARTING", "starting", {"id": "1", "version": "10", "status": "STARTING"}),
    _shape("SonarQube: RESTARTING", "starting", {"id": "1", "version": "10", "status": "RESTARTING"}),
    _shape("GitLab: health", "well", "GitLab OK", TEXT),
    _shape("GitLab: readiness", "well", {"status": "ok", "master_check": [{"status": "ok"}]}),
    _shape("GitLab: readiness of a cache that failed", "down", {"status": "ok", "cache_check": [{"status": "failed"}]}),
    _shape("Metabase: initializing", "starting", {"status": "initializing", "progress": 0.5}),
    _shape("Mattermost: unhealthy", "down", {"AndroidLatestVersion": "", "status": "unhealthy"}),
    _shape("Home Assistant: a message", "well", {"message": "API running."}),
    _shape("Nextcloud: installed", "well", {"installed": True, "maintenance": False, "needsDbUpgrade": False}),
    _shape("Hasura: OK", "well", "OK", TEXT),
    _shape("Hasura: WARN", "degraded", "WARN: inconsistent objects in schema", TEXT),
    _shape("Hasura: ERROR", "down", "ERROR", TEXT),
    _shape(
        "Airflow: the scheduler is unhealthy",
        "down",
        {"metadatabase": {"status": "healthy"}, "scheduler": {"status": "unhealthy"}},
    ),
    _shape("Airflow: a part that does not run", "well", {"metadatabase": {"status": "healthy"}, "p": {"status": None}}),
    _shape("TorchServe: partly healthy", "degraded", {"status": "Partial Healthy"}),
    _shape(
        "TensorFlow Serving: loading",
        "starting",
        {"model_version_status": [{"version": "1", "state": "LOADING", "status": {"error_code": "OK"}}]},
    ),
    _shape(
        "TensorFlow Serving: available",
        "well",
        {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK"}}]},
    ),
    _shape("Kong: the database is not reachable", "down", {"database": {"reachable": False}, "memory": {}}),
    _shape("Prefect: true", "well", "true"),
    _shape("Ollama: a sentence", "well", "Ollama is running", TEXT),
    _shape("Statuspage: all good", "well", {"status": {"indicator": "none", "description": "All Systems Operational"}}),
)

SERVERS = (
    _shape("Traefik: OK", "well", "OK", TEXT, path="/ping"),
    _shape("Envoy: LIVE", "well", "LIVE\n", TEXT, path="/ready"),
    _shape("Envoy: DRAINING", "down", "DRAINING\n", TEXT, path="/ready"),
    _shape("Envoy: DRAINING with 503", "down", "DRAINING\n", TEXT, 503, "/ready"),
    _shape("Envoy: PRE_INITIALIZING", "starting", {"state": "PRE_INITIALIZING"}, path="/server_info"),
    _shape("Envoy: LIVE with words of settings", "well", {"state": "LIVE", "hot_restart_version": "disabled"}),
    _shape(
        "HAProxy: monitor-uri",
        "well",
        "<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n",
        "text/html",
        path="/monitor",
    ),
    _shape("nginx: stub_status", "well", "Active connections: 291 \nserver accepts handled requests\n 1 1 3 \n", TEXT),
    _shape(
        "Apache: server-status as a page",
        "down",
        "<html><head><title>Apache Status</title></head><body><h1>Apache Server Status</h1><hr></body></html>",
        HTML,
        path="/server-status",
    ),
    _shape("Apache: server-status?auto", "well", "ServerUptimeSeconds: 12\nTotal Accesses: 3\nBusyWorkers: 1\n", TEXT),
    _shape("php-fpm: pong", "well", "pong", TEXT, path="/ping"),
    _shape("php-fpm: full status", "well", "pool: www\nprocess manager: dynamic\nstate: Idle\n", TEXT),
    _shape("uWSGI: workers", "well", {"version": "2", "workers": [{"id": 1, "status": "busy"}, {"status": "cheap"}]}),
    _shape("Sidekiq: Alive!", "well", "Alive!", TEXT),
    _shape("WebDAV: 207", "well", "<multistatus><status>HTTP/1.1 200 OK</status></multistatus>", XML, 207),
    _shape("a page at / (http.server)", "well", _LISTING, HTML, path="/"),
    _shape("a page at / with a query", "well", _SINGLE_PAGE, HTML, path="/?probe=1"),
    _shape("a single-page application at /", "well", _SINGLE_PAGE, HTML, path="/"),
    _shape("a login page at /", "well", _LOGIN, HTML, path="/"),
    _shape("a single-page application at every path", "down", _SINGLE_PAGE, HTML),
    _shape("a login page at every path", "down", _LOGIN, HTML),
    _shape("a maintenance page", "down", _MAINTENANCE, HTML),
    _shape("a maintenance page with 503", "down", _MAINTENANCE, HTML, 503, "/"),
    _shape("a page sent as application/xhtml+xml", "down", _SINGLE_PAGE, "application/xhtml+xml"),
    _shape("a page without a type", "down", _SINGLE_PAGE, ""),
    _shape("a page that begins with spaces", "down", "\n\n " + _SINGLE_PAGE, TEXT),
    _shape("a page with words of its own", "down", "<html><body><h1>Welcome</h1></body></html>", HTML),
    _shape(
        "Rails: /up, green",
        "well",
        '<!DOCTYPE html><html><body style="background-color: green"></body></html>',
        HTML,
        path="/up",
    ),
    _shape(
        "Rails: /up, red",
        "down",
        '<!DOCTYPE html><html><body style="background-color: red"></body></html>',
        HTML,
        500,
        "/up",
    ),
    _shape("a page of one word that is good", "well", "<html><body>OK</body></html>", HTML),
    _shape("a page of one word that denies", "down", "<html><body><h1>DOWN</h1></body></html>", HTML, path="/"),
    _shape("a word sent as text/html", "well", "ok", HTML),
    _shape("a denial sent as text/html", "down", "Unhealthy", HTML),
    _shape("JSON sent as text/html", "down", '{"status":"DOWN"}', HTML),
    _shape("JSON sent as text/plain", "down", '{"status":"DOWN"}', TEXT),
    _shape("a redirect", "down", "", TEXT, 302, headers={"Location": "/login"}),
    _shape("a redirect to TLS", "down", "", TEXT, 301, headers={"Location": "https://localhost/health"}),
    _shape("401", "down", {"detail": "Unauthorized"}, status=401),
    _shape("404 with a good word", "down", {"status": "ok"}, status=404),
    _shape("500 with a good word", "down", {"status": "ok"}, status=500),
    _shape("503 with a word of beginning", "down", {"status": "starting"}, status=503),
    _shape("201 with a good word", "well", {"status": "ok"}, status=201),
    _shape("202 with a good word", "well", {"status": "ok"}, status=202),
    _shape("206 with a good word", "well", {"status": "ok"}, status=206),
)

DJANGO = (
    _shape("Django: working", "well", {"DatabaseBackend": "working", "Cache backend: default": "working"}),
    _shape("Django: unavailable with 500", "down", {"DatabaseBackend": "unavailable: Database error"}, status=500),
    _shape("Django: unavailable", "down", {"DatabaseBackend": "unavailable: Database error", "Disk": "working"}),
    _shape("Django: a warning", "degraded", {"DatabaseBackend": "working", "DiskUsage": "warning: disk usage is 91 %"}),
)

OWN = (
    _shape("ok true", "well", {"ok": True}),
    _shape("ok false", "down", {"ok": False}),
    _shape("healthy false", "down", {"healthy": False}),
    _shape("success false", "down", {"success": False, "message": "m"}),
    _shape("ready false", "down", {"ready": False}),
    _shape("alive true", "well", {"alive": True}),
    _shape("alive false", "down", {"alive": False}),
    _shape("ok beside ready false", "down", {"status": "ok", "ready": False}),
    _shape("healthy as a word that denies", "down", {"healthy": "no"}),
    _shape("healthy as the word false", "down", {"healthy": "false"}),
    _shape("status true", "well", {"status": True}),
    _shape("status false", "down", {"status": False}),
    _shape("Status in another case", "down", {"Status": "DOWN"}),
    _shape("STATUS in capitals", "down", {"STATUS": "down"}),
    _shape("state failed", "down", {"state": "failed"}),
    _shape("health bad", "down", {"health": "bad"}),
    _shape("status 200", "well", {"status": 200}),
    _shape("status 200 as text", "well", {"status": "200"}),
    _shape("status 503", "down", {"status": 503}),
    _shape("status 503 as text", "down", {"status": "503"}),
    _shape("statusCode 500", "down", {"statusCode": 500, "message": "m"}),
    _shape("status 0", "well", {"status": 0}),
    _shape("status 0 as text", "well", {"status": "0"}),
    _shape("status empty", "well", {"status": ""}),
    _shape("status null", "well", {"status": None}),
    _shape("status as an object that is good", "well", {"status": {"db": "ok"}}),
    _shape("status as an object that denies", "down", {"status": {"db": "down"}}),
    _shape("status as a list that denies", "down", {"status": ["ok", "down"]}),
    _shape("words by name", "down", {"db": "ok", "redis": "down"}),
    _shape("words by name, all good", "well", {"db": "ok", "redis": "up"}),
    _shape("services by name", "down", {"status": "ok", "services": {"db": "up", "redis": "down"}}),
    _shape("dependencies as booleans", "down", {"status": "ok", "dependencies": {"db": False, "redis": True}}),
    _shape("checks as booleans, all good", "well", {"status": "ok", "checks": {"db": True}}),
    _shape("degraded with a part that is down", "degraded", {"status": "degraded", "checks": {"mail": "down"}}),
    _shape("a result within data", "down", {"data": {"status": "down"}}),
    _shape("a setting that sounds like denial", "well", {"status": "ok", "log_level": "error", "mail": "disabled"}),
    _shape("an error that is null", "well", {"status": "ok", "error": None, "errors": []}),
    _shape("a check that is not required", "well", {"ready": True, "checks": [{"ready": False, "required": False}]}),
    _shape(
        "a component that is not critical",
        "well",
        {"status": "ok", "checks": {"mail": {"status": "down", "critical": False}}},
    ),
    _shape(
        "a component that is optional",
        "well",
        {"status": "ok", "checks": [{"name": "mail", "status": "down", "optional": True}]},
    ),
    _shape(
        "a component that is critical",
        "down",
        {"status": "ok", "checks": {"mail": {"status": "down", "critical": True}}},
    ),
    _shape("running", "well", {"status": "running"}),
    _shape("RUNNING", "well", {"status": "RUNNING"}),
    _shape("active", "well", {"status": "active"}),
    _shape("operational", "well", {"status": "operational"}),
    _shape("live", "well", {"status": "live"}),
    _shape("started", "well", {"status": "started"}),
    _shape("completed", "well", {"status": "completed"}),
    _shape("normal", "well", {"status": "normal"}),
    _shape("up and running", "well", {"status": "up and running"}),
    _shape("a sentence as status", "well", {"status": "All systems operational"}),
    _shape("a word in German", "well", {"status": "betriebsbereit"}),
    _shape("a word in Chinese", "well", {"status": "正常"}),
    _shape("a word that nobody knows", "well", {"status": "groovy"}),
    _shape("unknown", "degraded", {"status": "unknown"}),
    _shape("warming up", "starting", {"status": "warming up"}),
    _shape("warming_up", "starting", {"status": "WARMING_UP"}),
    _shape("starting", "starting", {"status": "starting"}),
    _shape("booting", "starting", {"state": "booting"}),
    _shape("starting while a part is down", "starting", {"status": "starting", "checks": {"db": "down"}}),
    _shape("a part that is starting", "starting", {"status": "ok", "checks": {"index": {"status": "starting"}}}),
    _shape("stopping", "down", {"status": "stopping"}),
    _shape("JSON text", "well", '"OK"'),
    _shape("JSON text that denies", "down", '"DOWN"'),
    _shape("JSON list", "well", ["ok"]),
    _shape("JSON list that denies", "down", ["ok", "down"]),
    _shape("JSON false", "down", False),
    _shape("JSON null", "well", None),
    _shape("an empty list", "well", []),
    _shape("text DOWN", "down", "DOWN", TEXT),
    _shape("text Unhealthy", "down", "Unhealthy\n", TEXT),
    _shape("text not ready", "down", "not ready", TEXT),
    _shape("text not-ready with an exclamation mark", "down", "NOT-READY!", TEXT),
    _shape("text starting", "starting", "starting...", TEXT),
    _shape("text with a key", "down", "status: DOWN\n", TEXT),
    _shape("text with a key and =", "down", "version=1\nstatus=down\n", TEXT),
    _shape("text with a key that is good", "well", "status: ok\nfailed: 0\n", TEXT),
    _shape("text of a sentence that contains a word", "well", "nothing is down, all is well", TEXT),
    _shape("text that all is well", "well", "All systems operational", TEXT),
    _shape("text in another language", "well", "läuft", TEXT),
    _shape("text without a type", "down", "DOWN", ""),
    _shape("XML that is good", "well", "<health><status>UP</status></health>", XML),
    _shape("XML that denies", "down", "<?xml version='1.0'?><health><status>DOWN</status></health>", XML),
    _shape("XML that denies in an attribute", "down", '<health status="DOWN"/>', "text/xml"),
    _shape("XML with a component that denies", "down", '<h status="UP"><part name="db" status="DOWN"/></h>', XML),
    _shape("XML ok false", "down", "<response><ok>false</ok></response>", XML),
    _shape("XML degraded", "degraded", "<health><state>degraded</state></health>", XML),
)

ENCODINGS = (
    _shape(
        "gzip that is good",
        "well",
        gzip.compress(b'{"status":"ok"}', mtime=0),
        headers={"Content-Encoding": "gzip"},
    ),
    _shape(
        "gzip that denies",
        "down",
        gzip.compress(b'{"status":"DOWN"}', mtime=0),
        headers={"Content-Encoding": "gzip"},
    ),
    _shape("a byte order mark before JSON", "well", b'\xef\xbb\xbf{"status":"ok"}'),
    _shape("a byte order mark before a denial", "down", b'\xef\xbb\xbf{"status":"DOWN"}'),
    _shape("a byte order mark before text", "down", b"\xef\xbb\xbfDOWN", TEXT),
    _shape("UTF-16 that denies", "down", '{"status":"DOWN"}'.encode("utf-16"), "application/json; charset=utf-16"),
    _shape("Latin-1", "down", '{"status":"DOWN","by":"é"}'.encode("latin-1"), "application/json; charset=iso-8859-1"),
    _shape("UTF-16 that is good", "well", '{"status":"ok"}'.encode("utf-16"), "application/json; charset=utf-16"),
    _shape("Latin-1 that is good", "well", '{"status":"ok","by":"é"}'.encode("latin-1"), "text/json; charset=latin1"),
    _shape("JSON of 70 kB", "well", {"status": "ok", "pad": "x" * 70_000}),
    _shape("text of 100 kB", "well", "x" * 100_000, TEXT),
    _shape("JSON that is cut off", "down", '{"status":"o'),
    _shape("nested deeper than anyone nests", "well", _deep("down", 40)),
    _shape("a component at the fourth level", "down", _deep("down", 4)),
    _shape("a type in capitals", "down", '{"status":"DOWN"}', "APPLICATION/JSON"),
    _shape("a type of a vendor", "down", '{"status":"DOWN"}', "application/vnd.acme.health+json; v=2"),
)

SHAPES = (*JVM, *DOT_NET, *DRAFT, *NODE_AND_GO, *STORES, *OPERATIONS, *SERVERS, *DJANGO, *OWN, *ENCODINGS)
