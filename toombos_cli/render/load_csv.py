"""The time series of a load test as CSV: one line an interval, times in seconds, latencies in microseconds."""

import csv
import io
from dataclasses import astuple, fields

from toombos_cli.load.report import LoadReport, Point


def document(report: LoadReport) -> str:
    """The whole file, with a heading line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Point)])
    writer.writerows(astuple(point) for point in report.series)
    return text.getvalue()
