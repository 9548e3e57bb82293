"""Authors' Markdown, parsed once and read in several ways.

Authors may write raw HTML: it passes through the same allow-list as what Markdown becomes, and nothing else survives.
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
    """One author's text. Parsing costs most of a rendering, so all that is told of the text comes from one parse."""

    def __init__(self, markdown: str, effort: Effort | None = None) -> None:
        """Raises TooComplexError, when its steps and those of the document's other texts are too many."""
        effort = effort or Effort()
        self._tokens = _parser().parse(markdown, effort.parse_env())
        effort.spend(len(self._tokens))
        effort.spend_on_html(self._raw_html)

    def html(self, *, styles: Mapping[str, str] | None = None) -> str:
        """Sanitised HTML. `styles` gives elements an inline style by tag name, for mail clients that know no other."""
        return sanitise(self._raw_html, styles=styles)

    @cached_property
    def _raw_html(self) -> str:
        for token in self._tokens:
            if token.type in ("heading_open", "heading_close") and token.tag in ("h1", "h2"):
                token.tag = "h3"  # the page's own headings are h1 and h2
            if token.nesting == 1 and token.level == 0:
                token.attrSet("dir", "auto")  # from right to left where the block's text is
            _align_by_attribute(token)
            _drop_relative_addresses(token.children or ())
        parser = _parser()
        return str(parser.renderer.render(self._tokens, parser.options, {}))

    @cached_property
    def text(self) -> str:
        """Plain text: paragraphs apart by blank lines, list marks, links as `text (address)`; no HTML."""
        return text_of(self._tokens)

    @cached_property
    def opening(self) -> str:
        """The first paragraph that stands in no list, table or quotation, on one line without link addresses.

        Empty when there is none.
        """
        for before, token in pairwise(self._tokens):
            if before.type == "paragraph_open" and before.level == 0:
                text = " ".join(inline_text(token.children or (), addresses=False).split())
                if text:
                    return text
        return ""

    @property
    def links(self) -> tuple[str, ...]:
        """Web addresses that the text links to, in its order, each once."""
        return self._addresses("link_open", "href")

    @cached_property
    def images(self) -> tuple[str, ...]:
        """Web addresses of the images, in the text's order, each once."""
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
    """Only allow-listed elements, attributes and URL schemes are left; scripts go with their content."""
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
    """Only texts are left of links and images that lead somewhere beside the document: no reader is there."""
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
    """A column's alignment as an attribute: authors' style attributes do not survive sanitising."""
    if token.type in ("td_open", "th_open"):
        style = str(token.attrs.pop("style", ""))
        if style:
            token.attrSet("align", style.removeprefix("text-align:"))
        elif token.type == "th_open":
            token.attrSet("align", "left")  # else it would be centred above its column
