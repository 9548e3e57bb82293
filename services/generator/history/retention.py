"""Removal of old previews: the history keeps every publication, but a preview can be generated again."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from time import perf_counter

from services.generator.history.history import GenerationHistory
from services.generator.history.model import HistoryUnavailableError

logger = logging.getLogger("generator.database")

_BATCH = 200
"""So few that a generation that must wait for a batch does not notice it."""
_PERIOD_S = 3600.0
_MIN_PAUSE_S = 0.01


class PreviewRetention:
    """The step beside the requests that removes previews older than some days; 0 days keep them for ever."""

    def __init__(self, history: GenerationHistory, *, days: int, period_s: float = _PERIOD_S) -> None:
        self._history = history
        self._days = days
        self._period_s = period_s

    async def run(self) -> None:
        """Remove old previews now and then periodically, until cancelled. A failure is logged and tried again."""
        while self._days:
            try:
                removed = await self.remove_old(datetime.now(UTC))
            except HistoryUnavailableError as error:
                retry = f"next attempt in {self._period_s:g} s"
                logger.warning("previews older than %d days could not be removed: %s; %s", self._days, error, retry)
            else:
                if removed:
                    logger.info("previews older than %d days removed: %d", self._days, removed)
            await asyncio.sleep(self._period_s)

    async def remove_old(self, now: datetime) -> int:
        """Remove the previews that are too old at `now`, in small batches, and return their number.

        Raise HistoryUnavailableError. It pauses for as long as each batch took, so that others get half of the time.
        """
        before, last_id, removed = now - timedelta(days=self._days), 0, 0
        while True:
            started = perf_counter()
            ids = await self._history.old_previews(before=before, after_id=last_id, limit=_BATCH)
            if ids:
                last_id = ids[-1]
                removed += await self._history.remove_previews(ids)
            if len(ids) < _BATCH:
                return removed
            await asyncio.sleep(max(_MIN_PAUSE_S, perf_counter() - started))
