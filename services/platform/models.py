"""The mock platform's requests and responses."""

from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, Field

from services.common.mock.fields import Instant, Metadata, MockRequest

ContentType = Literal["web_update", "blog_post", "newsletter", "social_post"]
Status = Literal["published", "scheduled", "draft"]
Platform = Literal["twitter", "linkedin", "facebook", "instagram"]
PLATFORMS: tuple[Platform, ...] = get_args(Platform)
Title = Annotated[str, Field(min_length=1, max_length=500)]
Tag = Annotated[str, Field(min_length=1, max_length=100)]
Tags = Annotated[list[Tag], Field(max_length=100)]
Link = Annotated[str, Field(min_length=1, max_length=2000)]


class PublishContent(MockRequest):
    title: Title
    content: str = Field(min_length=1)
    content_type: ContentType = "web_update"
    metadata: Metadata | None = None
    tags: Tags | None = None
    publish_immediately: bool = Field(default=True, description="false without scheduled_at: a draft")
    scheduled_at: Instant | None = Field(default=None, description="when to publish; at once if this is in the past")


class UpdateContent(MockRequest):
    """The fields to replace. `publish_immediately: true` publishes, `scheduled_at` (re)schedules."""

    title: Title | None = None
    content: Annotated[str, Field(min_length=1)] | None = None
    content_type: ContentType | None = None
    metadata: Metadata | None = None
    tags: Tags | None = None
    publish_immediately: bool | None = None
    scheduled_at: Instant | None = None


class ContentPublished(BaseModel):
    content_id: str
    url: str
    status: Status
    published_at: AwareDatetime | None
    scheduled_at: AwareDatetime | None


class ContentSummary(ContentPublished):
    title: str
    content_type: ContentType
    tags: list[str]
    created_at: AwareDatetime
    updated_at: AwareDatetime


class Content(ContentSummary):
    content: str
    metadata: Metadata


class ContentList(BaseModel):
    items: list[ContentSummary]
    total: int
    limit: int
    offset: int


class ContentDeleted(BaseModel):
    content_id: str
    status: Literal["deleted"]


class SocialPostRequest(MockRequest):
    platform: str = Field(json_schema_extra={"enum": list(PLATFORMS)})
    content: str = Field(min_length=1)
    media_urls: Annotated[list[Link], Field(max_length=20)] | None = None
    hashtags: Tags | None = None
    scheduled_at: Instant | None = None


class SocialPosted(BaseModel):
    post_id: str
    platform: Platform
    url: str
    status: Literal["published", "scheduled"]
    published_at: AwareDatetime | None
    scheduled_at: AwareDatetime | None


class SocialPostDetails(SocialPosted):
    content: str
    media_urls: list[str]
    hashtags: list[str]
    created_at: AwareDatetime


class ContentAnalytics(BaseModel):
    """Invented from the id; zeros until the content is published. Times in seconds, rates as shares (0 to 1)."""

    content_id: str
    status: Status
    views: int
    unique_visitors: int
    shares: int
    comments: int
    average_time_on_page_s: float
    bounce_rate: float


class SocialAnalytics(BaseModel):
    """Invented from the id; zeros until the post is published. The rate is a share (0 to 1) of the impressions."""

    post_id: str
    platform: Platform
    status: Literal["published", "scheduled"]
    impressions: int
    likes: int
    shares: int
    comments: int
    clicks: int
    engagement_rate: float


class ContentEvent(MockRequest):
    event: str = Field(min_length=1, max_length=100)
    content_id: str | None = Field(default=None, max_length=200)
    data: Metadata | None = None


class EventReceived(BaseModel):
    webhook_id: str
    event: str
    received: Literal[True]
    timestamp: AwareDatetime


class PlatformStats(BaseModel):
    """Counters since the start or the last clearing. They stay exact when old records are dropped.

    Content counts by its status when it was accepted, and again if an update publishes or schedules it.
    Content that is due later stays counted as scheduled.
    """

    content_published: int
    content_scheduled: int
    content_drafts: int
    content_by_type: dict[ContentType, int] = Field(description="of the published content")
    social_posts: int
    webhooks_received: int


class PlatformCleared(PlatformStats):
    """The counters before the clearing."""

    status: Literal["cleared"] = "cleared"
