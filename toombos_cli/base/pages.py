"""The pages of the documentation: where they are, for messages that refer to one, and what `toombos help` shows."""

import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from toombos_cli.base.results import Report, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class PageReport(Report):
    """A text of the documentation or of the help. `page` is the file of a page, None for the help of a command."""

    kind: ClassVar[str] = "page"
    asked_for: ClassVar[bool] = True

    topic: str
    page: Path | None
    text: str = field(metadata={"lines": True})

    @property
    def verdict(self) -> Verdict:
        """PASS: the text was found."""
        return Verdict.PASS

    def quotes_others(self, *, in_full: bool) -> bool:
        """Report that nobody else wrote it."""
        return False


def pages_directory() -> Path:
    """Return the directory of the pages, in the checkout or an installed wheel."""
    checkout = Path(__file__).parents[2] / "docs"
    return checkout if checkout.is_dir() else Path(sysconfig.get_path("data"), "share", "doc", "toombos")


def page_path(name: str) -> str:
    """Return the absolute path of a page such as `monitoring-runbook.md`."""
    return str(pages_directory() / name)


def page_titles() -> dict[str, str]:
    """Return the title of each page by its name, such as `exit-codes`."""
    return {path.stem: _title(path) for path in sorted(pages_directory().glob("*.md"))}


def _title(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().removeprefix("# ").rstrip()
