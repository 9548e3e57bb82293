"""The current document: fetched from its source, and parsed once for each text."""

import asyncio
from time import monotonic

from services.generator.documents.model import Document, DocumentUnavailableError, MalformedDocumentError
from services.generator.documents.parser import parse_document
from services.generator.documents.source import DocumentSource
from services.generator.metrics import GeneratorMetrics

_CHECK_EVERY_S = 10.0


class DocumentReader:
    def __init__(self, source: DocumentSource, metrics: GeneratorMetrics) -> None:
        self._source = source
        self._metrics = metrics
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
            text = await self._source.read(refresh=refresh)
        except DocumentUnavailableError:
            self._metrics.count_fetch(self.kind, "unavailable")
            raise
        if self._parsed is None or self._parsed[0] != text:
            async with self._parsing:  # requests waiting for the same text find it parsed
                if self._parsed is None or self._parsed[0] != text:
                    return await self._parse(text)
        self._metrics.count_fetch(self.kind, "unchanged")
        return self._parsed[1]

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
