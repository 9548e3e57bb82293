"""The JSON Schema of the manifest accepts and refuses what the loader does, or a table says why it cannot."""

import json
import re
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.manifest.reading.kinds import keys_at
from toombos_cli.manifest.reading.loader import parse_manifest
from toombos_cli.manifest.schema import manifest_schema

ROOT = Path(__file__).parents[2]
SCHEMA = manifest_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def toml(value: Any) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def text_of(tree: dict[str, Any]) -> str:
    return "".join(f"{key} = {toml(value)}\n" for key, value in tree.items())


def loads(text: str) -> bool:
    try:
        parse_manifest(text, ROOT)
    except ConfigurationError:
        return False
    return True


def fits(text: str) -> bool:
    return VALIDATOR.is_valid(tomllib.loads(text))


def flaws(text: str) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(tomllib.loads(text))]


def test_the_schema_is_one_and_also_means_the_same_to_editors_that_know_draft_7():
    Draft202012Validator.check_schema(SCHEMA)
    Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert not {"prefixItems", "unevaluatedProperties", "dependentRequired", "$dynamicRef"} & set(keywords(SCHEMA))


def keywords(schema: Any) -> Iterator[str]:
    for key, value in schema.items() if isinstance(schema, dict) else ():
        yield key
        yield from keywords(value)
    for item in schema if isinstance(schema, list) else ():
        yield from keywords(item)


def test_no_table_of_the_schema_takes_an_unknown_key():
    open_tables = [
        name
        for name, table in SCHEMA["$defs"].items()
        if "properties" in table and table.get("additionalProperties") is not False
    ]
    assert (open_tables, SCHEMA["additionalProperties"]) == ([], False)


def test_an_editor_can_describe_every_key_of_a_service():
    described = {key for key, value in SCHEMA["$defs"]["Service"]["properties"].items() if "description" in value}
    tables_of_their_own = {"restart", "limits", "words", "backup"}
    assert SCHEMA["$defs"]["Service"]["properties"].keys() - described == tables_of_their_own


OF_ANOTHER_FILE = "[[request]]"
"""How the example of a scenario for `toombos load` begins."""


def examples() -> Iterator[Any]:
    """Yield every TOML example of the documentation, fenced or indented."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text()
        blocks = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
        rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        indented = re.findall(r"(?:^    [^\n]*\n(?:\n(?=    ))?)+", rest, flags=re.MULTILINE)
        blocks += [block for block in map(dedent, indented) if re.match(r"\[|extends", block)]
        for number, block in enumerate(blocks, start=1):
            if OF_ANOTHER_FILE not in block:
                yield pytest.param(block, id=f"{page.relative_to(ROOT)}, example {number}")


@pytest.mark.parametrize("example", list(examples()))
def test_every_example_of_the_documentation_fits(example: str) -> None:
    part = "" if re.search(r"^\[services|^extends", example, flags=re.MULTILINE) else 'extends = "toombos"\n'
    assert flaws(part + example) == []


@pytest.mark.parametrize("file", ["toombos_cli/manifest/toombos.toml", "toombos_cli/config/starter.toml"])
def test_the_packaged_files_fit(file: str) -> None:
    assert flaws((ROOT / file).read_text()) == []


WHOLE: dict[str, Any] = {
    "name": "x",
    "services": {
        "a": {
            "command": ["x"],
            "port": 1,
            "restart": {"policy": "always"},
            "limits": {"memory_warn_mb": 1},
            "backup": {"stop": True},
            "user": "x",
        },
        "w": {"command": ["x"], "scheme": "none"},
        "t": {"command": ["x"], "kind": "task", "run": "changed", "inputs": ["x"]},
        "d": {"command": ["x"], "scheme": "none", "depends_on": {"w": {"when": "ready", "restart": True}}},
    },
    "modes": {"m": {"env": {"A": "1"}}},
    "environment": {"A": {"description": "x"}},
    "logs": {"max_mb": 5},
    "smoke": [
        {
            "name": "s",
            "service": "a",
            "path": "/",
            "counters": [{"service": "a", "path": "/", "rises_by": 1, "json": "n"}],
            "cleanup": {"path": "/", "if_at_start": {"path": "/", "json": {"n": 1}}},
        }
    ],
    "load": {"service": "a"},
    "backup": {"roots": ["data"], "retention": {"last": 1}},
    "alerts": {
        "contacts": {"P0": {"name": "x", "response": "x", "method": "x"}},
        "channels": {"c": {"url": "x"}},
        "delivery": {"attempts": 1},
    },
    "monitoring": {
        "thresholds": {"restarts": 1},
        "patience": {"resources_s": 1},
        "rules": [{"name": "x", "expr": "x", "summary": "x"}],
        "panels": [{"title": "x", "expr": "x"}],
    },
    "diagnose": {
        "silence": ["dns", {"id": "net.bind:web", "reason": "x"}],
        "known": [{"id": "shop.flux", "pattern": "flux is low", "cause": "x", "advice": "x"}],
    },
    "schedule": {"j": {"command": ["x"], "at": "02:00"}},
    "places": {
        "p": {
            "host": "10.0.0.5",
            "headers": {"Host": "x"},
            "services": {"a": {"url": "https://x", "headers": {"Host": "x"}, "ca_file": "x"}},
            "env_files": ["x"],
            "load": True,
        }
    },
    "hosts": {"h": {"address": "x", "user": "x", "port": 22, "directory": "x", "command": ["toombos"]}},
}
"""A valid manifest with one table of each kind."""
VALUES: tuple[Any, ...] = (0, 1, -1, 70000, 0.5, True, "", "x", "/x", "a", "x\0", [], ["x"], [1], {}, {"x": "y"})
"""What is put in the place of each value in turn."""
UNKNOWN_TO_A_SCHEMA: dict[str, str] = {
    r"services\.\w+\.depends_on(\..*)?": "which services there are",
    r"smoke\.0\.(counters\.0\.)?service|load\.service": "which services there are, and which of them have a port",
    r"environment\.A\.(service|used_by)|monitoring\.(rules|panels)\.0\.services": "which services there are",
    r"services\.\w+\.restart\.backoff_\w+": "which of two numbers is the larger one",
    r"monitoring\.(scrape_interval_s|rate_window_s)": "which of two numbers is the larger one",
    r"environment\.A\.default": "whether a text is one of those in another list",
    r"places\.p\.services(\.a(\.url)?)?": "which services there are, and in which scheme",
    r"places\.p\.(services\.a\.)?headers\.no_such_key": "which names are those of credentials",
    r"services\.\w+\.enabled": "whether another service is left",
    r"diagnose\.known\.0\.(pattern|over|culprit|cause|fix|advice|examples|versions)": "expressions and templates",
    r"smoke\.0\.(text|json|metrics|capture)": "whether a text is a regular expression or a path in JSON",
}
"""What only the loader can tell: by the keys that it concerns."""


def places(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of each table in a tree."""
    if isinstance(tree, dict):
        yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*path, key))


