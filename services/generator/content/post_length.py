"""How X (Twitter) counts a post's length: weights by script, 23 for each link, 2 for each emoji.

A domain without https:// becomes a link too if its top-level domain exists. That list changes, so anything that looks
like a domain counts as the longer of both.

Source: https://docs.x.com/resources/fundamentals/counting-characters (configuration v3).
"""

import re
import unicodedata

_LINK_WEIGHT = 23
SURELY_TOO_LONG_CHARS = 4_000
"""Only a link or a row of joined emoji of this length could fit, and no real one has it. It also bounds the time."""
_LIGHT = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))
"""Ranges of code points with weight 1; all others have weight 2."""

_LINK = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)\]]", re.IGNORECASE)
_DOMAIN = re.compile(r"(?<![\w@.-])(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}(?![\w@-])(?:/[^\s<>\"']*)?", re.IGNORECASE)
_PICTOGRAPH = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u27bf"
    "\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_ONE = f"{_PICTOGRAPH}\ufe0f?[\U0001f3fb-\U0001f3ff]?"
_EMOJI = re.compile(
    "[\U0001f1e6-\U0001f1ff]{2}"  # a flag
    "|[0-9#*]\ufe0f?\u20e3"  # a keycap
    f"|\U0001f3f4[\U000e0061-\U000e007a]+\U000e007f"  # a flag of a region
    f"|{_ONE}(?:\u200d{_ONE})*"  # one, or several joined into one
)


def post_weight(text: str) -> int:
    """Return the length that counts towards the limit of 280, or the number of characters of a very long text."""
    if len(text) > SURELY_TOO_LONG_CHARS:
        return len(text)
    text = unicodedata.normalize("NFC", text)
    text, link_count = _LINK.subn("", text)
    text = _DOMAIN.sub(lambda domain: domain[0].ljust(_LINK_WEIGHT), text)
    text, emoji_count = _EMOJI.subn("", text)
    return _LINK_WEIGHT * link_count + 2 * emoji_count + sum(1 if _is_light(ord(c)) else 2 for c in text)


def _is_light(code: int) -> bool:
    return any(first <= code <= last for first, last in _LIGHT)
