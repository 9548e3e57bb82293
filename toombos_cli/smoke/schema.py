"""Checks a response against the schema in the service's own OpenAPI document for its route and status.

The document is not ours: its expressions and references are judged within a time, and no other document is fetched.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from toombos_cli.base.text import one_line
from toombos_cli.base.time_limits import TimeIsUpError, at_most
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.probes import Cause, Endpoint, Reason, probe_http, read_json
from toombos_cli.probes.steps.response import StepResponse
from toombos_cli.smoke.request import is_json

_MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
_JUDGE_S = 5.0
_MOST_REFERENCES = 10
_URI = "urn:toombos:openapi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformity:
    """How a body relates to its schema: what breaks it, why that could not be judged, or that there is no schema."""

    violation: str = ""
    doubt: str = ""
    missing: str = ""


@dataclass(slots=True)
class Contract:
    """A service's OpenAPI document; `problem` says why it could not be read."""

    document: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @classmethod
    def fetch(cls, url: str, *, headers: Mapping[str, str], timeout_s: float, endpoint: Endpoint) -> "Contract":
        """Fetch the document at `url`."""
        result = probe_http(
            url, headers=headers, timeout_s=timeout_s, max_body_bytes=_MAX_DOCUMENT_BYTES, endpoint=endpoint
        )
        if result.reason is not Reason.OK:
            return cls(problem=f"{url}: {result.reason}: {result.detail}")
        try:
            document = read_json(result)
        except ValueError as error:
            return cls(problem=f"{url}: {error}")
        if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
            return cls(problem=f"{url} is not an OpenAPI document")
        return cls(document=_with_null(document) if str(document.get("openapi")).startswith("3.0") else document)

    def judge(self, method: str, path: str, response: StepResponse) -> Conformity:
        """Return how the response's body relates to the document."""
        if self.problem:
            return Conformity(doubt=self.problem)
        try:
            with at_most(_JUDGE_S):
                pointer, missing = self._schema(method, path.partition("?")[0], response)
                if missing or response.not_json:
                    return Conformity(missing=missing, violation="" if missing else response.not_json)
                return self._validated(pointer, response.json)
        except TimeIsUpError:
            return Conformity(doubt=f"the OpenAPI schema could not be checked within {_JUDGE_S:g} s")
        except RecursionError:
            return Conformity(doubt="the OpenAPI schema refers to itself without end")

    def _validated(self, pointer: str, body: Any) -> Conformity:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError, best_match
        from referencing import Registry
        from referencing.exceptions import Unresolvable
        from referencing.jsonschema import DRAFT202012

        registry: Registry[Any] = Registry().with_resource(_URI, DRAFT202012.create_resource(self.document))
        validator = Draft202012Validator({"$ref": f"{_URI}#{pointer}"}, registry=registry)
        try:
            error = best_match(validator.iter_errors(body))
        except (SchemaError, Unresolvable, LookupError, re.error, TypeError, AttributeError) as broken:
            return Conformity(doubt=f"the OpenAPI schema cannot be used: {one_line(str(broken))}")
        return Conformity(violation=f"{error.json_path}: {one_line(error.message)}" if error else "")

    def _schema(self, method: str, path: str, response: StepResponse) -> tuple[str, str]:
        """Return the JSON pointer to the schema of a JSON response, or why there is none."""
        status = response.result.http_status or 0
        found = self._operation(method, path)
        if found is None:
            return "", f"the OpenAPI document has no {method} {path}"
        pointer, operation = self._followed(found)
        responses = operation.get("responses")
        keys = [str(status), f"{status // 100}XX", "default"]
        key = next((key for key in keys if isinstance(responses, dict) and key in responses), None)
        if key is None:
            return "", f"the OpenAPI document does not list {status} as a response"
        pointer, answer = self._followed(f"{pointer}/responses/{key}")
        media_type = self._media_type(answer, str(response.header("content-type")))
        if media_type is None:
            return "", f"the OpenAPI document has no schema for the body of {status}"
        return f"{pointer}/content/{_escaped(media_type)}/schema", ""

    def _operation(self, method: str, path: str) -> str | None:
        """Return the pointer to the operation whose path matches; a literal path beats one with parameters."""
        paths: dict[str, Any] = self.document["paths"]
        for inner in self._below_servers(path):
            fitting = [inner] if inner in paths else [template for template in paths if _fits(template, inner)]
            for template in fitting:
                pointer, item = self._followed(f"/paths/{_escaped(template)}")
                if method.lower() in item:
                    return f"{pointer}/{method.lower()}"
        return None

    def _below_servers(self, path: str) -> Iterator[str]:
        """Yield the path, and its part below the path of each server of the document."""
        yield path
        servers = self.document.get("servers")
        for server in servers if isinstance(servers, list) else ():
            url = server.get("url") if isinstance(server, dict) else None
            base = urlsplit(url).path.rstrip("/") if isinstance(url, str) else ""
            if base and path.startswith(f"{base}/"):
                yield path.removeprefix(base)

    def _media_type(self, answer: Mapping[str, Any], content_type: str) -> str | None:
        """Return the key of the content that describes this Content-Type and has a schema."""
        content = answer.get("content")
        kinds = content if isinstance(content, dict) else {}
        plain = content_type.partition(";")[0].strip().lower()
        by_kind: dict[str, str] = {kind.partition(";")[0].strip().lower(): kind for kind in reversed(kinds)}
        for kind in (plain, "application/json", "application/*", "*/*"):
            described = kinds.get(by_kind.get(kind, ""))
            if isinstance(described, dict) and described.get("schema"):
                return by_kind[kind]
        return None

    def _followed(self, pointer: str) -> tuple[str, Mapping[str, Any]]:
        """Return the object at a pointer, and its own pointer, after following references within the document."""
        for _ in range(_MOST_REFERENCES):
            value = self._at(pointer)
            reference = value.get("$ref") if isinstance(value, dict) else None
            if not isinstance(reference, str) or not reference.startswith("#/"):
                return pointer, value if isinstance(value, dict) else {}
            pointer = reference[1:]
        return pointer, {}

    def _at(self, pointer: str) -> Any:
        value: Any = self.document
        for part in pointer.split("/")[1:]:
            name = _unescaped(part)
            value = value.get(name) if isinstance(value, dict) else None
        return value


