"""Build the generator's app and its parts from the settings."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from services.common.app import create_app, package_version
from services.common.settings import listed
from services.generator.access import SECURITY_SCHEMES, ApiKeys, Gate, RateLimiter, authenticate
from services.generator.condition import GeneratorHealth
from services.generator.documents.file import PACKAGED_DOCUMENT, FileSource
from services.generator.documents.google_docs import GoogleDocsSource
from services.generator.documents.notion import NotionSource
from services.generator.documents.reader import DocumentReader
from services.generator.documents.source import DocumentSource
from services.generator.documents.url import UrlSource
from services.generator.generation import ContentGenerator
from services.generator.history.history import GenerationHistory
from services.generator.history.model import HistoryUnavailableError
from services.generator.history.retention import PreviewRetention
from services.generator.metrics import GeneratorMetrics
from services.generator.outgoing.client import build_client
from services.generator.publishing.publisher import Publisher
from services.generator.publishing.target import PublishTarget
from services.generator.routes import GeneratorRoutes
from services.generator.settings import GeneratorSettings

SERVICE = "generator"


def create(settings: GeneratorSettings) -> FastAPI:
    """Return the generator's app. The database is opened after the start: if it is down, the app is only not ready."""
    metrics = GeneratorMetrics(service=SERVICE, version=package_version(), dry_run=settings.dry_run_mode)
    client = build_client(
        guarded=settings.dry_run_mode,
        allowed_hosts=listed(settings.egress_allowed_hosts),
        max_connections=settings.max_concurrent_requests + 10,  # ten for documents and health checks
        timeout_s=settings.request_timeout,
        count_refusal=metrics.egress_refused.inc,
    )
    documents = DocumentReader(_document_source(settings, client), metrics)
    database_url = settings.database_url.get_secret_value()
    history = GenerationHistory(database_url, pool_size=settings.database_pool_size, metrics=metrics)
    retention = PreviewRetention(history, days=settings.preview_retention_days)
    crm, platform = _targets(settings, client)
    publisher = Publisher(crm=crm, platform=platform, metrics=metrics)
    generator = ContentGenerator(documents=documents, history=history, publisher=publisher, metrics=metrics)
    condition = GeneratorHealth(history=history, documents=documents, crm=crm, platform=platform)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opening = asyncio.create_task(_open(history))
        removing = asyncio.create_task(retention.run())
        try:
            await generator.warm_up()
            yield
        finally:
            removing.cancel()
            await generator.close()
            await history.close()
            await asyncio.gather(opening, removing, return_exceptions=True)
            await client.aclose()

    app = create_app(
        settings,
        service=SERVICE,
        title="Toombos content generator",
        description="Turns a living document into a newsletter, a web update and social posts, and publishes them.",
        routers=[GeneratorRoutes(generator=generator, documents=documents, history=history).router()],
        metrics=metrics,
        readiness=condition.readiness(),
        health=condition.health(),
        lifespan=lifespan,
        documents_guard=authenticate,
        security_schemes=SECURITY_SCHEMES,
    )
    keys = ApiKeys(_clear(settings.api_key), _clear(settings.read_only_api_key))
    app.state.gate = Gate(keys=keys, limiter=RateLimiter(settings.rate_limit_per_minute))
    return app


async def _open(history: GenerationHistory) -> None:
    with contextlib.suppress(HistoryUnavailableError):  # logged; every later use tries again
        await history.ping()


def _document_source(settings: GeneratorSettings, client: httpx.AsyncClient) -> DocumentSource:
    match settings.living_doc_type:
        case "file":
            return FileSource(Path(settings.living_doc_id) if settings.living_doc_id else PACKAGED_DOCUMENT)
        case "url":
            assert settings.living_doc_url  # noqa: S101  (the settings require it)
            return UrlSource(settings.living_doc_url, client)
        case "google_docs":
            assert settings.living_doc_id  # noqa: S101  (the settings require it)
            account = settings.service_account()
            return GoogleDocsSource(settings.living_doc_id, account, client, base_url=settings.google_docs_base_url)
        case "notion":
            return NotionSource(
                client,
                api_key=_clear(settings.notion_api_key) or "",
                base_url=settings.notion_base_url,
                database_id=settings.notion_database_id,
                page_id=settings.living_doc_id,
            )


def _targets(settings: GeneratorSettings, client: httpx.AsyncClient) -> tuple[PublishTarget, PublishTarget]:
    """Return CRM and platform; mocks do not get the keys of the real services."""
    slots = asyncio.Semaphore(settings.max_concurrent_requests)
    if settings.publishes_to_mocks:
        crm_url, crm_key = settings.mock_crm_base_url, None
        platform_url, platform_key = settings.mock_platform_base_url, None
    else:
        crm_url, crm_key = settings.crm_base_url or "", _clear(settings.crm_api_key)
        platform_url, platform_key = settings.platform_base_url or "", _clear(settings.platform_api_key)
    crm = PublishTarget("CRM service", base_url=crm_url, api_key=crm_key, client=client, slots=slots)
    return crm, PublishTarget(
        "Platform service", base_url=platform_url, api_key=platform_key, client=client, slots=slots
    )


def _clear(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
