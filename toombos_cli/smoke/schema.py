"""Checks a response against the schema in the service's own OpenAPI document for its route and status."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from toombos_cli.base.text import one_line
from toombos_cli.probes import ProbeResult, Reason, probe_http, read_json

_MAX_DOCUMENT_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Contract:
    """A service's OpenAPI document; `problem` says why it could not be read."""

    document: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @classmethod
    def fetch(cls, url: str, *, headers: Mapping[str, str], timeout_s: float) -> "Contract":
        """Fetch the document at `url`."""
        result = probe_http(url, headers=headers, timeout_s=timeout_s, max_body_bytes=_MAX_DOCUMENT_BYTES)
        if result.reason is not Reason.OK:
            return cls(problem=f"{url}: {result.reason}: {result.detail}")
        try:
            document = read_json(result)
        except ValueError as error:
            return cls(problem=f"{url}: {error}")
        if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
            return cls(problem=f"{url} is not an OpenAPI document")
        return cls(document=document)

    def judge(self, method: str, path: str, result: ProbeResult, body: Any) -> tuple[str, str]:
        """Return (violation, doubt): how the body breaks the contract, or why it could not be checked; "" if not."""
        if self.problem:
            return self.problem, ""
        schema, doubt = self._schema(method, path, result.http_status or 0)
        if schema is None:
            return "", doubt
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError, best_match

        whole = schema | {key: self.document[key] for key in ("components",) if key in self.document}
        try:
            error = best_match(Draft202012Validator(whole).iter_errors(body))
        except (SchemaError, LookupError) as broken:
            return f"the OpenAPI schema itself is broken: {one_line(str(broken))}", ""
        if error is None:
            return "", ""
        return f"{error.json_path}: {one_line(error.message)}", ""

    def _schema(self, method: str, path: str, status: int) -> tuple[dict[str, Any] | None, str]:
        """Return the schema of a JSON response, or None and the reason."""
        operation = self._operation(method, path.partition("?")[0])
        if operation is None:
            return None, f"the OpenAPI document has no {method} {path.partition('?')[0]}"
        responses = operation.get("responses", {})
        response = next((responses[k] for k in (str(status), f"{status // 100}XX", "default") if k in responses), None)
        if response is None:
            return None, f"the OpenAPI document does not list {status} as a response"
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        if not schema:
            return None, f"the OpenAPI document has no schema for the body of {status}"
        return schema, ""

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        """Return the operation whose path matches, or None; a literal path beats one with parameters."""
        paths: dict[str, Any] = self.document["paths"]
        fitting = [path] if path in paths else [template for template in paths if _fits(template, path)]
        found = next((paths[template].get(method.lower()) for template in fitting), None)
        return found if isinstance(found, dict) else None


def _fits(template: str, path: str) -> bool:
    parts = re.split(r"(\{[^}]+\})", template)
    pattern = "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts)
    return re.fullmatch(pattern, path) is not None
