"""Rules about what a backup contains."""

from collections.abc import Iterator

from toombos_cli.base.exclude_patterns import unmatched_patterns
from toombos_cli.base.findings import Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import advice
from toombos_cli.base.results import Verdict
from toombos_cli.settings.backup_gaps import Gap
from toombos_cli.settings.facts import SettingsFacts
from toombos_cli.settings.rules.env_edits import in_manifest


def gaps(facts: SettingsFacts) -> Iterator[Finding]:
    """What is missing from every backup is missed only when it is restored."""
    yield from map(_finding, facts.backup_gaps)


def _finding(gap: Gap) -> Finding:
    if gap.verdict is Verdict.FAIL:
        return fail(gap.message, cause="no backup counts as good until it is mended", fix=advice(gap.hint))
    return warn(gap.message, cause="no restore brings it back", fix=advice(gap.hint))


def excludes(facts: SettingsFacts) -> Iterator[Finding]:
    """Exclude patterns that match nothing: most are misspelt, and what they were meant for is backed up."""
    table = facts.manifest.backup
    if not table.exclude or ("backup", "exclude") not in facts.manifest.source.written:
        yield skip("the manifest of this project has no exclude patterns")
        return
    roots = dict.fromkeys((*table.roots, *table.log_roots))
    unmatched = unmatched_patterns(facts.manifest.project, table.exclude, roots)
    for pattern in unmatched:
        yield warn(
            f"the exclude pattern {pattern!r} matches nothing",
            in_manifest(facts, "[backup] exclude"),
            cause="what it was meant for is backed up",
            fix=advice("write it as in a .gitignore in the project's directory: data/cache/, *.tmp, data/**/tmp"),
        )
    if not unmatched:
        yield ok("every exclude pattern matches something")
