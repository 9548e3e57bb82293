"""The newsletter: HTML for mail clients, the same as plain text, subject and preview text."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.generator.content.edition import Edition
from services.generator.content.markdown import Body
from services.generator.content.model import Newsletter, TemplateStyle
from services.generator.content.themes import THEMES
from services.generator.content.tones import Voice
from services.generator.content.wording import counted, long_date, shorten
from services.generator.documents.model import Item, Section

SUBJECT_MAX_CHARS = 78
"""RFC 5322 recommends at most 78 characters per line; inboxes show even fewer."""
PREVIEW_MAX_CHARS = 110
_TEMPLATES = Path(__file__).with_name("templates")


def render_newsletter(edition: Edition, voice: Voice, style: TemplateStyle) -> Newsletter:
    theme = THEMES[style]
    words = _words(edition, voice)
    sections = [
        {
            "category": section.category,
            "title": section.title,
            "lead": _section_lead(section, voice),
            "items": [_item(item, edition.bodies[item], voice, theme.body_styles) for item in section.items],
        }
        for section in edition.document.sections
        if section.items
    ]
    html = (
        _environment()
        .get_template(f"newsletter_{style.value}.html.j2")
        .render(brand=edition.document.title, theme=theme, words=words, sections=sections)
    )
    return Newsletter(
        subject=words["subject"], html=html, text=_text(edition, voice, words), preview_text=words["preview"]
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """Return the template environment. It escapes all values; only sanitised bodies are marked safe."""
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _words(edition: Edition, voice: Voice) -> dict[str, str]:
    facts = edition.facts
    return {
        "subject": shorten(voice.subject.format_map(facts), SUBJECT_MAX_CHARS),
        "preview": shorten(voice.preview.format_map(facts), PREVIEW_MAX_CHARS),
        "greeting": voice.greeting,
        "introduction": voice.introduction.format_map(facts),
        "period": facts["period"],
        "call_to_action": voice.call_to_action,
        "closing": voice.closing,
        "signature": voice.signature.format_map(facts),
        "notice": voice.notice,
    }


def _section_lead(section: Section, voice: Voice) -> str:
    return voice.section_lead.format(category=section.category, count=counted(len(section.items), "update"))


def _item(item: Item, body: Body, voice: Voice, styles: dict[str, str]) -> dict[str, Any]:
    return {
        "title": item.title,
        "note": voice.item_note.format(date=long_date(item.date)),
        "body": body.html(styles=styles),
    }


def _text(edition: Edition, voice: Voice, words: dict[str, str]) -> str:
    blocks = [edition.document.title.upper(), words["greeting"], words["introduction"]]
    for section in edition.document.sections:
        if section.items:
            heading = f"[{section.category}] {section.title}"
            blocks.append(f"{heading}\n{'=' * len(heading)}\n{_section_lead(section, voice)}")
            blocks += [_text_item(item, edition.bodies[item], voice) for item in section.items]
    blocks += [words["call_to_action"], f"{words['closing']}\n{words['signature']}"]
    blocks += [f"--\n{words['notice']}"] if words["notice"] else []
    return "\n\n".join(blocks) + "\n"


def _text_item(item: Item, body: Body, voice: Voice) -> str:
    note = voice.item_note.format(date=long_date(item.date))
    return f"{item.title}\n{'-' * min(len(item.title), 72)}\n{note}\n\n{body.text}"
