"""Convert styled runs of text from Google Docs and Notion to Markdown."""

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
    """Return one run as Markdown. Blanks at its ends stay outside the marks, as Markdown requires.

    The text is not escaped: authors also write Markdown in these editors.
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
