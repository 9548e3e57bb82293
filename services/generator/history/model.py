"""One generation as the history keeps it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class GenerationStatus(StrEnum):
    """PENDING is written before anything is published: it stays when the process dies in between."""

    PREVIEW = "preview"
    PENDING = "pending"
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """`content_digest` names the content, which equal generations share. The *_json are compact JSON texts."""

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
    """One generation to be stored: with its content when it is new, or else with its final state."""

    generation: Generation
    content_json: str | None = None
    """None updates the stored generation's outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationPage:
    """`generations` newest first; `total` counts the whole history."""

    generations: tuple[Generation, ...]
    total: int


class HistoryUnavailableError(Exception):
    """The database cannot be used now. The message has the driver's reason and no password."""
