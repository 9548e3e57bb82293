"""The mock platform's memory is bounded, its counters are not; scheduled content is published when it is due."""

from datetime import UTC, datetime, timedelta

from services.platform.models import PublishContent
from services.platform.platform import ContentPlatform

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)


def test_memory_for_content_is_bounded_while_counters_stay_exact() -> None:
    platform = ContentPlatform()
    ids = [platform.publish(PublishContent(title="t", content="x" * 100_000)).content_id for _ in range(300)]
    kept = [content_id for content_id in ids if platform.content(content_id)]
    assert kept == ids[-len(kept) :], "the oldest was not deleted first"
    assert len(kept) * 100_000 <= 16 * 1024 * 1024 < (len(kept) + 2) * 100_000
    assert platform.counters.content_published == 300


def test_metadata_counts_towards_the_size() -> None:
    platform = ContentPlatform()
    metadata = {"n": "x" * 1_000_000}
    ids = [platform.publish(PublishContent(title="t", content="c", metadata=metadata)).content_id for _ in range(20)]
    assert sum(platform.content(content_id) is not None for content_id in ids) == 16


def test_scheduled_content_is_published_when_it_is_due() -> None:
    moment = NOW
    platform = ContentPlatform(now=lambda: moment)
    due = NOW + timedelta(hours=1)
    request = PublishContent.model_validate({"title": "t", "content": "c", "scheduled_at": due.isoformat()})
    content_id = platform.publish(request).content_id

    def listed_as_published() -> int:
        return platform.contents(content_type=None, status="published", offset=0, limit=10)[1]

    assert listed_as_published() == 0
    moment = due
    assert listed_as_published() == 1
    content = platform.content(content_id)
    assert content is not None
    assert content.publication.published_at(moment) == due
