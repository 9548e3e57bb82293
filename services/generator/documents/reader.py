"""The current document: fetched from its source, and parsed once for each text."""

import asyncio
from dataclasses import dataclass
from time import monotonic

from services.generator.documents.model import Document, DocumentUnavailableError, MalformedDocumentError
from services.generator.documents.parser import parse_document
from services.generator.documents.source import DocumentSource
from services.generator.metrics import GeneratorMetrics

_CHECK_EVERY_S = 10.0
_READ_WITHIN_S = 300.0
"""Longer than the attempts and pages of any real document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fetched:
    """The outcome of one download: the text, or why there is none."""

    started_at_s: float
    refreshed: bool
    outcome: str | DocumentUnavailableError


class DocumentReader:
    def __init__(self, source: DocumentSource, metrics: GeneratorMetrics) -> None:
        self._source = source
        self._metrics = metrics
        self._fetching = asyncio.Lock()
        self._fetched: _Fetched | None = None
        self._parsed: tuple[str, Document] | None = None
        self._parsing = asyncio.Lock()
        self._checked_at_s = float("-inf")
        self._check_lock = asyncio.Lock()
        self._problem: str | None = None

    @property
    def kind(self) -> str:
        return self._source.kind

    async def read(self, *, refresh: bool = False) -> Document:
        """Return the document. Raise DocumentUnavailableError and MalformedDocumentError."""
        try:
            text = await self._fetch(refresh=refresh)
        except DocumentUnavailableError:
            self._metrics.count_fetch(self.kind, "unavailable")
            raise
        if self._parsed is None or self._parsed[0] != text:
            async with self._parsing:  # requests waiting for the same text find it parsed
                if self._parsed is None or self._parsed[0] != text:
                    return await self._parse(text)
        self._metrics.count_fetch(self.kind, "unchanged")
        return self._parsed[1]

    async def _fetch(self, *, refresh: bool) -> str:
        """Return the source's text. Requests that wait for a download share the next one, and so its memory."""
        if self._source.kind == "file":
            return await self._source.read(refresh=refresh)
        asked_at_s = monotonic()
        async with self._fetching:
            fetched = self._fetched
            if fetched is None or fetched.started_at_s < asked_at_s or (refresh and not fetched.refreshed):
                self._fetched = fetched = await self._download(refresh=refresh)
        if isinstance(fetched.outcome, DocumentUnavailableError):
            raise DocumentUnavailableError(str(fetched.outcome)) from fetched.outcome
        return fetched.outcome

    async def _download(self, *, refresh: bool) -> _Fetched:
        started_at_s = monotonic()
        outcome: str | DocumentUnavailableError
        try:
            async with asyncio.timeout(_READ_WITHIN_S):
                outcome = await self._source.read(refresh=refresh)
        except DocumentUnavailableError as error:
            outcome = error
        except TimeoutError:
            outcome = DocumentUnavailableError(f"the document was not complete after {_READ_WITHIN_S:g} s")
        return _Fetched(started_at_s=started_at_s, refreshed=refresh, outcome=outcome)

    async def _parse(self, text: str) -> Document:
        try:
            document = await asyncio.to_thread(parse_document, text)
        except MalformedDocumentError:
            self._metrics.count_fetch(self.kind, "malformed")
            raise
        self._parsed = (text, document)
        self._metrics.count_fetch(self.kind, "read")
        return document

    async def problem(self) -> str | None:
        """Return why nothing can be generated now, or None. Check remote sources at most every 10 s."""
        async with self._check_lock:
            if self._source.kind == "file" or monotonic() - self._checked_at_s > _CHECK_EVERY_S:
                try:
                    await self.read()
                except (DocumentUnavailableError, MalformedDocumentError) as error:
                    self._problem = str(error)
                else:
                    self._problem = None
                self._checked_at_s = monotonic()
            return self._problem
