"""Authors' Markdown, parsed once and rendered in several ways.

Authors may write raw HTML: it passes through the same allow-list as rendered Markdown, and nothing else survives.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

from services.generator.content.effort import Effort, count_steps
from services.generator.content.plain_text import inline_text, text_of

_TAGS = frozenset(
    [
        "a",
        "abbr",
        "b",
        "blockquote",
        "br",
        "code",
        "del",
        "em",
        "figcaption",
        "figure",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "kbd",
        "li",
        "mark",
        "ol",
        "p",
        "pre",
        "s",
        "small",
        "strong",
        "sub",
        "sup",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
        "u",
        "ul",
    ]
)
_ATTRIBUTES = {
    "*": {"dir"},
    "a": {"href", "title"},
    "abbr": {"title"},
    "img": {"src", "alt", "title", "width", "height"},
    "td": {"align"},
    "th": {"align"},
    "ol": {"start"},
}
_SCHEMES = frozenset({"http", "https", "mailto"})
_WEB = ("https://", "http://")
_DROPPED_WITH_CONTENT = frozenset({"script", "style", "iframe", "object", "embed", "noscript", "template", "title"})


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    return count_steps(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]))


class Body:
    """The text of one item. Parsing dominates the cost of rendering, so everything derives from a single parse."""

    def __init__(self, markdown: str, effort: Effort | None = None) -> None:
        """Parse the text. Raise TooComplexError if the document now takes too many steps."""
        effort = effort or Effort()
        self._tokens = _parser().parse(markdown, effort.parse_env())
        effort.spend(len(self._tokens))
        effort.spend_on_html(self._raw_html)

    def html(self, *, styles: Mapping[str, str] | None = None) -> str:
        """Return sanitised HTML. `styles` maps tag names to inline styles, which are all that mail clients support."""
        return sanitise(self._raw_html, styles=styles)

    @cached_property
    def _raw_html(self) -> str:
        for token in self._tokens:
            if token.type in ("heading_open", "heading_close") and token.tag in ("h1", "h2"):
                token.tag = "h3"  # the page's own headings are h1 and h2
            if token.nesting == 1 and token.level == 0:
                token.attrSet("dir", "auto")  # for blocks of right-to-left text
            _align_by_attribute(token)
            _drop_relative_addresses(token.children or ())
        parser = _parser()
        return str(parser.renderer.render(self._tokens, parser.options, {}))

    @cached_property
    def text(self) -> str:
        """Return plain text: blank lines between paragraphs, list marks, links as `text (address)`, no HTML."""
        return text_of(self._tokens)

    @cached_property
    def opening(self) -> str:
        """Return the first paragraph outside lists, tables and quotations, on one line without link addresses.

        It is empty if there is none.
        """
        for before, token in pairwise(self._tokens):
            if before.type == "paragraph_open" and before.level == 0:
                text = " ".join(inline_text(token.children or (), addresses=False).split())
                if text:
                    return text
        return ""

    @property
    def links(self) -> tuple[str, ...]:
        """Return the web addresses of the links, in text order, each once."""
        return self._addresses("link_open", "href")

    @cached_property
    def images(self) -> tuple[str, ...]:
        """Return the web addresses of the images, in text order, each once."""
        return self._addresses("image", "src")

    def _addresses(self, kind: str, attribute: str) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for block in self._tokens:
            for token in block.children or ():
                address = str(token.attrGet(attribute) or "") if token.type == kind else ""
                if address.startswith(_WEB):
                    found[address] = None
        return tuple(found)


def sanitise(html: str, *, styles: Mapping[str, str] | None = None) -> str:
    """Keep only allow-listed elements, attributes and URL schemes; remove scripts with their content."""
    return nh3.clean(
        html,
        tags=set(_TAGS),
        clean_content_tags=set(_DROPPED_WITH_CONTENT),
        attributes=_ATTRIBUTES,
        url_schemes=set(_SCHEMES),
        url_relative="deny",
        link_rel="noopener noreferrer",
        set_tag_attribute_values={tag: {"style": style} for tag, style in (styles or {}).items()},
    ).strip()


def _drop_relative_addresses(tokens: Sequence[Token]) -> None:
    """Reduce links and images with relative addresses to their text: readers cannot reach those addresses."""
    kept: list[bool] = []
    for token in tokens:
        match token.type:
            case "link_open":
                kept.append(str(token.attrGet("href")).lower().startswith((*_WEB, "mailto:")))
                token.hidden = not kept[-1]
            case "link_close":
                token.hidden = not kept.pop()
            case "image" if not str(token.attrGet("src")).lower().startswith(_WEB):
                token.type, token.content = "text", inline_text(token.children or ())


def _align_by_attribute(token: Token) -> None:
    """Express a column's alignment as an attribute, because style attributes do not survive sanitising."""
    if token.type in ("td_open", "th_open"):
        style = str(token.attrs.pop("style", ""))
        if style:
            token.attrSet("align", style.removeprefix("text-align:"))
        elif token.type == "th_open":
            token.attrSet("align", "left")  # otherwise the header would be centred
