"""x"""

from toombos_cli.load.report import LoadReport


def document(report: LoadReport) -> str:
    return ""
