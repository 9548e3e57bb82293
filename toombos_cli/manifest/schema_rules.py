"""What the tables of a manifest check in code, said again as JSON Schema; a test compares it with the loader."""

from collections.abc import Mapping
from typing import Any

from toombos_cli.manifest.tables.alerts import Severity

Schema = dict[str, Any]

_ABOVE_0: Schema = {"exclusiveMinimum": 0}
_AT_LEAST_0: Schema = {"minimum": 0}
_AT_LEAST_1: Schema = {"minimum": 1}
_NOT_EMPTY: Schema = {"minItems": 1}
_PATH: Schema = {"pattern": "^(/|$)"}
_WITHOUT_NUL: Schema = {"pattern": "^[^\\u0000]*$"}
_TEXTS_WITHOUT_NUL: Schema = {"additionalProperties": {"type": "string"} | _WITHOUT_NUL}
_PART = r"(?!\.{1,2}(?:/|$))[^/]+"
_ROOTS: Schema = {"items": {"type": "string", "pattern": f"^{_PART}(?:/{_PART})*$"}}

BOUNDS: Mapping[str, Mapping[str, Schema]] = {
    "Service": {
        "command": _NOT_EMPTY | {"items": {"type": "string"} | _WITHOUT_NUL},
        "port": {"minimum": 0, "maximum": 65535},
        **dict.fromkeys(("cwd", "host", "log"), _WITHOUT_NUL),
        **dict.fromkeys(("env", "default_env"), _TEXTS_WITHOUT_NUL),
        **dict.fromkeys(("health", "ready", "live", "metrics", "openapi"), _PATH),
        **dict.fromkeys(("startup_timeout_s", "grace_period_s", "probe_interval_s", "probe_timeout_s"), _ABOVE_0),
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
    "Monitoring": {"scrape_interval_s": _AT_LEAST_1, "rate_window_s": {"minimum": 4}},
    "Job": {
        "command": _NOT_EMPTY,
        "every_minutes": {"enum": [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60]},
        "at": {"pattern": r"^([01]\d|2[0-3]):[0-5]\d$"},
    },
    "SmokeStep": {
        "name": {"pattern": r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"},
        "path": _PATH,
        "status": {"if": {"type": "string"}, "then": {"pattern": "^[1-5]xx$"}},
    },
}
"""What a table asks of a single key besides its type."""


def given(**values: Any) -> Schema:
    """Return the schema of a table that has these values."""
    return {"properties": {key: {"const": value} for key, value in values.items()}, "required": list(values)}


_NOT_LISTENING = given(scheme="none")
_WITHOUT_PATHS: Schema = {"properties": {"scheme": {"enum": ["tcp", "none"]}}, "required": ["scheme"]}
_HAS_DEFAULT: Schema = {"properties": {"default": {"minLength": 1}}, "required": ["default"]}

TOGETHER: Mapping[str, tuple[Schema, ...]] = {
    "Service": (
        {
            "if": _NOT_LISTENING,
            "then": {"properties": {"port": {"const": 0}}},
            "else": {"properties": {"port": {"minimum": 1}}, "required": ["port"]},
        },
        {
            "if": _WITHOUT_PATHS,
            "then": {
                "properties": {
                    "health": {"enum": ["", "/health"]},
                    **dict.fromkeys(("ready", "live", "metrics", "openapi"), False),
                }
            },
        },
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
        {"oneOf": [{"required": ["every_minutes"]}, {"required": ["at"]}]},
        {"if": {"required": ["weekday"]}, "then": {"required": ["at"]}},
    ),
    "Counter": ({"oneOf": [{"required": ["json"]}, {"required": ["metric"]}]},),
    "SmokeStep": (
        {
            "if": given(loopback_only=True),
            "then": {"properties": {"path": {"const": ""}}},
            "else": {"properties": {"path": {"minLength": 1}}, "required": ["path"]},
        },
    ),
}
"""What the keys of a table ask of each other. It holds for a whole table, not for one that changes a packaged one."""
