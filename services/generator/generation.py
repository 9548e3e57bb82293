"""One generation, from the document to the stored result: read, render, record, publish, record."""

import asyncio
import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from time import perf_counter
from uuid import uuid4

import msgspec

from services.generator.content.model import Channel, ContentOptions, GeneratedContent
from services.generator.content.render import render_content
from services.generator.documents.file import PACKAGED_DOCUMENT
from services.generator.documents.model import Document, DocumentUnavailableError, MalformedDocumentError
from services.generator.documents.parser import parse_document
from services.generator.documents.reader import DocumentReader
from services.generator.history.history import GenerationHistory
from services.generator.history.model import Generation, GenerationStatus, HistoryUnavailableError
from services.generator.metrics import GeneratorMetrics
from services.generator.publishing.publisher import ChannelResult, Publisher, PublishOutcome

logger = logging.getLogger("generator.content")

_CACHED_CONTENTS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """Content with its JSON texts, encoded once: `json` is the whole, the others are its parts."""

    content: GeneratedContent
    digest: str
    json: str
    newsletter_json: bytes
    web_update_json: bytes
    social_posts_json: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """A request for content. `channels` are those to publish to; a preview publishes to none of them."""

    options: ContentOptions
    channels: tuple[Channel, ...]
    preview_only: bool
    force_refresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """The stored generation with its content and the result of each channel."""

    generation: Generation
    rendered: Rendered
    results: Mapping[str, ChannelResult]


class ContentGenerator:
    def __init__(
        self, *, documents: DocumentReader, history: GenerationHistory, publisher: Publisher, metrics: GeneratorMetrics
    ) -> None:
        self._documents = documents
        self._history = history
        self._publisher = publisher
        self._metrics = metrics
        self._cache: OrderedDict[tuple[str, ContentOptions], Rendered] = OrderedDict()
        self._rendering = asyncio.Lock()
        self._publishing: set[asyncio.Task[GenerationResult]] = set()
        self._generated = tuple(metrics.content_generated.labels(channel.value) for channel in Channel)

    async def warm_up(self) -> None:
        """Render once, so that no request waits for the templates to be compiled."""
        await self.render(parse_document(PACKAGED_DOCUMENT.read_text("utf-8")), ContentOptions())

    async def close(self) -> None:
        """Cancel the publications in progress: they stay in the history as pending."""
        cut_off = tuple(self._publishing)
        for publishing in cut_off:
            publishing.cancel()
        await asyncio.gather(*cut_off, return_exceptions=True)
        if cut_off:
            logger.warning("the service is stopping: publications cut off and left as pending: %d", len(cut_off))

    async def generate(self, request: GenerationRequest) -> GenerationResult:
        """Generate content, store it, then publish it; if it cannot be stored, nothing is published.

        Raise DocumentUnavailableError, MalformedDocumentError and HistoryUnavailableError.
        """
        started = perf_counter()
        try:
            document = await self._documents.read(refresh=request.force_refresh)
            rendered = await self.render(document, request.options, refresh=request.force_refresh)
            generation = _new_generation(request, document, rendered)
            await self._history.add(generation, rendered.json)
        except Exception as error:
            self._metrics.generation_failures.labels(_failure_reason(error)).inc()
            logger.error("Content generation failed: %s", error)  # noqa: TRY400  (not a bug: the reason suffices)
            raise
        for counter in self._generated if rendered.content.social_posts else self._generated[:2]:
            counter.inc()
        result = GenerationResult(generation=generation, rendered=rendered, results={})
        if generation.status is GenerationStatus.PENDING:
            # Shielded: the outcome must reach the history even if the client disconnects.
            publishing = asyncio.create_task(self._publish(result, request.channels))
            self._publishing.add(publishing)
            publishing.add_done_callback(self._publishing.discard)
            result = await asyncio.shield(publishing)
        self._metrics.generation_duration_s.observe(perf_counter() - started)
        return result

    async def render(self, document: Document, options: ContentOptions, *, refresh: bool = False) -> Rendered:
        """Return the content of (document, options), from the cache if possible.

        Raise MalformedDocumentError if the document is too complex.
        """
        key = (document.digest, options)
        rendered = None if refresh else self._cache.get(key)
        if rendered is not None:
            self._cache.move_to_end(key)
            return rendered
        async with self._rendering:  # requests waiting for the same content find it cached
            rendered = None if refresh else self._cache.get(key)
            if rendered is None:
                rendered = await asyncio.to_thread(_render, document, options)
                self._cache[key] = rendered
                while len(self._cache) > _CACHED_CONTENTS:
                    self._cache.popitem(last=False)
        return rendered

    async def _publish(self, pending: GenerationResult, channels: tuple[Channel, ...]) -> GenerationResult:
        content, content_id = pending.rendered.content, pending.generation.content_id
        results = await self._publisher.publish(content, content_id, channels)
        errors = tuple(
            f"{channel}: {r.message}" for channel, r in results.items() if r.status is not PublishOutcome.SUCCESS
        )
        published = tuple(channel for channel, r in results.items() if r.status is not PublishOutcome.FAILED)
        status = GenerationStatus.PARTIAL if errors else GenerationStatus.SUCCESS
        if results and not published:
            status = GenerationStatus.FAILED
            self._metrics.generation_failures.labels("publish").inc()
        generation = replace(
            pending.generation,
            status=status,
            published_to=published,
            errors=errors,
            results_json=json.dumps({channel: asdict(result) for channel, result in results.items()}),
        )
        try:
            await self._history.finish(generation)
        except HistoryUnavailableError as error:
            # It is published but pending in the history: report that, because an error would invite a retry.
            partial = GenerationStatus.PARTIAL if published else status
            generation = replace(generation, status=partial, errors=(*errors, f"history: {error}"))
        return replace(pending, generation=generation, results=results)


def _render(document: Document, options: ContentOptions) -> Rendered:
    content = render_content(document, options)
    encode = msgspec.json.encode
    whole = encode(content)
    return Rendered(
        content=content,
        digest=hashlib.sha256(whole).hexdigest(),
        json=whole.decode(),
        newsletter_json=encode(content.newsletter),
        web_update_json=encode(content.web_update),
        social_posts_json=encode(content.social_posts),
    )


def _new_generation(request: GenerationRequest, document: Document, rendered: Rendered) -> Generation:
    return Generation(
        content_id=str(uuid4()),
        status=GenerationStatus.PREVIEW if request.preview_only else GenerationStatus.PENDING,
        generated_at=datetime.now(UTC),
        document_digest=document.digest,
        content_digest=rendered.digest,
        options_json=_options_json(request.options, request.channels),
    )


@lru_cache(maxsize=_CACHED_CONTENTS)
def _options_json(options: ContentOptions, channels: tuple[Channel, ...]) -> str:
    return msgspec.json.encode({"channels": channels, **asdict(options)}).decode()


def _failure_reason(error: Exception) -> str:
    known = {
        DocumentUnavailableError: "document",
        MalformedDocumentError: "malformed",
        HistoryUnavailableError: "history",
    }
    return known.get(type(error), "unexpected")