def keys_of(path: tuple[str | int, ...]) -> list[str]:
    return [key for key in keys_at(path) if key != "source"] + ["name", "no_such_key"]


def changed(path: tuple[str | int, ...], key: str, value: Any) -> dict[str, Any]:
    tree = deepcopy(WHOLE)
    at: Any = tree
    for part in path:
        at = at[part]
    at[key] = value
    return tree


def test_the_whole_manifest_loads_and_fits():
    assert (loads(text_of(WHOLE)), flaws(text_of(WHOLE))) == (True, [])


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=".".join(map(str, path)) or "top level") for path in places(WHOLE)]
)
def test_schema_and_loader_agree_on_every_value_of_every_key(path: tuple[str | int, ...]) -> None:
    differences = []
    for key in keys_of(path):
        name = ".".join(map(str, (*path, key)))
        for value in VALUES:
            text = text_of(changed(path, key, value))
            loaded, fitting = loads(text), fits(text)
            known = any(re.fullmatch(pattern, name) for pattern in UNKNOWN_TO_A_SCHEMA)
            if loaded != fitting and not (known and fitting):
                differences.append(f"{name} = {toml(value)}: {loaded=}, {fitting=}")
    assert differences == []


OWN = '[services.a]\ncommand = ["x"]\nport = 1\n'
WORKER = '[services.w]\ncommand = ["x"]\nscheme = "none"\n'
TASK = '[services.t]\nkind = "task"\ncommand = ["x"]\n'
STEP = OWN + '[[smoke]]\nname = "s"\nservice = "a"\n'
JOB = OWN + '[schedule.j]\ncommand = ["x"]\n'
VARIABLE = OWN + '[environment.A]\ndescription = "x"\n'
KNOWN = OWN + '[[diagnose.known]]\nid = "shop.flux"\npattern = "flux is low"\ncause = "x"\nadvice = "x"\n'
MONITORED = 'extends = "monitoring"\n' + OWN
BROKEN: dict[str, str] = {
    "no service": "",
    "an empty table of services": "[services]\n",
    "services is a number": "services = 3\n",
    "a service is a number": "[services]\na = 1\n",
    "a service without a command": "[services.a]\nport = 1\n",
    "an empty command": "[services.a]\ncommand = []\nport = 1\n",
    "a command in one text": '[services.a]\ncommand = "x"\nport = 1\n',
    "NUL in a command": '[services.a]\ncommand = ["x\\u0000"]\nport = 1\n',
    "no port": '[services.a]\ncommand = ["x"]\n',
    "port 0": '[services.a]\ncommand = ["x"]\nport = 0\n',
    "a port above 65535": '[services.a]\ncommand = ["x"]\nport = 70000\n',
    "a negative port": '[services.a]\ncommand = ["x"]\nport = -1\n',
    "a port in quotes": '[services.a]\ncommand = ["x"]\nport = "80"\n',
    "the port of a worker": WORKER + "port = 80\n",
    "the path of a worker": WORKER + 'ready = "/x"\n',
    "the health path of a worker": WORKER + 'health = "/x"\n',
    "the metrics of a server without HTTP": OWN + 'scheme = "tcp"\nmetrics = "/x"\n',
    "an unknown scheme": OWN + 'scheme = "ftp"\n',
    "a misspelt key": OWN + "prot = 1\n",
    "the name of a service as its key": OWN + 'name = "b"\n',
    "a service name with a blank": '[services."a b"]\ncommand = ["x"]\nport = 1\n',
    "a service name that begins with a dash": '[services.-a]\ncommand = ["x"]\nport = 1\n',
    "a path without a slash": OWN + 'health = "x"\n',
    "no grace": OWN + "grace_period_s = 0\n",
    "negative startup time": OWN + "startup_timeout_s = -1\n",
    "an unknown kind of dependency": WORKER + OWN + 'depends_on = { w = "healthy" }\n',
    "a misspelt key of a dependency": WORKER + OWN + "depends_on = { w = { restarts = true } }\n",
    "a service that waits until a service is completed": WORKER + OWN + 'depends_on = { w = "completed" }\n',
    "a service that waits until a task is ready": TASK + OWN + 'depends_on = { t = "ready" }\n',
    "a task that is restarted": WORKER + TASK + "depends_on = { w = { restart = true } }\n",
    "the port of a task": TASK + "port = 1\n",
    "a task that speaks HTTPS": TASK + 'scheme = "https"\n',
    "the health of a task": TASK + 'health = { command = ["x"] }\n',
    "the restarts of a task": TASK + '[services.t.restart]\npolicy = "never"\n',
    "the time that a task takes to become ready": TASK + "startup_timeout_s = 3\n",
    "a task that runs now and then": TASK + 'run = "daily"\n',
    "inputs of a task that runs always": TASK + 'inputs = ["x"]\n',
    "a service that runs once": OWN + 'run = "once"\n',
    "the time limit of a service": OWN + "timeout_s = 3\n",
    "a number as a variable": OWN + "env = { A = 1 }\n",
    "an unknown restart policy": OWN + '[services.a.restart]\npolicy = "maybe"\n',
    "no pause before a restart": OWN + "[services.a.restart]\nbackoff_initial_s = 0\n",
    "no exit in a crash loop": OWN + "[services.a.restart]\ncrash_loop_count = 0\n",
    "an unknown limit": OWN + "[services.a.limits]\nmemory = 1\n",
    "a misspelt section": OWN + "[backups]\n",
    "a key that only the model has": OWN + "[source]\n",
    "an unknown manifest to extend": 'extends = "tombos"\n' + OWN,
    "another version of the format": "schema_version = 2\n" + OWN,
    "a mode with an unknown key": OWN + "[modes.m]\nenvironment = {}\n",
    "a variable without a description": OWN + "[environment.A]\n",
    "choices of a number": VARIABLE + 'type = "int"\nchoices = ["1"]\n',
    "a choice without choices": VARIABLE + 'type = "choice"\n',
    "a generated value that is no secret": VARIABLE + "generate = true\n",
    "a secret with a default": VARIABLE + 'secret = true\ndefault = "x"\n',
    "an unknown role": VARIABLE + 'role = "x"\n',
    "logs of 0 MB": OWN + "[logs]\nmax_mb = 0\n",
    "a log limit in text": OWN + '[logs]\nmax_mb = "50"\n',
    "a step without a path": STEP,
    "a step with a path and sockets": STEP + 'path = "/"\nloopback_only = true\n',
    "a step whose path has no slash": STEP + 'path = "x"\n',
    "a step with an unknown method": STEP + 'path = "/"\nmethod = "GOT"\n',
    "a step with half a class of status": STEP + 'path = "/"\nstatus = "2x"\n',
    "a step with a blank in its name": OWN + '[[smoke]]\nname = "a b"\nservice = "a"\npath = "/"\n',
    "a step without a service": OWN + '[[smoke]]\nname = "s"\npath = "/"\n',
    "a condition with an unknown operator": STEP + 'path = "/"\njson = { a = { is = 1 } }\n',
    "a condition with an operator of another type": STEP + 'path = "/"\njson = { a = { length = "1" } }\n',
    "a counter of nothing": STEP + 'path = "/"\ncounters = [{ service = "a", path = "/", rises_by = 1 }]\n',
    "a load target without a slash": OWN + '[load]\npath = "x"\n',
    "a load of no request": OWN + "[load]\nrequests = 0\n",
    "a backup of nothing": OWN + "[backup]\nroots = []\n",
    "a backup of an absolute path": OWN + '[backup]\nroots = ["/etc"]\n',
    "a backup above the project": OWN + '[backup]\nroots = ["data/../.."]\n',
    "a backup of the project itself": OWN + '[backup]\nroots = ["."]\n',
    "a negative retention": OWN + "[backup.retention]\nlast = -1\n",
    "a contact for no severity": OWN + '[alerts.contacts.P9]\nname = "x"\nresponse = "x"\nmethod = "x"\n',
    "a contact without a method": OWN + '[alerts.contacts.P0]\nname = "x"\nresponse = "x"\n',
    "a channel without an address": OWN + "[alerts.channels.c]\n",
    "no attempt to deliver": OWN + "[alerts.delivery]\nattempts = 0\n",
    "a scrape every 0 seconds": OWN + "[monitoring]\nscrape_interval_s = 0\n",
    "an unknown backend": OWN + '[monitoring]\nbackend = "docker"\n',
    "a rule without a summary": OWN + '[[monitoring.rules]]\nname = "x"\nexpr = "x"\n',
    "a known line without a cause": KNOWN.replace('cause = "x"\n', ""),
    "a known line that is no regular expression": KNOWN.replace("flux is low", "flux is low("),
    "a known line without advice": KNOWN.replace('advice = "x"\n', ""),
    "a known line that any text matches": KNOWN.replace("flux is low", ".*"),
    "a known line with a capital in its id": KNOWN.replace("shop.flux", "Shop"),
    "a known line of no kind": KNOWN + 'kind = "flux"\n',
    "a known line whose advice names no group": KNOWN.replace('advice = "x"', 'advice = "{flux}"'),
    "a known line with an example that is another": KNOWN + 'examples = ["flux is high"]\n',
    "a job without a time": JOB,
    "a job with two times": JOB + 'at = "02:00"\nevery_minutes = 5\n',
    "a job at no time of day": JOB + 'at = "25:00"\n',
    "a job every 7 minutes": JOB + "every_minutes = 7\n",
    "a weekday without a time": JOB + 'every_minutes = 5\nweekday = "Mon"\n',
    "an unknown weekday": JOB + 'at = "02:00"\nweekday = "Monday"\n',
    "a new service of an extended manifest without a command": 'extends = "toombos"\n[services.b]\nport = 1\n',
    "a changed service with an unknown key": 'extends = "toombos"\n[services.crm]\nprot = 1\n',
    "a changed service with a value of another type": 'extends = "toombos"\n[services.crm]\nport = "1"\n',
    "a new job of an extended manifest without a command": MONITORED + '[schedule.j]\nat = "02:00"\n',
    "a place without an address": OWN + "[places.p]\nload = true\n",
    "a place with a path in an address": OWN + '[places.p.services]\na = "http://x/shop"\n',
    "a place with an address without a scheme": OWN + '[places.p.services]\na = "x:80"\n',
    "a place with a user in an address": OWN + '[places.p.services]\na = "http://user@x"\n',
    "a place with a TCP address without a port": OWN + '[places.p.services]\na = "tcp://x"\n',
    "a place with a host that is an address": OWN + '[places.p]\nhost = "http://x"\n',
    "a place with a key but no certificate": OWN + '[places.p]\nhost = "x"\nclient_key = "k"\n',
    "a place that verifies and accepts anything": OWN + '[places.p]\nhost = "x"\nca_file = "k"\ninsecure = true\n',
    "a certificate for an address without TLS": OWN + '[places.p.services.a]\nurl = "http://x"\nca_file = "k"\n',
    "a place with a credential": OWN + '[places.p]\nhost = "x"\nheaders = { Authorization = "Bearer 1" }\n',
    "a place with an unknown service": OWN + '[places.p.services]\nb = "http://x"\n',
    "a place with TCP for HTTP": OWN + '[places.p.services]\na = "tcp://x:1"\n',
    "a place with an address for a worker": WORKER + '[places.p.services]\nw = "http://x"\n',
    "a place named all": OWN + '[places.all]\nhost = "x"\n',
    "a host named with a comma": OWN + '[hosts."a,b"]\naddress = "x"\n',
    "a host without an address": OWN + '[hosts.h]\nuser = "x"\n',
    "a host whose address is an option": OWN + '[hosts.h]\naddress = "-oProxyCommand=x"\n',
    "a host whose user is an option": OWN + '[hosts.h]\naddress = "x"\nuser = "-x"\n',
    "a host in a home directory": OWN + '[hosts.h]\naddress = "x"\ndirectory = "~/shop"\n',
    "a host with a line break in its directory": OWN + '[hosts.h]\naddress = "x"\ndirectory = "a\\nb"\n',
    "a host without a command": OWN + '[hosts.h]\naddress = "x"\ncommand = []\n',
    "a host with a command of nothing": OWN + '[hosts.h]\naddress = "x"\ncommand = [""]\n',
    "a host without time": OWN + '[hosts.h]\naddress = "x"\ntimeout_s = 0\n',
    "an unknown service to depend on": OWN + 'depends_on = ["b"]\n',
    "a service that depends on itself": OWN + 'depends_on = ["a"]\n',
    "two services on one port": OWN + '[services.b]\ncommand = ["x"]\nport = 1\n',
    "an unknown placeholder": OWN + 'env = { A = "{prot}" }\n',
    "the address of a worker": WORKER + 'env = { A = "{url}" }\n',
    "a step for an unknown service": OWN + '[[smoke]]\nname = "s"\nservice = "b"\npath = "/"\n',
    "a load target without a port": WORKER + '[load]\nservice = "w"\n',
    "a variable of an unknown service": VARIABLE + 'used_by = ["b"]\n',
    "a first pause above the longest": OWN + "[services.a.restart]\nbackoff_initial_s = 60\n",
    "a window below four scrapes": OWN + "[monitoring]\nrate_window_s = 20\n",
    "a default that is no choice": VARIABLE + 'type = "choice"\nchoices = ["a"]\ndefault = "b"\n',
    "a condition that is no regular expression": STEP + 'path = "/"\njson = { a = { matches = "(" } }\n',
    "every service disabled": OWN + "enabled = false\n",
    "a whole number with a point": OWN + "unhealthy_after = 3.0\n",
    "a changed service against its other keys": 'extends = "toombos"\n[services.crm]\nscheme = "none"\n',
}
"""A manifest for each mistake."""
ONLY_THE_LOADER_KNOWS: dict[str, str] = {
    **dict.fromkeys(
        (
            *("an unknown service to depend on", "a service that depends on itself", "two services on one port"),
            *("a step for an unknown service", "a load target without a port", "a variable of an unknown service"),
            *("an unknown placeholder", "the address of a worker", "a service that waits until a task is ready"),
            *("a service that waits until a service is completed", "a task that is restarted"),
            *("a place with an unknown service", "a place with TCP for HTTP", "a place with an address for a worker"),
        ),
        "it is about other tables, which a schema cannot look up",
    ),
    **dict.fromkeys(
        ("a first pause above the longest", "a window below four scrapes"), "a schema cannot compare two values"
    ),
    "a default that is no choice": "a schema cannot compare a value with the items of a list",
    **dict.fromkeys(
        (
            *("a known line that is no regular expression", "a known line that any text matches"),
            *("a known line whose advice names no group", "a known line with an example that is another"),
            "a known line without advice",
        ),
        "a schema knows neither expressions nor templates",
    ),
    "a condition that is no regular expression": "a schema cannot compile an expression",
    "a place with a credential": "the names of credentials are no list",
    "every service disabled": "a schema cannot tell a service that is left from one that is not",
    "a whole number with a point": "to a schema, 3.0 is an integer",
    "a changed service against its other keys": "the keys of the packaged service are not in the file",
}
"""The mistakes that the schema accepts, with the reason."""


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_broken_manifest_is_refused_by_loader_and_schema(mistake: str) -> None:
    text = BROKEN[mistake]
    assert not loads(text)
    assert fits(text) == (mistake in ONLY_THE_LOADER_KNOWS), ONLY_THE_LOADER_KNOWS.get(mistake)


def test_the_reasons_are_those_of_broken_manifests():
    assert ONLY_THE_LOADER_KNOWS.keys() <= BROKEN.keys()
    assert len(BROKEN) >= 60
