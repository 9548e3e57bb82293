"""The web update: one page of sanitised HTML with title, excerpt, slug and tags."""

from html import escape

from services.generator.content.edition import Edition, keywords
from services.generator.content.markdown import Body
from services.generator.content.model import TemplateStyle, WebUpdate
from services.generator.content.tones import Voice
from services.generator.content.wording import counted, long_date, shorten, slugify
from services.generator.documents.model import Item, Section

SEO_TITLE_MAX_CHARS = 60
SEO_EXCERPT_MAX_CHARS = 155
"""The length of titles and descriptions that search engines show."""
TITLE_MAX_CHARS = 200
EXCERPT_MAX_CHARS = 300
SLUG_MAX_CHARS = 80
_SEO_KEYWORDS = 6


def render_web_update(edition: Edition, voice: Voice, style: TemplateStyle, *, seo_optimize: bool) -> WebUpdate:
    """Return the web update.

    `seo_optimize` limits title and excerpt to what search engines show, links sections, and adds keywords as tags.
    """
    title = voice.web_title.format_map(edition.facts)
    return WebUpdate(
        title=shorten(title, SEO_TITLE_MAX_CHARS if seo_optimize else TITLE_MAX_CHARS),
        content=_html(edition, voice, style, linked=seo_optimize),
        excerpt=_excerpt(edition, voice, SEO_EXCERPT_MAX_CHARS if seo_optimize else EXCERPT_MAX_CHARS),
        slug=_slug(edition),
        tags=_tags(edition, seo_optimize=seo_optimize),
    )


def _slug(edition: Edition) -> str:
    """Return the lead's title and date; if the title has no Latin letters, the document's digest replaces it."""
    day = edition.lead.date.isoformat()
    words = slugify(edition.lead.title, SLUG_MAX_CHARS - len(day) - 1)
    return f"{words or 'update-' + edition.document.digest[:8]}-{day}"


def _excerpt(edition: Edition, voice: Voice, limit: int) -> str:
    """Return the lead's opening, followed by the tone's introduction if it is short."""
    lead = edition.bodies[edition.lead].opening
    introduction = voice.web_introduction.format_map(edition.facts)
    return shorten(lead if len(lead) > limit // 2 else f"{lead} {introduction}", limit)


def _tags(edition: Edition, *, seo_optimize: bool) -> tuple[str, ...]:
    categories = [section.category for section in edition.document.sections if section.items]
    tags = [slugify(category, 40) or category.lower() for category in categories]
    if seo_optimize:
        tags += keywords(edition, _SEO_KEYWORDS)
    return tuple(dict.fromkeys(tags))


def _html(edition: Edition, voice: Voice, style: TemplateStyle, *, linked: bool) -> str:
    sections = [section for section in edition.document.sections if section.items]
    parts = [_paragraph(voice.web_introduction.format_map(edition.facts), "lead")]
    if linked and len(sections) > 1 and style is not TemplateStyle.PLAIN:
        parts.append(_contents(sections))
    for number, section in enumerate(sections, start=1):
        parts += _section_html(edition, section, voice, style, number if linked else None)
    parts.append(_paragraph(voice.closing, "closing"))
    if voice.notice:
        parts.append(_paragraph(voice.notice, "notice"))
    return "\n".join(parts)


def _section_html(
    edition: Edition, section: Section, voice: Voice, style: TemplateStyle, number: int | None
) -> list[str]:
    anchor = "" if number is None else f' id="{_anchor(section, number)}"'
    count = counted(len(section.items), "update")
    lead = _paragraph(voice.section_lead.format(category=section.category, count=count), "section-lead")
    heading = f'<h2{anchor} dir="auto">{escape(section.title)}</h2>'
    items = [_item_html(item, edition.bodies[item], voice, style) for item in section.items]
    if style is TemplateStyle.PLAIN:
        return [heading, *items]
    return [f'<section data-category="{escape(section.category)}">', heading, lead, *items, "</section>"]


def _item_html(item: Item, body: Body, voice: Voice, style: TemplateStyle) -> str:
    note = voice.item_note.format(date=f'<time datetime="{item.date.isoformat()}">{long_date(item.date)}</time>')
    html = f'<h3 dir="auto">{escape(item.title)}</h3>\n<p>{note}</p>\n{body.html()}'
    return f'<article class="card">\n{html}\n</article>' if style is TemplateStyle.MODERN else html


def _contents(sections: list[Section]) -> str:
    entries = "".join(
        f'<li><a href="#{_anchor(section, number)}">{escape(section.title)}</a></li>'
        for number, section in enumerate(sections, start=1)
    )
    return f'<nav aria-label="Contents"><ul>{entries}</ul></nav>'


def _anchor(section: Section, number: int) -> str:
    return slugify(section.title, 40) + f"-{number}" if slugify(section.title, 40) else f"section-{number}"


def _paragraph(text: str, kind: str) -> str:
    return f'<p class="{kind}">{escape(text)}</p>'
