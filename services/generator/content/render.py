"""The whole content of one edition."""

from services.generator.content.edition import make_edition
from services.generator.content.model import ContentOptions, GeneratedContent
from services.generator.content.newsletter import render_newsletter
from services.generator.content.social import render_posts
from services.generator.content.tones import VOICES
from services.generator.content.web_update import render_web_update
from services.generator.documents.model import Document


def render_content(document: Document, options: ContentOptions) -> GeneratedContent:
    """Newsletter, web update and posts. Depends on the arguments alone: neither on the time nor on earlier calls."""
    edition = make_edition(document)
    return GeneratedContent(
        newsletter=render_newsletter(edition, VOICES[options.email_tone], options.style),
        web_update=render_web_update(
            edition, VOICES[options.web_tone], options.style, seo_optimize=options.seo_optimize
        ),
        social_posts=render_posts(edition, VOICES[options.social_tone], options.platforms),
    )
