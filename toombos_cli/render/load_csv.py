"""The time series of a load test as CSV: one line per interval, times in seconds, latencies in microseconds."""

import csv
import io
from dataclasses import astuple, fields

from toombos_cli.load.report import LoadReport, Point


def document(report: LoadReport) -> str:
    """Return the whole file, with a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Point)])
    writer.writerows(astuple(point) for point in report.series)
    return text.getvalue()
