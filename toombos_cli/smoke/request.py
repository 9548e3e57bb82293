"""Builds the request of a step whose variables are filled in."""

import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toombos_cli.base.exact_numbers import as_text, encode_exact
from toombos_cli.base.plain_files import read_plain
from toombos_cli.base.text import size
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.manifest.tables.smoke_parts import Upload

_SHOWN_BODY_CHARS = 200
_CHARSET = re.compile(r";\s*charset=\"?([\w.-]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequest:
    """A request that is ready to be sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    shown_body: str

    def __str__(self) -> str:
        return f"{self.method} {self.url} {self.shown_body}".rstrip()


def build_request(step: SmokeStep, url: str, *, project: Path, request_id: str) -> StepRequest:
    """Return the request of a filled step. Raises ValueError if it cannot be built."""
    # The request id marks these requests in the services' logs, so that `diagnose` ignores simulated faults.
    headers = {"X-Request-ID": request_id} | {name: value for name, value in step.headers.items() if value}
    media_type, body = _body(step, headers, project)
    if step.files:  # only httpx knows the boundary between them
        headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
    if media_type and not _header(headers, "content-type"):
        headers["Content-Type"] = media_type
    shown = f"({media_type.partition(';')[0]}, {size(len(body))})" if step.files else _short(body)
    return StepRequest(method=step.method, url=url, headers=headers, body=body, shown_body=shown)


def _body(step: SmokeStep, headers: Mapping[str, str], project: Path) -> tuple[str, bytes]:
    """Return the body and its media type, "" if there is none."""
    written = _header(headers, "content-type")
    if step.raw is not None:
        return "", _encoded(step.raw, written)
    if step.form or step.files:
        return _form(step, project)
    if step.body is None:
        return "", b""
    if isinstance(step.body, str) and written and not is_json(written):
        return "", _encoded(step.body, written)
    return "application/json", encode_exact(step.body).encode()


def is_json(media_type: str) -> bool:
    """Report whether a Content-Type is that of JSON: `application/json`, or one that ends with `+json`."""
    kind = media_type.partition(";")[0].strip().lower()
    return kind.endswith(("/json", "+json"))


def _form(step: SmokeStep, project: Path) -> tuple[str, bytes]:
    """Return the form as httpx encodes it: urlencoded, or multipart with files."""
    from toombos_cli.probes.lean_httpx import httpx

    fields = {name: _texts(value) for name, value in step.form.items()}
    files = [(name, _file(name, upload, project)) for name, upload in step.files.items()]
    request = httpx.Request("POST", "http://form.invalid/", data=fields, files=files or None)
    return request.headers["Content-Type"], request.read()


def _texts(value: Any) -> str | list[str]:
    return [as_text(item) for item in value] if isinstance(value, list | tuple) else as_text(value)


def _file(field: str, upload: Upload, project: Path) -> tuple[str, bytes] | tuple[str, bytes, str]:
    content = (upload.content or "").encode() if upload.path is None else _read(upload.path, project)
    name = upload.name or (Path(upload.path).name if upload.path else field)
    return (name, content, upload.type) if upload.type else (name, content)


def _read(path: str, project: Path) -> bytes:
    """Return the content of a file of the project. Raises ValueError."""
    try:
        whole = (project / path).resolve()
        if not whole.is_relative_to(project.resolve()):
            raise ValueError(f"{path}: is not in the project, so it is not sent")
        return read_plain(whole)
    except OSError as error:
        why = "is a directory" if error.errno == errno.EISDIR else error.strerror
        raise ValueError(f"{path}: cannot be read: {why}") from None


def _encoded(text: str, content_type: str) -> bytes:
    found = _CHARSET.search(content_type)
    try:
        return text.encode(found[1] if found else "utf-8")
    except (LookupError, UnicodeEncodeError) as error:
        raise ValueError(f"the body cannot be sent as {content_type}: {error}") from None


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")


def _short(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    return text if len(text) <= _SHOWN_BODY_CHARS else text[: _SHOWN_BODY_CHARS - 1] + "…"
