"""The three tones: the generator's own sentences around the authors' texts.

The authors' words are never rewritten: in health matters a changed word may change a claim. Placeholders: {brand}
the document's title, {lead} the newest item's title, {count} e.g. `3 updates`, {period} dates, {topics} categories.
No sentence may contain a word that makes the mock services simulate a failure; a test checks this.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from services.generator.content.model import Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    subject: str
    preview: str
    greeting: str
    introduction: str
    section_lead: str
    """{category} and {count} of that section."""
    item_note: str
    """{date} of the item."""
    call_to_action: str
    closing: str
    signature: str
    notice: str
    """A legal or medical notice at the end; may be empty."""
    web_title: str
    web_introduction: str
    social_hook: str
    social_list: str
    social_closing: str
    social_hashtags: tuple[str, ...]


VOICES: Mapping[Tone, Voice] = {
    Tone.PROFESSIONAL: Voice(
        subject="{brand}: {lead}",
        preview="{count} on {topics}, {period}.",
        greeting="Hello,",
        introduction="This edition brings you {count} on {topics}, dated {period}.",
        section_lead="{count} in {category}.",
        item_note="Published {date}",
        call_to_action="For questions about any of these updates, reply to this message.",
        closing="Thank you for reading.",
        signature="The {brand} team",
        notice="",
        web_title="{lead}",
        web_introduction="{brand}: {count} on {topics}, dated {period}.",
        social_hook="New from {brand}: {lead}",
        social_list="Also in this edition:",
        social_closing="The full update has the details.",
        social_hashtags=("#ProductUpdate",),
    ),
    Tone.ENCOURAGING: Voice(
        subject="Good news for you: {lead}",
        preview="Take a breath and enjoy {count} on {topics}.",
        greeting="Hello and welcome back!",
        introduction="Every small step counts, and we are glad that you take yours with us."
        " Today we bring you {count} on {topics} to keep you going.",
        section_lead="{count} for you in {category}. Take what feels right today.",
        item_note="Fresh from {date}",
        call_to_action="Try one of these today and tell us how it went: just reply, we love to hear from you!",
        closing="You are doing great. Keep breathing, keep going!",
        signature="Warmly, your {brand} team",
        notice="",
        web_title="Good news: {lead}",
        web_introduction="Take a breath and enjoy {count} on {topics}. You are doing great!",
        social_hook="Good news, everyone! {lead} 🌱",
        social_list="There is even more for you:",
        social_closing="Which one will you try first? Tell us below! 💚",
        social_hashtags=("#SmallSteps", "#YouCanDoIt"),
    ),
    Tone.MEDICAL_SCIENTIFIC: Voice(
        subject="Evidence brief: {lead}",
        preview="{count} on {topics}; reporting period {period}.",
        greeting="Dear colleagues,",
        introduction="This brief summarises {count} on {topics}. Reporting period: {period}."
        " Figures are quoted as reported by the authors of each entry.",
        section_lead="{category}: {count} in the reporting period.",
        item_note="Date of report: {date}",
        call_to_action="Please direct requests for methods and source data to the editors by replying to this message.",
        closing="With kind regards,",
        signature="The editors, {brand}",
        notice="For information only. This communication does not constitute medical advice and does not replace"
        " the judgement of a qualified clinician.",
        web_title="Evidence brief: {lead}",
        web_introduction="{brand} reports {count} on {topics}. Reporting period: {period}.",
        social_hook="Evidence brief: {lead}",
        social_list="Further reports in this period:",
        social_closing="For information only; no substitute for medical advice.",
        social_hashtags=("#EvidenceBased", "#RespiratoryHealth"),
    ),
}
