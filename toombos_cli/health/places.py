"""The health of the system at several places at once."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import ClassVar

from toombos_cli.base.errors import Problem, ToombosError
from toombos_cli.base.results import Case, Report, Sample, Verdict, worst
from toombos_cli.health.check import run_health
from toombos_cli.health.report import HealthReport
from toombos_cli.manifest.model import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesHealthReport(Report):
    """The health of each place, in the order asked for. `unjudged` are the places that could not be asked, and why."""

    kind: ClassVar[str] = "health_places"

    places: tuple[HealthReport, ...]
    unjudged: dict[str, str]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all places: ERROR for one that could not be asked."""
        return worst((*(place.verdict for place in self.places), *(Verdict.ERROR for _ in self.unjudged)))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why places could not be asked."""
        return tuple(Problem(message=why, where=f"[places.{place}]") for place, why in self.unjudged.items())

    def cases(self) -> tuple[Case, ...]:
        """Return one case per service and place, named `PLACE/SERVICE`."""
        found = [replace(c, name=f"{place.place}/{c.name}") for place in self.places for c in place.cases()]
        return *found, *(Case(name=name, verdict=Verdict.ERROR, detail=why) for name, why in self.unjudged.items())

    def gauges(self) -> tuple[Sample, ...]:
        """Return the gauges of every place, with its name as a label."""
        return tuple(sample for place in self.places for sample in place.gauges())


def run_health_of_places(
    views: Mapping[str, Manifest], names: tuple[str, ...] = (), *, timeout_s: float | None = None
) -> PlacesHealthReport:
    """Return the health of the named services, or of all, at each place; it takes as long as the slowest place.

    `views` are the manifests as the places have them. A place that cannot be asked does not affect the others.
    """
    found: list[HealthReport] = []
    unjudged: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=max(1, len(views))) as pool:
        asked = {place: pool.submit(run_health, view, names, timeout_s=timeout_s) for place, view in views.items()}
    for place, future in asked.items():
        try:
            found.append(future.result())
        except ToombosError as error:
            unjudged[place] = str(error)
    return PlacesHealthReport(places=tuple(found), unjudged=unjudged)
