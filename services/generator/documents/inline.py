"""Styled runs of text, as Google Docs and Notion deliver them, to Markdown."""

_ESCAPED_IN_URL = str.maketrans({"(": "%28", ")": "%29", " ": "%20", "<": "%3C", ">": "%3E"})


def styled(
    text: str,
    *,
    bold: bool = False,
    italic: bool = False,
    strikethrough: bool = False,
    code: bool = False,
    href: str | None = None,
) -> str:
    """One run in Markdown. Blanks at its ends stay outside the marks, where Markdown wants them.

    The text itself is not escaped: authors of living documents write Markdown in these editors, too.
    """
    core = text.strip()
    if not core:
        return text
    lead, trail = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    if code:
        core = f"`{core}`"
    for wanted, mark in ((strikethrough, "~~"), (italic, "*"), (bold, "**")):
        if wanted:
            core = f"{mark}{core}{mark}"
    if href:
        core = f"[{core}]({href.translate(_ESCAPED_IN_URL)})"
    return f"{lead}{core}{trail}"
