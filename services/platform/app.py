"""The mock platform's routes."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response

from services.common.answers import errors, utc_now, written
from services.common.app import create_app
from services.common.mock.fields import Limit, Offset
from services.common.mock.simulation import Behaviour, SimulatedFailure, simulated_router
from services.platform import models
from services.platform.analytics import content_analytics, social_analytics
from services.platform.models import PLATFORMS
from services.platform.platform import ContentPlatform, Post, StoredContent
from services.platform.settings import PlatformSettings

DRAFT = "draft"
FAILURES = {
    "error": SimulatedFailure(status=400, detail="Simulated platform error: Content publishing failed"),
    "forbidden": SimulatedFailure(status=403, detail="Simulated platform refusal: Publishing is forbidden"),
    "timeout": SimulatedFailure(status=408, detail="Simulated platform timeout"),
}
_BANNED = "banned"
T = TypeVar("T")
_SITE = "https://platform.example"  # a reserved name: nothing is ever published there


def create(settings: PlatformSettings) -> FastAPI:
    """Return the app of an empty mock platform."""
    behaviour = Behaviour(settings, label="platform", failures=FAILURES, others=(DRAFT,))
    routes = PlatformRoutes(ContentPlatform(), behaviour)
    app = create_app(
        settings,
        service="platform",
        title="Toombos mock platform",
        description="Takes web content and social posts without publishing anything. State lives in memory. "
        + behaviour.description,
        routers=[routes.simulated(), routes.control()],
    )
    app.state.behaviour = behaviour
    return app


class PlatformRoutes:
    def __init__(self, platform: ContentPlatform, behaviour: Behaviour) -> None:
        self._platform = platform
        self._behaviour = behaviour

    def simulated(self) -> APIRouter:
        """Return the platform's own interface, which can fail on request."""
        responses = errors(400, 403, 408, 503)
        router = simulated_router(tags=["platform"], responses=responses)
        router.post("/api/v1/content/publish", response_model=models.ContentPublished, responses=errors(413))(
            self.publish_content
        )
        router.get("/api/v1/content")(self.list_content)
        router.get("/api/v1/content/{content_id}", responses=errors(404))(self.get_content)
        router.put("/api/v1/content/{content_id}", responses=errors(404, 413))(self.update_content)
        router.delete("/api/v1/content/{content_id}", responses=errors(404))(self.delete_content)
        router.post("/api/v1/social/post", responses=errors(413))(self.post_social)
        router.get("/api/v1/social/{post_id}", responses=errors(404))(self.get_social)
        router.get("/api/v1/analytics/content/{content_id}", responses=errors(404))(self.get_content_analytics)
        router.get("/api/v1/analytics/social/{post_id}", responses=errors(404))(self.get_social_analytics)
        router.post("/api/v1/webhooks/content", responses=errors(413))(self.receive_event)
        return router

    def control(self) -> APIRouter:
        """Return the interface for tests and operators, which never fails on request."""
        router = APIRouter(tags=["control"])
        router.get("/api/v1/stats")(self.get_stats)
        router.delete("/api/v1/test-data")(self.clear)
        return router

    async def publish_content(self, request: Request, content: models.PublishContent) -> Response:
        """Publish content. The words error, forbidden, timeout, slow and draft in the title trigger simulations."""
        asked = self._behaviour.named_in(content.title)
        await self._behaviour.simulate(asked)
        as_draft = DRAFT in (asked, request.headers.get("X-Simulate"))
        published = self._platform.publish(content, as_draft=as_draft)
        return written(models.ContentPublished(**self._publication(published)))

    async def list_content(
        self,
        content_type: models.ContentType | None = None,
        status: models.Status | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> models.ContentList:
        """List content without its text, oldest first."""
        page, total = self._platform.contents(content_type=content_type, status=status, offset=offset, limit=limit)
        items = [models.ContentSummary(**self._summary(content)) for content in page]
        return models.ContentList(items=items, total=total, limit=limit, offset=offset)

    async def get_content(self, content_id: str) -> models.Content:
        """Return the current state of content; scheduled content is published when its time comes."""
        return self._content(_known(self._platform.content(content_id), "content", content_id))

    async def update_content(self, content_id: str, change: models.UpdateContent) -> models.Content:
        """Replace the given fields."""
        return self._content(_known(self._platform.update(content_id, change), "content", content_id))

    async def delete_content(self, content_id: str) -> models.ContentDeleted:
        """Delete content; its id becomes unknown."""
        _known(self._platform.delete(content_id), "content", content_id)
        return models.ContentDeleted(content_id=content_id, status="deleted")

    async def post_social(self, post: models.SocialPostRequest) -> models.SocialPosted:
        """Post on a social platform. A text that contains `banned` is refused."""
        platform = next((name for name in PLATFORMS if name == post.platform), None)
        if platform is None:
            raise HTTPException(400, f"Unsupported platform: use one of {', '.join(PLATFORMS)}")
        if _BANNED in post.content.lower():
            raise HTTPException(403, "The post was refused: it contains banned content")
        return models.SocialPosted(**self._posted(self._platform.post(post, platform)))

    async def get_social(self, post_id: str) -> models.SocialPostDetails:
        """Return the current state of a social post."""
        post = _known(self._platform.social_post(post_id), "social post", post_id)
        return models.SocialPostDetails(
            content=post.content,
            media_urls=list(post.media_urls),
            hashtags=list(post.hashtags),
            created_at=post.created_at,
            **self._posted(post),
        )

    async def get_content_analytics(self, content_id: str) -> models.ContentAnalytics:
        """Return the invented audience of content, always the same for the same id."""
        content = _known(self._platform.content(content_id), "content", content_id)
        return content_analytics(content_id, content.publication.status(self._platform.now()))

    async def get_social_analytics(self, post_id: str) -> models.SocialAnalytics:
        """Return the invented audience of a social post, always the same for the same id."""
        post = _known(self._platform.social_post(post_id), "social post", post_id)
        published = post.publication.status(self._platform.now()) == "published"
        return social_analytics(post_id, post.platform, published=published)

    async def receive_event(self, event: models.ContentEvent) -> models.EventReceived:
        """Accept a webhook event; it is counted and has no other effect."""
        webhook_id = self._platform.receive_event()
        return models.EventReceived(webhook_id=webhook_id, event=event.event, received=True, timestamp=utc_now())

    async def get_stats(self) -> models.PlatformStats:
        """Return the counters since the start or the last clearing."""
        return models.PlatformStats(**asdict(self._platform.counters))

    async def clear(self) -> models.PlatformCleared:
        """Delete all test data, counters and idempotency keys."""
        self._behaviour.answers.clear()
        return models.PlatformCleared(**asdict(self._platform.clear()))

    def _publication(self, content: StoredContent) -> dict[str, Any]:
        now = self._platform.now()
        return {
            "content_id": content.content_id,
            "url": f"{_SITE}/content/{content.content_id}",
            "status": content.publication.status(now),
            "published_at": content.publication.published_at(now),
            "scheduled_at": content.publication.scheduled_at,
        }

    def _summary(self, content: StoredContent) -> dict[str, Any]:
        return {
            "title": content.title,
            "content_type": content.content_type,
            "tags": list(content.tags),
            "created_at": content.created_at,
            "updated_at": content.updated_at,
            **self._publication(content),
        }

    def _content(self, content: StoredContent) -> models.Content:
        return models.Content(content=content.content, metadata=content.metadata, **self._summary(content))

    def _posted(self, post: Post) -> dict[str, Any]:
        now: datetime = self._platform.now()
        return {
            "post_id": post.post_id,
            "platform": post.platform,
            "url": f"{_SITE}/{post.platform}/{post.post_id}",
            "status": post.publication.status(now),
            "published_at": post.publication.published_at(now),
            "scheduled_at": post.publication.scheduled_at,
        }


def _known(found: T | None, what: str, key: str) -> T:
    if found is None:
        raise HTTPException(404, f"No {what} has the id {key}")
    return found
