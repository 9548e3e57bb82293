"""The generator's routes."""

import json
from typing import Annotated, Any, NoReturn

import msgspec
from fastapi import APIRouter, HTTPException, Query, Response

from services.common.answers import errors
from services.generator import models
from services.generator.access import Caller, KeyedRoute, require_editor
from services.generator.content.model import Channel, ContentOptions, Platform, TemplateStyle, Tone
from services.generator.documents.model import DocumentUnavailableError, MalformedDocumentError
from services.generator.documents.reader import DocumentReader
from services.generator.generation import ContentGenerator, GenerationResult
from services.generator.history.history import GenerationHistory
from services.generator.history.model import Generation, GenerationStatus, HistoryUnavailableError

_DESCRIPTIONS = {
    TemplateStyle.MODERN: "Coloured header, one card for each section",
    TemplateStyle.MINIMAL: "Serif type on white, thin rules, much space",
    TemplateStyle.PLAIN: "Black text alone, as a letter",
}
_JSON = "application/json"
_FAILED = {"model": models.PublishFailedAnswer, "description": "The document is unavailable, or no channel published"}
_EXPECTED_ERRORS = (DocumentUnavailableError, MalformedDocumentError, HistoryUnavailableError)

Style = Annotated[TemplateStyle, Query()]
PlatformsQuery = Annotated[models.Platforms | None, Query()]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=1_000_000_000)]


class GeneratorRoutes:
    def __init__(self, *, generator: ContentGenerator, documents: DocumentReader, history: GenerationHistory) -> None:
        self._generator = generator
        self._documents = documents
        self._history = history

    def router(self) -> APIRouter:
        router = APIRouter(tags=["generator"], responses=errors(401, 429), route_class=KeyedRoute)
        router.add_api_route(
            "/api/v2/generate-content",
            self.generate_content,
            methods=["POST"],
            response_model=models.GenerationAnswer,
            responses={**errors(400, 403, 413, 503), 502: _FAILED},
        )
        router.post(
            "/api/v1/content/preview/{channel}",
            response_model_exclude_unset=True,
            responses=errors(400, 413, 502),
        )(self.preview_channel)
        router.get("/api/v2/generations", response_model=models.GenerationsAnswer, responses=errors(503))(
            self.list_generations
        )
        router.get(
            "/api/v2/generations/{content_id}",
            response_model=models.StoredGenerationWithContent,
            responses=errors(404, 503),
        )(self.get_generation)
        router.get("/api/v2/templates")(self.list_templates)
        return router

    async def generate_content(
        self,
        body: models.GenerateRequest,
        role: Caller,
        template_style: Style = TemplateStyle.MODERN,
        social_platforms: PlatformsQuery = None,
        seo_optimize: bool = True,
    ) -> Response:
        """Generate content from the document and publish it unless it is a preview.

        If some channels fail, the status is `partial`, with the reasons in `errors`. 422 if the document is malformed,
        with the line; 502 if it cannot be fetched or if every channel failed.
        """
        if not body.preview_only:
            require_editor(role)
        request = models.generation_request(
            body, style=template_style, platforms=social_platforms, seo_optimize=seo_optimize
        )
        try:
            result = await self._generator.generate(request)
        except _EXPECTED_ERRORS as error:
            _refuse(error)
        if result.generation.status is GenerationStatus.FAILED:
            return Response(_failure(result.generation), 502, media_type=_JSON)
        return Response(_answer(result, with_content=body.include_preview), media_type=_JSON)

    async def preview_channel(
        self,
        channel: Channel,
        body: models.PreviewRequest,
        role: Caller,
        template_style: Style = TemplateStyle.MODERN,
        social_platforms: PlatformsQuery = None,
        seo_optimize: bool = True,
    ) -> models.ChannelPreviewAnswer:
        """Return one channel's content; publish and store nothing."""
        platforms = frozenset(Platform if social_platforms is None else social_platforms)
        options = ContentOptions(
            email_tone=body.tone,
            web_tone=body.tone,
            social_tone=body.tone,
            style=template_style,
            platforms=tuple(platform for platform in Platform if platform in platforms),
            seo_optimize=seo_optimize,
        )
        try:
            document = await self._documents.read(refresh=body.force_refresh)
            rendered = await self._generator.render(document, options, refresh=body.force_refresh)
        except _EXPECTED_ERRORS as error:
            _refuse(error)
        part = {Channel.EMAIL: "newsletter", Channel.WEB: "web_update", Channel.SOCIAL: "social_posts"}[channel]
        return models.ChannelPreviewAnswer.model_validate(
            {"channel": channel, part: json.loads(getattr(rendered, f"{part}_json"))}
        )

    async def list_generations(self, role: Caller, limit: Limit = 50, offset: Offset = 0) -> Response:
        """List the stored generations without their contents, newest first."""
        try:
            page = await self._history.page(limit=limit, offset=offset)
        except HistoryUnavailableError as error:
            _refuse(error)
        generations = [_stored(generation) for generation in page.generations]
        answer = {"generations": generations, "total": page.total, "limit": limit, "offset": offset}
        return Response(msgspec.json.encode(answer), media_type=_JSON)

    async def get_generation(self, content_id: str, role: Caller) -> Response:
        """Return one stored generation with its content."""
        try:
            found = await self._history.get(content_id)
        except HistoryUnavailableError as error:
            _refuse(error)
        if found is None:
            raise HTTPException(404, "No generation has this content_id")
        generation, content_json = found
        return Response(msgspec.json.encode(_stored(generation) | json.loads(content_json)), media_type=_JSON)

    async def list_templates(self, role: Caller) -> models.TemplatesAnswer:
        """List the available template styles, tones and platforms."""
        return models.TemplatesAnswer(
            templates=[models.TemplateAnswer(name=name, description=text) for name, text in _DESCRIPTIONS.items()],
            tones=list(Tone),
            social_platforms=list(Platform),
        )


