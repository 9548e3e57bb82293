"""The mock platform's invented audience, derived from the id: the same content always has the same figures."""

from services.common.mock.figures import between, draws
from services.platform import models
from services.platform.models import Platform, Status


def content_analytics(content_id: str, status: Status) -> models.ContentAnalytics:
    """Zeros unless published."""
    audience, uniques, sharing, commenting, time, bouncing, *_ = draws(content_id)
    views = int(between(audience, 200, 5000)) if status == "published" else 0
    seen = 1.0 if views else 0.0
    return models.ContentAnalytics(
        content_id=content_id,
        status=status,
        views=views,
        unique_visitors=round(views * between(uniques, 0.6, 0.9)),
        shares=round(views * between(sharing, 0.01, 0.06)),
        comments=round(views * between(commenting, 0.001, 0.02)),
        average_time_on_page_s=round(seen * between(time, 30, 240), 1),
        bounce_rate=round(seen * between(bouncing, 0.2, 0.6), 3),
    )


def social_analytics(post_id: str, platform: Platform, *, published: bool) -> models.SocialAnalytics:
    """Zeros unless published."""
    audience, liking, sharing, commenting, clicking, *_ = draws(post_id)
    impressions = int(between(audience, 300, 8000)) if published else 0
    likes, shares = (
        round(impressions * between(draw, low, high))
        for draw, low, high in ((liking, 0.01, 0.08), (sharing, 0.002, 0.02))
    )
    comments, clicks = (
        round(impressions * between(draw, low, high))
        for draw, low, high in ((commenting, 0.001, 0.01), (clicking, 0.005, 0.04))
    )
    engaged = likes + shares + comments + clicks
    return models.SocialAnalytics(
        post_id=post_id,
        platform=platform,
        status="published" if published else "scheduled",
        impressions=impressions,
        likes=likes,
        shares=shares,
        comments=comments,
        clicks=clicks,
        engagement_rate=round(engaged / impressions, 4) if impressions else 0.0,
    )