def _fits(template: str, path: str) -> bool:
    parts = re.split(r"(\{[^}]+\})", template)
    pattern = "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts)
    return re.fullmatch(pattern, path) is not None


def _escaped(name: str) -> str:
    """Return a name as a part of a JSON pointer in a URI (RFC 6901)."""
    return quote(name.replace("~", "~0").replace("/", "~1"), safe="~")


def _unescaped(part: str) -> str:
    return unquote(part).replace("~1", "/").replace("~0", "~")


def _with_null(value: Any) -> Any:
    """Return a schema of OpenAPI 3.0 as one of 3.1: null is a type, and an exclusive limit is a number."""
    if isinstance(value, list):
        return [_with_null(item) for item in value]
    if not isinstance(value, dict):
        return value
    schema = {key: _with_null(item) for key, item in value.items()}
    if schema.get("nullable") is True:
        del schema["nullable"]
        schema = {"anyOf": [{"type": "null"}, schema]}
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool):
            is_exclusive = schema.pop(exclusive)
            if is_exclusive and limit in schema:
                schema[exclusive] = schema.pop(limit)
    return schema


def judge_schema(step: SmokeStep, response: StepResponse, contract: Contract) -> Conformity:
    """Return whether the body conforms to the schema of the service's own OpenAPI document."""
    claims_json = is_json(str(response.header("content-type")))
    demands_json = bool(step.json) or any(place.json is not None for _, place in step.captures())
    if not (claims_json or demands_json) or step.method == "HEAD" or step.json_schema is False:
        return Conformity()
    if response.result.cause is Cause.UNREADABLE:
        return Conformity(missing=response.result.detail)
    return contract.judge(step.method, step.path, response)
