"""The generated content and its options."""

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    PROFESSIONAL = "professional"
    ENCOURAGING = "encouraging"
    MEDICAL_SCIENTIFIC = "medical_scientific"


class TemplateStyle(StrEnum):
    MODERN = "modern"
    MINIMAL = "minimal"
    PLAIN = "plain"


class Channel(StrEnum):
    EMAIL = "email"
    WEB = "web"
    SOCIAL = "social"


class Platform(StrEnum):
    TWITTER = "twitter"
    LINKEDIN = "linkedin"
    FACEBOOK = "facebook"
    INSTAGRAM = "instagram"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentOptions:
    """Everything besides the document that affects the content. Without platforms there are no social posts."""

    email_tone: Tone = Tone.PROFESSIONAL
    web_tone: Tone = Tone.PROFESSIONAL
    social_tone: Tone = Tone.PROFESSIONAL
    style: TemplateStyle = TemplateStyle.MODERN
    platforms: tuple[Platform, ...] = tuple(Platform)
    seo_optimize: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Newsletter:
    """A newsletter. `html` is a full document for mail clients; inboxes show `preview_text` beside the subject."""

    subject: str
    html: str
    text: str
    preview_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebUpdate:
    """A web update. `content` is sanitised HTML to embed in a page; `excerpt` is plain text."""

    title: str
    content: str
    excerpt: str
    slug: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SocialPost:
    """A post. `content` plus its hashtags (each with `#`, separated by blanks) is within the platform's limit."""

    platform: Platform
    content: str
    hashtags: tuple[str, ...]
    media_urls: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedContent:
    newsletter: Newsletter
    web_update: WebUpdate
    social_posts: tuple[SocialPost, ...]
