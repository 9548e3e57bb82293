"""What a backup should hold and does not: one record for `backup`, `backup status`, `config check` and `diagnose`."""

from dataclasses import dataclass
from enum import StrEnum

from toombos_cli.base.fixes import here
from toombos_cli.base.results import Verdict


class GapKind(StrEnum):
    """Why something is missing from a backup, or makes it useless."""

    ABSENT = "absent"
    BROKEN_LINK = "broken_link"
    EMPTIED = "emptied"
    OUTSIDE = "outside"
    EXCLUDED = "excluded"
    KEY_INSIDE = "key_inside"
    KEY_UNUSABLE = "key_unusable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """One thing that a backup should hold and does not. An archive with a FAIL among them is not good.

    `path` is relative to the project, or absolute outside it. `nearest` is the most similar name, or for data outside
    every root the root to add. `files_before` is the number of files that `archive`, the last good one, holds there.
    `services` use it, `detail` completes the message.
    """

    kind: GapKind
    path: str
    verdict: Verdict = Verdict.FAIL
    nearest: str | None = None
    files_before: int = 0
    archive: str = ""
    services: tuple[str, ...] = ()
    detail: str = ""

    @property
    def message(self) -> str:
        """What is wrong, in one sentence."""
        before = f"; the last good archive, {self.archive}, has {_files(self.files_before)} of it"
        by = f", and {', '.join(self.services)} uses it" if self.services else ""
        return {
            GapKind.ABSENT: f"the root {self.path!r} does not exist",
            GapKind.BROKEN_LINK: f"the root {self.path!r} is a link to {self.detail}, which does not exist",
            GapKind.EMPTIED: f"{self.path!r} is empty",
            GapKind.OUTSIDE: f"{self.path} is in no root of the backup{by}",
            GapKind.EXCLUDED: f"the database {self.path!r} is excluded from the backup{by}",
            GapKind.KEY_INSIDE: f"the key {self.path} lies in the archives that it opens",
            GapKind.KEY_UNUSABLE: f"the key {self.path} cannot be used here: {self.detail}",
        }[self.kind] + (before if self.files_before else "")

    @property
    def hint(self) -> str:
        """What to do about it."""
        accept = here("backup", "create", "--accept", self.path)
        nearest = f"did you mean {self.nearest!r}?" if self.nearest else ""
        return {
            GapKind.ABSENT: nearest
            or (f"if it is gone for good: {accept}" if self.files_before else "take it out of [backup] roots"),
            GapKind.BROKEN_LINK: "mount or create what it links to",
            GapKind.EMPTIED: f"if it is a mount, mount it; if it is meant to be empty: {accept}",
            GapKind.OUTSIDE: self._hint_outside,
            GapKind.EXCLUDED: "if it is saved in another way, add it to [backup] elsewhere",
            GapKind.KEY_INSIDE: "keep a copy of the key on another machine, and the file outside the roots",
            GapKind.KEY_UNUSABLE: "encrypting needs no key, but to verify and restore here, correct age_identity",
        }[self.kind]

    @property
    def _hint_outside(self) -> str:
        if self.nearest is None:
            return f"put it into a root, or if it is saved in another way, add {self.path!r} to [backup] elsewhere"
        return f"add {self.nearest!r} to [backup] roots, or if it is saved in another way, to [backup] elsewhere"


def _files(number: int) -> str:
    return f"{number} file" if number == 1 else f"{number} files"
