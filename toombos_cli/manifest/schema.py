"""The JSON Schema of `toombos.toml`, made from its tables, for editors and other programs.

Types, keys, defaults and choices come from the model, descriptions from its docstrings and from docs/manifest.md. What
a table checks in code besides comes from schema_rules. The keywords are those that draft 7 has too, which some editors
need. A definition `NAME.whole` also asks for the keys that must be there; a table that changes a packaged
one need not have them.
"""

import ast
import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from toombos_cli.base.pages import page_path
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.reading.layers import EXTENDABLE, packaged_tree
from toombos_cli.manifest.schema_rules import BOUNDS, TOGETHER, Schema, given
from toombos_cli.manifest.tables.conditions import Condition
from toombos_cli.manifest.tables.table import NAME_PATTERN, Table

_HEADINGS = {
    "Manifest": "Top level",
    "Service": "[services.NAME]",
    "RestartTable": "[services.NAME.restart]",
    "Limits": "[services.NAME.limits]",
    "ServiceBackup": "[services.NAME.backup]",
    "WatchTable": "[services.NAME.watch]",
    "Mode": "[modes.NAME]",
    "Variable": "[environment.NAME]",
    "Logs": "[logs]",
    "LoadDefaults": "[load]",
    "BackupScope": "[backup]",
    "Retention": "[backup.retention]",
    "Monitoring": "[monitoring]",
    "AlertRule": "[[monitoring.rules]]",
    "Panel": "[[monitoring.panels]]",
    "Diagnose": "[diagnose]",
    "KnownLine": "[[diagnose.known]]",
    "Job": "[schedule.NAME]",
    "PlaceTable": "[places.NAME]",
    "PlaceAddress": "[places.NAME.services.SERVICE]",
    "HostTable": "[hosts.NAME]",
}
"""The heading of docs/manifest.md below which the keys of a table are described."""
_KINDS = {
    ("services",): "Service",
    ("environment",): "Variable",
    ("schedule",): "Job",
    ("alerts", "contacts"): "ContactTable",
    ("alerts", "channels"): "ChannelTable",
}
"""The tables of tables in which a packaged table can be changed in part, and what they hold."""
_CONDITIONS = {
    "SmokeStep": ("json", "metrics", "response_headers", "response_cookies"),
    "Untouched": ("json",),
    "Expectation": ("json",),
}
"""The keys that map something to a condition on it."""
_REFERENCE = "#/$defs/"


def manifest_schema() -> Schema:
    """Return the schema, as JSON objects."""
    _, found = msgspec.json.schema_components(
        [Manifest, Condition], ref_template=f"{_REFERENCE}{{name}}", schema_hook=lambda kind: {"type": "string"}
    )
    classes = {cls.__name__: cls for cls in _all_tables(Table)}
    page = _page()
    tables = {name: _table(name, found[name], classes.get(name), page) for name in sorted(found)}
    root = tables.pop("Manifest")
    _adapt(root, tables)
    demanding = [name for name, table in tables.items() if _demands(name, table)]
    tables = _referring_to_whole(tables, set(demanding) - set(_KINDS.values()))
    root = _referring_to_whole(root, set(demanding) - set(_KINDS.values()))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "toombos.toml",
        **{key: value for key, value in root.items() if key != "title"},
        "allOf": [_unless_extended(), *(_extended(name) for name in EXTENDABLE)],
        "$defs": {name: _without_own_demands(table) for name, table in tables.items()}
        | {f"{name}.whole": _whole(name, tables[name]) for name in demanding},
    }


def _all_tables(cls: type[Table]) -> Iterable[type[Table]]:
    for child in cls.__subclasses__():
        yield child
        yield from _all_tables(child)


def _adapt(root: Schema, tables: dict[str, Schema]) -> None:
    """Make the schema of the model that of the file: what the loader adds is not written, and what it reads may be."""
    properties = root["properties"]
    del properties["source"], tables["Source"]
    root["required"] = []
    properties["extends"] = {"enum": list(EXTENDABLE)} | _described(_page(), "Manifest", "extends")
    properties["services"]["propertyNames"] = {"pattern": f"^{NAME_PATTERN}$"}
    service = tables["Service"]
    del service["properties"]["name"]
    service["required"].remove("name")
    names = service["properties"]["depends_on"]
    described = {key: names.pop(key) for key in ("description", "default") if key in names}
    service["properties"]["depends_on"] = {"anyOf": [{"type": "array", "items": {"type": "string"}}, names]} | described
    condition: Schema = {"if": {"type": "object"}, "then": {"$ref": f"{_REFERENCE}Condition"}}
    for table, keys in _CONDITIONS.items():
        for key in keys:
            tables[table]["properties"][key]["additionalProperties"] = condition


