"""What a web page shows, if it shows nothing but a few words, as the health pages of Rails and HAProxy do."""

from html.parser import HTMLParser


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MOST_CHARS = 4096
_OF_AN_APPLICATION = _names("a button canvas form frame iframe img input link object script select svg video")
_UNSEEN = frozenset({"title", "style"})


def only_text(page: str) -> str | None:
    """Return the text of a page that has nothing else, or None: a page to load, follow or fill in says no more.

    A page with a title has text that it shows as well.
    """
    if len(page) > _MOST_CHARS:
        return None
    reader = _PageReader()
    reader.feed(page)
    reader.close()
    if reader.has_more or (reader.has_title and not reader.words):
        return None
    return " ".join(reader.words)


class _PageReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.has_more = self.has_title = False
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.has_more |= tag in _OF_AN_APPLICATION
        self.has_title |= tag == "title"
        self._unseen += tag in _UNSEEN

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in _UNSEEN and self._unseen > 0

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.words += data.split()
