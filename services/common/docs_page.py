"""The page at /docs: a service's OpenAPI document for people, without scripts and without anything from elsewhere."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#22343a}
details{border:1px solid #d9e4e6;border-radius:6px;margin:.5rem 0;padding:.5rem 1rem}
summary{cursor:pointer}code,pre{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;background:#f4f7f8;padding:.5rem}
table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}b{color:#0b6e75}
"""


def docs_page(document: Mapping[str, Any]) -> str:
    """Return the page of an OpenAPI document: each operation with its parameters, body and responses."""
    info = document["info"]
    operations = (
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    schemas = document.get("components", {}).get("schemas", {})
    return "\n".join(
        (
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('description', ''))}</p>",
            '<p>The same for programs: <a href="openapi.json">openapi.json</a></p>',
            "<h2>Operations</h2>",
            *operations,
            "<h2>Schemas</h2>",
            *(_folded(f'<code id="{escape(name)}">{escape(name)}</code>', schema) for name, schema in schemas.items()),
            "</body></html>",
        )
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    title = f"<b>{escape(method.upper())}</b> <code>{escape(path)}</code>"
    parts = (
        f"<p>{escape(operation.get('description', ''))}</p>",
        *_parameters(operation.get("parameters", ())),
        *_contents("Body", operation.get("requestBody", {})),
        *(part for status, response in operation["responses"].items() for part in _contents(status, response)),
    )
    return f"<details><summary>{title} {escape(operation.get('summary', ''))}</summary>{''.join(parts)}</details>"


def _parameters(parameters: Any) -> Iterator[str]:
    if parameters:
        rows = (
            f"<tr><td><code>{escape(each['name'])}</code><td>{escape(each['in'])}"
            f"<td><code>{escape(json.dumps(each['schema']))}</code></tr>"
            for each in parameters
        )
        yield f"<table><tr><th>Parameter<th>In<th>Schema</tr>{''.join(rows)}</table>"


def _contents(name: str, holder: Mapping[str, Any]) -> Iterator[str]:
    for media_type, content in holder.get("content", {}).items():
        title = f"{name} {holder.get('description', '')} {media_type}"
        yield f"<p>{escape(title)}</p><pre>{escape(json.dumps(content.get('schema', {}), indent=2))}</pre>"


def _folded(title: str, schema: Any) -> str:
    return f"<details><summary>{title}</summary><pre>{escape(json.dumps(schema, indent=2))}</pre></details>"
