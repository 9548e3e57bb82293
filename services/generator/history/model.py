"""The history's data types."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class GenerationStatus(StrEnum):
    """The status of a generation. PENDING is written before publishing and stays if the process dies meanwhile."""

    PREVIEW = "preview"
    PENDING = "pending"
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A generation. `content_digest` identifies the content, shared by equal generations; *_json are compact JSON."""

    content_id: str
    status: GenerationStatus
    generated_at: datetime
    document_digest: str
    content_digest: str
    options_json: str
    published_to: tuple[str, ...] = ()
    results_json: str = "{}"
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One generation to store: a new one with its content, or an existing one with its final state."""

    generation: Generation
    content_json: str | None = None
    """None updates the outcome of the stored generation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationPage:
    """A page of the history. `generations`: newest first; `total` counts the whole history."""

    generations: tuple[Generation, ...]
    total: int


class HistoryUnavailableError(Exception):
    """The database cannot be used now. The message contains the driver's reason and no password."""
