"""What the tables of a manifest check in code, said again as JSON Schema; a test compares it with the loader."""

from collections.abc import Mapping
from typing import Any

from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.manifest.tables.hosts import ADDRESS_PATTERN, USER_PATTERN
from toombos_cli.manifest.tables.known import ID_PATTERN
from toombos_cli.manifest.tables.places import BARE_HOST_PATTERN, URL_PATTERN
from toombos_cli.manifest.tables.service import DEFAULTS, FILES, GROUP_PATTERN, NOT_OF_TASKS, OF_TASKS
from toombos_cli.manifest.tables.table import ALL, NAME_PATTERN

Schema = dict[str, Any]

_ABOVE_0: Schema = {"exclusiveMinimum": 0}
_AT_LEAST_0: Schema = {"minimum": 0}
_AT_LEAST_1: Schema = {"minimum": 1}
_NOT_EMPTY: Schema = {"minItems": 1}
_EMPTY_TEXT: Schema = {"maxLength": 0}
_PATH: Schema = {"pattern": "^(/|$)"}
_VARIABLE = r"\$\{[A-Za-z_][A-Za-z0-9_.-]*\}"
_STEP_PATH: Schema = {"pattern": f"^(/[^#]*|{_VARIABLE})$"}
_STATUS: Schema = {"if": {"type": "string"}, "then": {"pattern": "^[1-5]xx$"}}
_HEADERS: Schema = {
    "propertyNames": {"pattern": r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"},
    "additionalProperties": {"type": "string", "pattern": r"^[^\u0000-\u0008\u000a-\u001f\u007f]*$"},
}
_WITHOUT_NUL: Schema = {"pattern": "^[^\\u0000]*$"}
_TEXTS_WITHOUT_NUL: Schema = {"additionalProperties": {"type": "string"} | _WITHOUT_NUL}
_WORDS: Schema = {"items": {"type": "string"} | _WITHOUT_NUL}
_PATTERNS: Schema = {"items": {"type": "string", "minLength": 1} | _WITHOUT_NUL}
_ENV_FILES: Schema = {"items": {"type": "string", "pattern": r"^[^\u0000]*[^\s?\u0000][^\u0000]*$"}}
_GROUPS: Schema = {"items": {"type": "string", "pattern": f"^{GROUP_PATTERN}$"}}
_PRINTABLE: Schema = {"pattern": r"^[^\u0000-\u001f\u007f]*$"}
_MACHINES: Schema = {"propertyNames": {"pattern": rf"^(?!{ALL}$){NAME_PATTERN}$"}}
_PART = r"(?!\.{1,2}(?:/|$))[^/]+"
_ROOTS: Schema = {"items": {"type": "string", "pattern": f"^{_PART}(?:/{_PART})*$"}}

BOUNDS: Mapping[str, Mapping[str, Schema]] = {
    "Manifest": {"env_files": _ENV_FILES, "places": _MACHINES, "hosts": _MACHINES},
    "Service": {
        "command": _NOT_EMPTY | _WORDS,
        **dict.fromkeys(("stop_command", "inputs"), _WORDS),
        "timeout_s": _AT_LEAST_0,
        "port": {"minimum": 0, "maximum": 65535},
        **dict.fromkeys(("cwd", "user", "group", "host", "log", *FILES), _WITHOUT_NUL),
        **dict.fromkeys(("env", "default_env"), _TEXTS_WITHOUT_NUL),
        "watch": _PATTERNS,
        "env_files": _ENV_FILES,
        "groups": _GROUPS,
        "headers": _HEADERS,
        **dict.fromkeys(("health", "ready", "live", "metrics", "openapi"), _PATH),
        **dict.fromkeys(("startup_timeout_s", "grace_period_s", "probe_interval_s", "probe_timeout_s"), _ABOVE_0),
    },
    "ServiceBackup": {"command": _WORDS},
    "PlaceAddress": {
        "url": {"pattern": f"^{URL_PATTERN}$"},
        "headers": _HEADERS,
        **dict.fromkeys(("ca_file", "client_cert", "client_key"), _WITHOUT_NUL),
    },
    "PlaceTable": {
        "host": {"pattern": f"^({BARE_HOST_PATTERN})?$"},
        "services": {
            "additionalProperties": {
                "anyOf": [{"type": "string", "pattern": f"^{URL_PATTERN}$"}, {"$ref": "#/$defs/PlaceAddress"}]
            }
        },
        "headers": _HEADERS,
        "env_files": _ENV_FILES,
        **dict.fromkeys(("ca_file", "client_cert", "client_key"), _WITHOUT_NUL),
    },
    "HostTable": {
        "address": {"pattern": f"^{ADDRESS_PATTERN}$"},
        "user": {"pattern": f"^{USER_PATTERN}$"},
        "port": {"minimum": 0, "maximum": 65535},
        **dict.fromkeys(("identity_file", "known_hosts"), _PRINTABLE),
        "directory": {"pattern": r"^(?!~)[^\u0000-\u001f\u007f]+$"},
        "command": _NOT_EMPTY | {"items": {"type": "string", "minLength": 1} | _PRINTABLE},
        "connect_timeout_s": _AT_LEAST_1,
        "timeout_s": _ABOVE_0,
    },
    "Expectation": {
        "command": _WORDS,
        "path": _PATH,
        "headers": _HEADERS,
        "status": _STATUS,
        "body_max": _AT_LEAST_1,
        "timeout_s": _ABOVE_0,
    },
    "WatchTable": {
        "paths": _NOT_EMPTY | _PATTERNS,
        "ignore": _PATTERNS,
        "debounce_s": {"minimum": 0.02, "maximum": 60},
    },
    "RestartTable": {"backoff_initial_s": _ABOVE_0, "backoff_max_s": _ABOVE_0, "crash_loop_count": _AT_LEAST_1},
    "Logs": {"max_mb": _AT_LEAST_1, "keep": _AT_LEAST_1},
    "LoadDefaults": {
        "path": {"pattern": "^/"},
        "requests": _AT_LEAST_1,
        "connections": _AT_LEAST_1,
        "timeout_s": _ABOVE_0,
    },
    "BackupScope": {
        "roots": _NOT_EMPTY | _ROOTS,
        "log_roots": _ROOTS,
        "log_days": _AT_LEAST_1,
        "max_age_h": _ABOVE_0,
        "snapshot_timeout_s": _ABOVE_0,
    },
    "Retention": dict.fromkeys(("last", "daily", "weekly", "monthly", "keep_within_days", "trash_days"), _AT_LEAST_0),
    "DeliveryTable": {"attempts": _AT_LEAST_1, "first_pause_s": _ABOVE_0, "timeout_s": _ABOVE_0},
    "Alerts": {
        "max_per_hour": _AT_LEAST_1,
        "contacts": {"propertyNames": {"enum": [str(severity) for severity in Severity]}},
    },
    "KnownLine": {"id": {"pattern": f"^{ID_PATTERN}$"}},
    "Monitoring": {"scrape_interval_s": _AT_LEAST_1, "rate_window_s": {"minimum": 4}},
    "Job": {
        "command": _NOT_EMPTY,
        "every_minutes": {"enum": [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60]},
        "at": {"pattern": r"^([01]\d|2[0-3]):[0-5]\d$"},
    },
    "SmokeStep": {
        "name": {"pattern": r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"},
        "path": {"pattern": f"^(/[^#]*|{_VARIABLE})?$"},
        "status": _STATUS,
    },
    "Counter": {"path": _STEP_PATH, "rises_by": {"if": {"type": "string"}, "then": {"pattern": f"^{_VARIABLE}$"}}},
    "Cleanup": {"path": _STEP_PATH},
    "Untouched": {"path": _STEP_PATH},
    "Until": {"timeout_s": _ABOVE_0, "every_s": _ABOVE_0},
}
"""What a table asks of a single key besides its type."""


def unset(keys: tuple[str, ...], defaults: Mapping[str, Any]) -> Schema:
    """Return the schema of a table in which these keys have their defaults, as far as TOML can write them."""
    schema: Schema = {}
    for key in keys:
        default = defaults[key]
        if default is None:
            schema[key] = False
        elif default == ():
            schema[key] = {"maxItems": 0}
        elif isinstance(default, bool | int | float | str):
            schema[key] = {"const": default}
        else:
            schema[key] = {"maxProperties": 0}
    return {"properties": schema}


def given(**values: Any) -> Schema:
    """Return the schema of a table that has these values."""
    return {"properties": {key: {"const": value} for key, value in values.items()}, "required": list(values)}


def set_in_any(keys: tuple[str, ...], value: Schema) -> Schema:
    """Return the schema of a table in which at least one of these keys is set to such a value."""
    return {"anyOf": [{"properties": {key: value}, "required": [key]} for key in keys]}


_NOT_LISTENING: Schema = {"anyOf": [given(scheme="none"), given(kind="task")]}
_NOT_EMPTY_TEXT: Schema = {"minLength": 1}
_NOT_EMPTY_TABLE: Schema = {"minProperties": 1}
_ASKS_BY_COMMAND: Schema = {"type": "object", "properties": {"command": _NOT_EMPTY}, "required": ["command"]}
_WITHOUT_PATHS: Schema = {"properties": {"scheme": {"enum": ["tcp", "none"]}}, "required": ["scheme"]}
_CERTIFICATES: tuple[Schema, ...] = (
    {"if": set_in_any(("client_key",), _NOT_EMPTY_TEXT), "then": set_in_any(("client_cert",), _NOT_EMPTY_TEXT)},
    {"if": given(insecure=True), "then": {"properties": {"ca_file": _EMPTY_TEXT}}},
)
_WITHOUT_CERTIFICATES: Schema = {
    "properties": {"ca_file": _EMPTY_TEXT, "client_cert": _EMPTY_TEXT, "insecure": {"const": False}}
}
_HAS_DEFAULT: Schema = {"properties": {"default": {"minLength": 1}}, "required": ["default"]}

TOGETHER: Mapping[str, tuple[Schema, ...]] = {
    "Service": (
        {
            "if": _NOT_LISTENING,
            "then": {"properties": {"port": {"const": 0}}},
            "else": {
                "anyOf": [
                    {"properties": {"port": _AT_LEAST_1}, "required": ["port"]},
                    set_in_any(("unix",), _NOT_EMPTY_TEXT),
                ]
            },
        },
        {
            "if": _WITHOUT_PATHS,
            "then": {
                "properties": {
                    "health": {"anyOf": [{"enum": ["", "/health"]}, _ASKS_BY_COMMAND]},
                    **dict.fromkeys(("ready", "live"), _ASKS_BY_COMMAND),
                    **dict.fromkeys(("metrics", "openapi"), False),
                    "headers": {"maxProperties": 0},
                    "http2": {"const": False},
                    "unix": _EMPTY_TEXT,
                }
            },
        },
        {"if": given(scheme="https"), "else": _WITHOUT_CERTIFICATES},
        *_CERTIFICATES,
        {
            "if": given(kind="task"),
            "then": unset(tuple(key for key in NOT_OF_TASKS if key != "health"), DEFAULTS)
            | {"allOf": [{"properties": {"health": {"enum": ["", "/health"]}, "scheme": {"enum": ["http", "none"]}}}]},
            "else": unset(OF_TASKS, DEFAULTS),
        },
        {
            "if": {"properties": {"inputs": _NOT_EMPTY}, "required": ["inputs"]},
            "then": {"properties": {"run": {"const": "changed"}}, "required": ["run"]},
        },
        {
            "if": given(restart_when_unhealthy=True),
            "then": {"properties": {"restart": {"not": given(policy="never")}}},
        },
        {"if": set_in_any(("group",), _NOT_EMPTY_TEXT), "then": set_in_any(("user",), _NOT_EMPTY_TEXT)},
    ),
    "PlaceAddress": (
        *_CERTIFICATES,
        {"if": {"properties": {"url": {"pattern": "^https:"}}, "required": ["url"]}, "else": _WITHOUT_CERTIFICATES},
    ),
    "PlaceTable": (
        *_CERTIFICATES,
        {"anyOf": [set_in_any(("host",), _NOT_EMPTY_TEXT), set_in_any(("services",), _NOT_EMPTY_TABLE)]},
    ),
    "Variable": (
        {
            "if": {"properties": {"choices": _NOT_EMPTY}, "required": ["choices"]},
            "then": {"properties": {"type": {"enum": ["choice", "dsn"]}}, "required": ["type"]},
        },
        {"if": given(type="choice"), "then": {"properties": {"choices": _NOT_EMPTY}, "required": ["choices"]}},
        {"if": given(generate=True), "then": given(secret=True)},
        {"if": given(secret=True), "then": {"not": _HAS_DEFAULT}},
    ),
    "Job": (
        {"oneOf": [{"required": ["every_minutes"]}, {"required": ["at"]}, given(at_boot=True)]},
        {"if": {"required": ["weekday"]}, "then": {"required": ["at"]}},
    ),
    "Counter": ({"oneOf": [{"required": ["json"]}, {"required": ["metric"]}]},),
    "SmokeStep": (
        {
            "oneOf": [
                given(loopback_only=True),
                set_in_any(("path",), _NOT_EMPTY_TEXT),
                set_in_any(("send", "send_hex", "expect"), {}),
            ]
        },
        {
            "if": set_in_any(("form", "files"), _NOT_EMPTY_TABLE),
            "then": {"properties": {"method": {"enum": ["POST", "PUT", "PATCH", "DELETE"]}}, "required": ["method"]},
        },
    ),
}
"""What the keys of a table ask of each other. It holds for a whole table, not for one that changes a packaged one."""