def _refuse(error: Exception) -> NoReturn:
    """Raise 422 for errors that the document's author can fix, 502 for its source, 503 for the history."""
    if isinstance(error, MalformedDocumentError):
        detail = {"loc": ["document", error.line], "msg": str(error), "type": "malformed_document"}
        raise HTTPException(422, [detail]) from error
    raise HTTPException(502 if isinstance(error, DocumentUnavailableError) else 503, str(error)) from error


def _answer(result: GenerationResult, *, with_content: bool) -> bytes:
    """Return the response's JSON. The content's JSON is reused, because validating 40 kB per response is slow."""
    generation, rendered = result.generation, result.rendered
    raw = msgspec.Raw
    return msgspec.json.encode(
        {
            "status": generation.status,
            "content_id": generation.content_id,
            "published_to": generation.published_to,
            "results": result.results,
            "newsletter": raw(rendered.newsletter_json) if with_content else None,
            "web_update": raw(rendered.web_update_json) if with_content else None,
            "social_posts": raw(rendered.social_posts_json) if with_content else [],
            "errors": generation.errors,
            "generated_at": generation.generated_at,
        }
    )


def _failure(generation: Generation) -> bytes:
    return msgspec.json.encode(
        {
            "detail": f"No channel published: {'; '.join(generation.errors)}",
            "content_id": generation.content_id,
            "errors": generation.errors,
            "results": msgspec.Raw(generation.results_json.encode()),
        }
    )


def _stored(generation: Generation) -> dict[str, Any]:
    return {
        "content_id": generation.content_id,
        "status": generation.status,
        "generated_at": generation.generated_at,
        "published_to": generation.published_to,
        "results": json.loads(generation.results_json),
        "errors": generation.errors,
        "options": json.loads(generation.options_json),
        "document_digest": generation.document_digest,
        "content_digest": generation.content_digest,
    }
