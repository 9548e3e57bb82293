"""Publish content to the requested channels, concurrently and independently."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from time import perf_counter

from services.generator.content.model import Channel, GeneratedContent, SocialPost
from services.generator.metrics import GeneratorMetrics
from services.generator.publishing.target import PublishError, PublishTarget

logger = logging.getLogger("generator.publisher")


class PublishOutcome(StrEnum):
    """The outcome of a channel. PARTIAL: some of its publications succeeded."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostResult:
    platform: str
    status: PublishOutcome
    message: str
    external_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelResult:
    """The result of a channel. `external_id` is the target's id for the publication (the first of several `posts`)."""

    status: PublishOutcome
    message: str
    external_id: str | None = None
    url: str | None = None
    recipients_count: int | None = None
    posts: tuple[PostResult, ...] = ()


class Publisher:
    def __init__(self, *, crm: PublishTarget, platform: PublishTarget, metrics: GeneratorMetrics) -> None:
        self._crm = crm
        self._platform = platform
        self._metrics = metrics

    async def publish(
        self, content: GeneratedContent, content_id: str, channels: Iterable[Channel]
    ) -> dict[str, ChannelResult]:
        """Publish and return the result of each channel by name. Failures are results, not exceptions."""
        senders: dict[Channel, Callable[[GeneratedContent, str], Awaitable[ChannelResult]]] = {
            Channel.EMAIL: self._send_email,
            Channel.WEB: self._publish_web,
            Channel.SOCIAL: self._publish_social,
        }
        wanted = tuple(channels)
        results = await asyncio.gather(*(self._measured(c, senders[c](content, content_id)) for c in wanted))
        return {channel.value: result for channel, result in zip(wanted, results, strict=True)}

    async def _measured(self, channel: Channel, sending: Awaitable[ChannelResult]) -> ChannelResult:
        started = perf_counter()
        try:
            result = await sending
        except PublishError as error:
            result = ChannelResult(status=PublishOutcome.FAILED, message=str(error))
        self._metrics.publish_duration_s.labels(channel.value).observe(perf_counter() - started)
        self._metrics.published.labels(channel.value, result.status.value).inc()
        level = logging.INFO if result.status is PublishOutcome.SUCCESS else logging.ERROR
        logger.log(level, "publisher: %s %s: %s", channel.value, result.status.value, result.message)
        return result

    async def _send_email(self, content: GeneratedContent, content_id: str) -> ChannelResult:
        newsletter = content.newsletter
        body = {
            "subject": newsletter.subject,
            "html_content": newsletter.html,
            "text_content": newsletter.text,
            "campaign_id": content_id,
            "metadata": {"content_id": content_id, "preview_text": newsletter.preview_text},
        }
        answer = await self._crm.publish("/api/v1/email/send", body, idempotency_key=f"{content_id}:email")
        count = answer.get("recipients_count")
        return ChannelResult(
            status=PublishOutcome.SUCCESS,
            message="Newsletter sent",
            external_id=_text(answer.get("message_id")),
            recipients_count=count if isinstance(count, int) else None,
        )

    async def _publish_web(self, content: GeneratedContent, content_id: str) -> ChannelResult:
        update = content.web_update
        body = {
            "title": update.title,
            "content": update.content,
            "content_type": "web_update",
            "tags": list(update.tags),
            "metadata": {"content_id": content_id, "slug": update.slug, "excerpt": update.excerpt},
        }
        answer = await self._platform.publish("/api/v1/content/publish", body, idempotency_key=f"{content_id}:web")
        return ChannelResult(
            status=PublishOutcome.SUCCESS,
            message=f"Web update {answer.get('status', 'published')}",
            external_id=_text(answer.get("content_id")),
            url=_text(answer.get("url")),
        )

    async def _publish_social(self, content: GeneratedContent, content_id: str) -> ChannelResult:
        posts = await asyncio.gather(*(self._post(post, content_id) for post in content.social_posts))
        failed = [post for post in posts if post.status is PublishOutcome.FAILED]
        sent = len(posts) - len(failed)
        status = PublishOutcome.SUCCESS if not failed else PublishOutcome.PARTIAL if sent else PublishOutcome.FAILED
        reasons = "; ".join(dict.fromkeys(f"{post.platform}: {post.message}" for post in failed))
        return ChannelResult(
            status=status,
            message=f"{sent} of {len(posts)} posts published" + (f" ({reasons})" if failed else ""),
            external_id=next((post.external_id for post in posts if post.external_id), None),
            posts=tuple(posts),
        )

    async def _post(self, post: SocialPost, content_id: str) -> PostResult:
        platform = post.platform.value
        body = {
            "platform": platform,
            "content": post.content,
            "hashtags": list(post.hashtags),
            "media_urls": list(post.media_urls),
        }
        key = f"{content_id}:social:{platform}"
        try:
            answer = await self._platform.publish("/api/v1/social/post", body, idempotency_key=key)
        except PublishError as error:
            return PostResult(platform=platform, status=PublishOutcome.FAILED, message=str(error))
        external_id = _text(answer.get("post_id") or answer.get("id") or answer.get("content_id"))
        return PostResult(
            platform=platform, status=PublishOutcome.SUCCESS, message="Post published", external_id=external_id
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
