"""Render one post for each social platform, within the platform's limits."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile

from services.generator.content.edition import Edition, keywords
from services.generator.content.model import Platform, SocialPost
from services.generator.content.post_length import SURELY_TOO_LONG_CHARS, post_weight
from services.generator.content.tones import Voice
from services.generator.content.wording import hashtag, sentence_ends, shorten


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformLimits:
    """The limits of a platform. `max_chars` is measured by `measure`; `hashtags` and `media` are maximum counts."""

    max_chars: int
    hashtags: int
    media: int
    listed_items: int
    """Number of further items in a post: on some platforms people read little."""
    measure: Callable[[str], int] = len


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 units, as LinkedIn, Facebook and Instagram count: an emoji takes two or more."""
    return len(text.encode("utf-16-le")) // 2


LIMITS: Mapping[Platform, PlatformLimits] = {
    Platform.TWITTER: PlatformLimits(max_chars=280, hashtags=3, media=4, listed_items=0, measure=post_weight),
    Platform.LINKEDIN: PlatformLimits(max_chars=3000, hashtags=5, media=9, listed_items=8, measure=utf16_length),
    Platform.FACEBOOK: PlatformLimits(max_chars=63_206, hashtags=3, media=10, listed_items=5, measure=utf16_length),
    Platform.INSTAGRAM: PlatformLimits(max_chars=2200, hashtags=30, media=10, listed_items=5, measure=utf16_length),
}

_KEYWORDS_FROM_HASHTAGS = 10
_KEYWORD_HASHTAGS = 8
"""Keywords become hashtags only on platforms where many hashtags are usual."""


def render_posts(edition: Edition, voice: Voice, platforms: Iterable[Platform]) -> tuple[SocialPost, ...]:
    """Return a post for each platform, in the order of `Platform`."""
    wanted = frozenset(platforms)
    return tuple(_post(edition, voice, platform) for platform in Platform if platform in wanted)


def _post(edition: Edition, voice: Voice, platform: Platform) -> SocialPost:
    limits = LIMITS[platform]
    hashtags = _hashtags(edition, voice, limits)
    tail = f"\n\n{' '.join(hashtags)}" if hashtags else ""
    content = _fit(_whole_post(edition, voice, limits), lambda text: limits.measure(text + tail), limits.max_chars)
    media = dict.fromkeys(address for item in edition.newest for address in edition.bodies[item].images)
    return SocialPost(platform=platform, content=content, hashtags=hashtags, media_urls=tuple(media)[: limits.media])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Post:
    """A post's paragraphs in order. The closing may be a medical notice, so its space is reserved first."""

    hook: str
    opening: str
    others: str
    closing: str
    link: str

    def text(self) -> str:
        return "\n\n".join(filter(None, (self.hook, self.opening, self.others, self.closing, self.link)))


def _whole_post(edition: Edition, voice: Voice, limits: PlatformLimits) -> _Post:
    """Return the full post, whatever its length."""
    lead = edition.bodies[edition.lead]
    others = edition.newest[1 : 1 + limits.listed_items]
    return _Post(
        hook=voice.social_hook.format_map(edition.facts),
        opening=lead.opening,
        others="\n".join((voice.social_list, *(f"• {item.title}" for item in others))) if others else "",
        closing=voice.social_closing,
        link=next(iter(lead.links), ""),
    )


def _fit(post: _Post, measure: Callable[[str], int], limit: int) -> str:
    """Fit the post to its limit: cut the hook if necessary, the opening after a sentence, and omit other parts."""
    fitted = _Post(hook=_cut(post.hook, measure, limit), opening="", others="", closing="", link="")

    def fits(**part: str) -> bool:
        return measure(replace(fitted, **part).text()) <= limit

    def add(**part: str) -> None:
        nonlocal fitted
        fitted = replace(fitted, **part) if fits(**part) else fitted

    add(closing=post.closing)
    add(link=post.link)
    ends = list(takewhile(lambda end: end <= _longest(limit), sentence_ends(post.opening)))
    fitting = bisect_left(ends, True, key=lambda end: not fits(opening=post.opening[:end]))
    if fitting:
        add(opening=post.opening[: ends[fitting - 1]])
    add(others=post.others)
    return fitted.text()


def _longest(limit: int) -> int:
    """Return the number of characters above which no text fits, however its platform counts."""
    return max(limit, SURELY_TOO_LONG_CHARS)


def _cut(text: str, measure: Callable[[str], int], limit: int) -> str:
    """Return the longest shortened form of `text` that fits."""
    low, high = 1, min(len(text), _longest(limit))
    if measure(text) <= limit:
        return text
    while low < high:
        middle = (low + high + 1) // 2
        if measure(shorten(text, middle)) <= limit:
            low = middle
        else:
            high = middle - 1
    return shorten(text, low)


def _hashtags(edition: Edition, voice: Voice, limits: PlatformLimits) -> tuple[str, ...]:
    """Return the hashtags: the lead's category, the tone's, the other categories, then keywords."""
    lead_section = next(s for s in edition.document.sections if edition.lead in s.items)
    categories = dict.fromkeys([lead_section.category, *(s.category for s in edition.document.sections if s.items)])
    tags = [hashtag(category) for category in categories]
    tags = [*tags[:1], *voice.social_hashtags, *tags[1:]]
    if limits.hashtags >= _KEYWORDS_FROM_HASHTAGS:
        tags += [hashtag(word) for word in keywords(edition, _KEYWORD_HASHTAGS)]
    unique = {tag.lower(): tag for tag in reversed(tags) if tag and len(tag) <= 50}
    return tuple(reversed(unique.values()))[: limits.hashtags]
