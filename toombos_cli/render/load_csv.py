"""The time series of a load test as CSV: one line per interval, times in seconds, latencies in microseconds.

A figure that was not measured is empty.
"""

import csv
import io
from dataclasses import astuple, fields

from toombos_cli.load.report import Point


def document(series: tuple[Point, ...]) -> str:
    """Return the whole file, with a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Point)])
    writer.writerows(astuple(point) for point in series)
    return text.getvalue()
