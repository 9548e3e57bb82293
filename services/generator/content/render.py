"""Render the content of a document."""

from services.generator.content.edition import make_edition
from services.generator.content.model import ContentOptions, GeneratedContent
from services.generator.content.newsletter import render_newsletter
from services.generator.content.social import render_posts
from services.generator.content.tones import VOICES
from services.generator.content.web_update import render_web_update
from services.generator.documents.model import Document


def render_content(document: Document, options: ContentOptions) -> GeneratedContent:
    """Return newsletter, web update and posts, which depend only on the arguments, not on time or earlier calls."""
    edition = make_edition(document)
    return GeneratedContent(
        newsletter=render_newsletter(edition, VOICES[options.email_tone], options.style),
        web_update=render_web_update(
            edition, VOICES[options.web_tone], options.style, seo_optimize=options.seo_optimize
        ),
        social_posts=render_posts(edition, VOICES[options.social_tone], options.platforms),
    )
