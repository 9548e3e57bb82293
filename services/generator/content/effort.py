"""Limit the cost of parsing a document's Markdown: a few malicious kilobytes could block the generator for minutes.

The limit counts steps, not seconds, so that a document gets the same verdict on every machine.
"""

import re

from markdown_it import MarkdownIt
from markdown_it.rules_block.state_block import StateBlock
from markdown_it.rules_inline.state_inline import StateInline

MAX_STEPS = 250_000
"""For a whole document. Prose takes one step per seven characters, tables one per two."""

_ENV_KEY = "effort"
_CHARS_A_STEP = 16
_BRACKET_STEPS = 4
"""At a bracket the parser looks for the end of a link."""
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^>]*>?")
_VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
_MAY_STAY_OPEN = frozenset({"p", "li", "dt", "dd", "td", "th", "tr", "thead", "tbody", "tfoot", "option"})
"""Elements that need no end tag."""


class TooComplexError(Exception):
    """The document's Markdown takes too many parsing steps."""


class Effort:
    """The parsing steps of one document so far."""

    def __init__(self, max_steps: int = MAX_STEPS) -> None:
        self.steps = 0
        self._max_steps = max_steps

    def spend(self, steps: int, *, pending: int = 0) -> None:
        """Count steps. Raise TooComplexError if they exceed the limit together with those to come (`pending`)."""
        self.steps += steps
        if self.steps + pending > self._max_steps:
            raise TooComplexError

    def parse_env(self) -> dict[str, object]:
        """Return the environment for a parse whose steps are counted here."""
        return {_ENV_KEY: self}

    def spend_on_html(self, html: str) -> None:
        """Count the cost of unclosed tags: by the browsers' rules, every element inside repeats or walks past them.

        Without a limit, 300 kB of `<p><b title=1>` would become gigabytes of repaired HTML.
        """
        names: list[str] = []
        sizes: list[int] = []
        open_chars = 0
        for tag in _TAG.finditer(html):
            name = tag[2].lower()
            if tag[1] or name in _MAY_STAY_OPEN:
                depth = _closed_to(names, name)
                open_chars -= sum(sizes[depth:])
                del names[depth:], sizes[depth:]
            if not tag[1] and name not in _VOID:
                self.spend(open_chars // _CHARS_A_STEP)
                names.append(name)
                sizes.append(len(tag[0]))
                open_chars += len(tag[0])


def _closed_to(names: list[str], name: str) -> int:
    """Return how many elements stay open after `</name>`, or after a `<name>` that closes its like, such as `<li>`.

    That is all of them if none is properly nested.
    """
    for depth in range(len(names) - 1, -1, -1):
        if names[depth] == name:
            return depth
        if names[depth] not in _MAY_STAY_OPEN:
            break
    return len(names)


def count_steps(parser: MarkdownIt) -> MarkdownIt:
    """Return the parser with leading rules that count each position at which it looks for markup."""
    parser.inline.ruler.before("text", "effort", _count_inline)
    # The chains in `alt` run at each line that may end a block.
    parser.block.ruler.before(
        "table", "effort", _count_block, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )
    return parser


def _count_inline(state: StateInline, silent: bool) -> bool:
    state.env[_ENV_KEY].spend(_BRACKET_STEPS if state.src[state.pos] in "[!" else 1)
    return False


def _count_block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    state.env[_ENV_KEY].spend(1, pending=len(state.tokens))
    return False
