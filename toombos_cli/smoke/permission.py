"""Whether the writing steps of a smoke test may run at a place: only its table in the manifest can say so."""

from toombos_cli.base.errors import RefusedError
from toombos_cli.base.fixes import here
from toombos_cli.manifest.model import Manifest
from toombos_cli.smoke.plan import SmokePlan


def refuse_to_write_at_a_place(manifest: Manifest, plan: SmokePlan, *, allow_live: bool) -> None:
    """Raise RefusedError if a step writes and the place does not allow it; with `allow_live` such steps are skipped."""
    place = manifest.source.place
    if manifest.place is None or manifest.place.writes or allow_live:
        return
    writing = [step.name for step in plan.steps if step.is_writing]
    if writing:
        raise RefusedError(
            f"{', '.join(writing)} would write to the place {place}, which does not allow it: nothing was sent",
            where=str(manifest.source.path or "[[smoke]]"),
            hint=f"{here('smoke', '--at', place, '--allow-live')}   (runs the read-only steps; "
            f"or writes = true under [places.{place}])",
        )