def _table(name: str, schema: Schema, cls: type[Table] | None, page: str) -> Schema:
    if "properties" not in schema:
        return schema
    said = _attribute_docstrings(cls) if cls else {}
    properties: Schema = {}
    for key, value in schema["properties"].items():
        property_ = _without_null(value)
        if "$ref" not in property_:
            property_ |= {"description": said[key]} if key in said else _described(page, name, key)
        properties[key] = _bounded(property_, BOUNDS.get(name, {}).get(key, {}))
    first = inspect.cleandoc(schema.get("description", "")).partition("\n\n")[0]
    description = {"description": " ".join(first.split())} if first else {}
    return {**schema, **description, "properties": properties, "required": list(schema["required"])}


def _bounded(schema: Schema, bounds: Schema) -> Schema:
    for key, value in bounds.items():
        schema[key] = value
    return schema


def _without_null(schema: Schema) -> Schema:
    """Return a schema without null, which TOML does not have; references point to whole tables."""
    schema = dict(schema)
    if schema.get("default", 0) is None or schema.get("default") == {}:
        del schema["default"]
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        return {**kinds[0], **schema}
    return schema | ({"anyOf": kinds} if kinds else {})


def _referring_to_whole(schema: Any, whole: Collection[str]) -> Any:
    """Return a schema in which references to these tables ask for what must be there."""
    if isinstance(schema, list):
        return [_referring_to_whole(item, whole) for item in schema]
    if isinstance(schema, dict):
        return {key: _referring_to_whole(value, whole) for key, value in schema.items()}
    name = str(schema).removeprefix(_REFERENCE)
    return f"{schema}.whole" if name != str(schema) and name in whole else schema


def _demands(name: str, table: Schema) -> bool:
    return bool(table.get("required") or name in TOGETHER)


def _without_own_demands(table: Schema) -> Schema:
    return {key: value for key, value in table.items() if key != "required"} if "properties" in table else table


def _whole(name: str, table: Schema) -> Schema:
    needed = {"required": table["required"]} if table["required"] else {}
    return {"allOf": [{"$ref": f"{_REFERENCE}{name}"}, *TOGETHER.get(name, ())]} | needed


def _unless_extended() -> Schema:
    demands = _at_maps({})
    demands["required"] = ["services"]
    demands["properties"]["services"]["minProperties"] = 1
    return {"if": {"properties": {"extends": False}}, "then": demands}


def _extended(name: str) -> Schema:
    return {"if": given(extends=name), "then": _at_maps(packaged_tree(name))}


def _at_maps(packaged: Mapping[str, Any]) -> Schema:
    """Return the demand that every table of the maps is whole, except those that change a packaged one."""
    schema: Schema = {}
    for path, kind in _KINDS.items():
        there: Any = packaged
        at = schema
        for key in path:
            there = there.get(key, {})
            at = at.setdefault("properties", {}).setdefault(key, {})
        at["properties"] = dict.fromkeys(there, True)
        at["additionalProperties"] = {"$ref": f"{_REFERENCE}{kind}.whole"}
    return schema


def _attribute_docstrings(cls: type[Table]) -> dict[str, str]:
    """Return what stands below the fields of a class in its source; {} without the source."""
    try:
        tree = ast.parse(inspect.getsource(cls))
    except (OSError, SyntaxError):
        return {}
    definition = tree.body[0]
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    found = {}
    for field, below in pairwise(body):
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            found[field.target.id] = " ".join(str(below.value.value).split())  # type: ignore[attr-defined]
    return found


def _page() -> str:
    """Return the reference page, "" if it is not installed."""
    try:
        return Path(page_path("manifest.md")).read_text("utf-8")
    except OSError:
        return ""


def _described(page: str, table: str, key: str) -> Schema:
    heading = _HEADINGS.get(table)
    if heading is None:
        return {}
    section = re.split(r"^#+ ", page.partition(f" {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    row = re.search(rf"^\| `{key}` \| [^|]* \| (.*?) ?\|$", section, flags=re.MULTILINE)
    return {"description": row[1].strip()} if row and row[1].strip() else {}
