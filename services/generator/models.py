"""The API's requests and responses."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from services.generator.content.model import Channel, ContentOptions, Platform, TemplateStyle, Tone
from services.generator.generation import GenerationRequest
from services.generator.history.model import GenerationStatus
from services.generator.publishing.publisher import ChannelResult


class PerChannelTones(BaseModel):
    """Tones for individual channels; the others use `tone`."""

    model_config = ConfigDict(extra="forbid")

    email: Tone | None = None
    web: Tone | None = None
    social: Tone | None = None


class GenerateRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    send_email: StrictBool = Field(default=True, description="Send the newsletter through the CRM")
    publish_web: StrictBool = Field(default=True, description="Publish the web update on the platform")
    generate_social: StrictBool = Field(default=True, description="Generate social posts, and publish them")
    preview_only: StrictBool = Field(default=False, description="Publish nothing")
    include_preview: StrictBool = Field(default=True, description="Include the content in the response")
    force_refresh: StrictBool = Field(default=False, description="Fetch and render again, ignoring cached copies")
    tone: Tone = Tone.PROFESSIONAL
    per_channel_tones: PerChannelTones | None = None


class PreviewRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    force_refresh: StrictBool = False
    tone: Tone = Tone.PROFESSIONAL


def _split_commas(value: object) -> object:
    """Accept `a,b` as well as `a` and `b` in two parameters."""
    if not isinstance(value, list):
        return value
    return [part.strip() if isinstance(part, str) else part for entry in value for part in str(entry).split(",")]


Platforms = Annotated[
    list[Platform], BeforeValidator(_split_commas), Field(description="Repeated, or as one list with commas")
]


class NewsletterAnswer(BaseModel):
    subject: str
    html: str
    text: str
    preview_text: str


class WebUpdateAnswer(BaseModel):
    title: str
    content: str
    excerpt: str
    slug: str
    tags: list[str]


class SocialPostAnswer(BaseModel):
    platform: Platform
    content: str
    hashtags: list[str]
    media_urls: list[str]


class GenerationAnswer(BaseModel):
    """The result of a generation. Without `include_preview` the content is null and `social_posts` is empty."""

    status: Literal["preview", "success", "partial"]
    content_id: str
    published_to: list[Channel]
    results: dict[Channel, ChannelResult]
    newsletter: NewsletterAnswer | None
    web_update: WebUpdateAnswer | None
    social_posts: list[SocialPostAnswer]
    errors: list[str]
    generated_at: AwareDatetime


class PublishFailedAnswer(BaseModel):
    """No channel accepted the content. Another request publishes a new generation with a new `content_id`."""

    detail: str
    content_id: str | None = None
    errors: list[str] = []
    results: dict[Channel, ChannelResult] = {}


class StoredGeneration(BaseModel):
    """A generation in the history. `pending`: the service ended while publishing, so the results are unknown."""

    content_id: str
    status: GenerationStatus
    generated_at: AwareDatetime
    published_to: list[Channel]
    results: dict[Channel, ChannelResult]
    errors: list[str]
    options: dict[str, Any]
    document_digest: str = Field(description="SHA-256 of the document's text")
    content_digest: str = Field(description="SHA-256 of the content: equal for equal content")


class StoredGenerationWithContent(StoredGeneration):
    newsletter: NewsletterAnswer
    web_update: WebUpdateAnswer
    social_posts: list[SocialPostAnswer]


class GenerationsAnswer(BaseModel):
    """A page of the history, newest first; `total` counts the whole history."""

    generations: list[StoredGeneration]
    total: int
    limit: int
    offset: int


class TemplateAnswer(BaseModel):
    name: TemplateStyle
    description: str


class TemplatesAnswer(BaseModel):
    templates: list[TemplateAnswer]
    tones: list[Tone]
    social_platforms: list[Platform]


class ChannelPreviewAnswer(BaseModel):
    """The content of one channel; the other parts are null."""

    channel: Channel
    newsletter: NewsletterAnswer | None = None
    web_update: WebUpdateAnswer | None = None
    social_posts: list[SocialPostAnswer] | None = None


_NO_TONES = PerChannelTones()
_ALL_PLATFORMS = tuple(Platform)


def generation_request(
    body: GenerateRequest, *, style: TemplateStyle, platforms: list[Platform] | None, seo_optimize: bool
) -> GenerationRequest:
    """Convert the request to the generator's own types."""
    tones = body.per_channel_tones or _NO_TONES
    wanted = _ALL_PLATFORMS if platforms is None else tuple(platform for platform in Platform if platform in platforms)
    options = ContentOptions(
        email_tone=tones.email or body.tone,
        web_tone=tones.web or body.tone,
        social_tone=tones.social or body.tone,
        style=style,
        platforms=wanted if body.generate_social else (),
        seo_optimize=seo_optimize,
    )
    switches = ((Channel.EMAIL, body.send_email), (Channel.WEB, body.publish_web), (Channel.SOCIAL, options.platforms))
    return GenerationRequest(
        options=options,
        channels=tuple(channel for channel, wanted_too in switches if wanted_too),
        preview_only=body.preview_only,
        force_refresh=body.force_refresh,
    )
