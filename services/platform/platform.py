"""The state and operations of the mock platform, without HTTP.

Memory is bounded: only the newest 10,000 contents (at most 16 MiB of text) and 10,000 posts can be looked up.
Counters stay exact.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from secrets import token_hex

from pydantic_core import from_json, to_json

from services.common.mock.fields import Metadata
from services.common.mock.records import Records
from services.platform.models import ContentType, Platform, PublishContent, SocialPostRequest, Status, UpdateContent

_MAX_RECORDS, _MAX_BYTES = 10_000, 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """When something is public: from `due_at` on, and scheduled until then; never if it is a draft (`due_at` None)."""

    due_at: datetime | None
    scheduled: bool

    def status(self, now: datetime) -> Status:
        if self.due_at is None:
            return "draft"
        return "published" if self.due_at <= now else "scheduled"

    def published_at(self, now: datetime) -> datetime | None:
        return self.due_at if self.status(now) == "published" else None

    @property
    def scheduled_at(self) -> datetime | None:
        return self.due_at if self.scheduled else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredContent:
    content_id: str
    title: str
    content: str
    content_type: ContentType
    tags: tuple[str, ...]
    metadata_json: bytes  # nested Python objects would take many times the memory, uncounted
    publication: Publication
    created_at: datetime
    updated_at: datetime

    @property
    def metadata(self) -> Metadata:
        parsed: Metadata = from_json(self.metadata_json)
        return parsed

    @property
    def size_bytes(self) -> int:
        return len(self.title) + len(self.content) + len(self.metadata_json) + sum(map(len, self.tags))


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    post_id: str
    platform: Platform
    content: str
    media_urls: tuple[str, ...]
    hashtags: tuple[str, ...]
    publication: Publication
    created_at: datetime

    @property
    def size_bytes(self) -> int:
        return len(self.content) + sum(map(len, self.media_urls)) + sum(map(len, self.hashtags))


@dataclass(slots=True, kw_only=True)
class PlatformCounters:
    content_published: int = 0
    content_scheduled: int = 0
    content_drafts: int = 0
    content_by_type: dict[ContentType, int] = field(default_factory=dict)
    social_posts: int = 0
    webhooks_received: int = 0


class ContentPlatform:
    """The mock platform's state. It is lost when the process ends, as the operators' guide says."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.now = now
        self._contents: Records[str, StoredContent] = Records(max_records=_MAX_RECORDS, max_bytes=_MAX_BYTES)
        self._posts: Records[str, Post] = Records(max_records=_MAX_RECORDS, max_bytes=_MAX_BYTES // 4)
        self.counters = PlatformCounters()

    def publish(self, request: PublishContent, *, as_draft: bool = False) -> StoredContent:
        """Publish now or at `scheduled_at`, or keep as a draft (if requested, or if neither applies)."""
        now = self.now()
        content = StoredContent(
            content_id=f"cnt_{token_hex(12)}",
            title=request.title,
            content=request.content,
            content_type=request.content_type,
            tags=tuple(request.tags or ()),
            metadata_json=_metadata_json(request.metadata),
            publication=_publication(
                now, at=request.scheduled_at, immediately=request.publish_immediately, as_draft=as_draft
            ),
            created_at=now,
            updated_at=now,
        )
        self._contents.put(content.content_id, content, size_bytes=content.size_bytes)
        self._count(content)
        return content

    def content(self, content_id: str) -> StoredContent | None:
        return self._contents.get(content_id)

    def update(self, content_id: str, change: UpdateContent) -> StoredContent | None:
        """Apply a change and return the content, or None if there is none. Published content stays published."""
        old = self._contents.get(content_id)
        if old is None:
            return None
        now = self.now()
        was = old.publication.status(now)
        publication = old.publication
        if was != "published" and (change.publish_immediately or change.scheduled_at):
            publication = _publication(now, at=change.scheduled_at, immediately=True)
        content = replace(
            old,
            title=change.title or old.title,
            content=change.content or old.content,
            content_type=change.content_type or old.content_type,
            tags=old.tags if change.tags is None else tuple(change.tags),
            metadata_json=old.metadata_json if change.metadata is None else _metadata_json(change.metadata),
            publication=publication,
            updated_at=now,
        )
        self._contents.put(content_id, content, size_bytes=content.size_bytes)
        if publication is not old.publication:
            self._count(content)
        return content

    def delete(self, content_id: str) -> StoredContent | None:
        """Delete and return the content, or return None if there is none."""
        return self._contents.remove(content_id)

    def contents(
        self, *, content_type: ContentType | None, status: Status | None, offset: int, limit: int
    ) -> tuple[tuple[StoredContent, ...], int]:
        """Return one page, oldest first, and the total number of matches."""
        now = self.now()

        def matches(content: StoredContent) -> bool:
            return content_type in (None, content.content_type) and status in (None, content.publication.status(now))

        return self._contents.page(offset=offset, limit=limit, where=matches)

    def post(self, request: SocialPostRequest, platform: Platform) -> Post:
        """Post now or at `scheduled_at`."""
        now = self.now()
        post = Post(
            post_id=f"soc_{token_hex(12)}",
            platform=platform,
            content=request.content,
            media_urls=tuple(request.media_urls or ()),
            hashtags=tuple(request.hashtags or ()),
            publication=_publication(now, at=request.scheduled_at, immediately=True),
            created_at=now,
        )
        self._posts.put(post.post_id, post, size_bytes=post.size_bytes)
        self.counters.social_posts += 1
        return post

    def social_post(self, post_id: str) -> Post | None:
        return self._posts.get(post_id)

    def receive_event(self) -> str:
        """Count a webhook event and return its id."""
        self.counters.webhooks_received += 1
        return f"whk_{token_hex(12)}"

    def clear(self) -> PlatformCounters:
        """Delete everything and return the previous counters."""
        cleared, self.counters = self.counters, PlatformCounters()
        self._contents.clear()
        self._posts.clear()
        return cleared

    def _count(self, content: StoredContent) -> None:
        match content.publication.status(content.updated_at):
            case "published":
                self.counters.content_published += 1
                by_type = self.counters.content_by_type
                by_type[content.content_type] = by_type.get(content.content_type, 0) + 1
            case "scheduled":
                self.counters.content_scheduled += 1
            case "draft":
                self.counters.content_drafts += 1


def _publication(now: datetime, *, at: datetime | None, immediately: bool, as_draft: bool = False) -> Publication:
    if as_draft or (at is None and not immediately):
        return Publication(due_at=None, scheduled=False)
    return Publication(due_at=at or now, scheduled=at is not None)


def _metadata_json(metadata: Metadata | None) -> bytes:
    return to_json(metadata or {}, inf_nan_mode="null")
