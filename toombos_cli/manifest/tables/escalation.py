"""Which trouble is how urgent: the guide's escalation rules."""

from enum import StrEnum

from toombos_cli.manifest.tables.alerts import Severity


class Trouble(StrEnum):
    """The kinds of trouble that the guide's escalation table tells apart."""

    COMPLETE_FAILURE = "complete-failure"
    DATA_CORRUPTION = "data-corruption"
    SECURITY_BREACH = "security-breach"
    ALERT_STORM = "alert-storm"
    DEGRADATION = "degradation"
    MOCK_FAILURE = "mock-failure"
    MONITORING_FAILURE = "monitoring-failure"
    CONFIGURATION = "configuration"


# Severity, and the seconds after which it applies; sooner than that it is the next lower one.
_ESCALATION = {
    Trouble.COMPLETE_FAILURE: (Severity.P0, 300),
    Trouble.DATA_CORRUPTION: (Severity.P0, 0),
    Trouble.SECURITY_BREACH: (Severity.P0, 0),
    Trouble.ALERT_STORM: (Severity.P0, 0),
    Trouble.DEGRADATION: (Severity.P1, 1800),
    Trouble.MOCK_FAILURE: (Severity.P2, 900),
    Trouble.MONITORING_FAILURE: (Severity.P2, 0),
    Trouble.CONFIGURATION: (Severity.P3, 0),
}
_LOWER = {Severity.P0: Severity.P1, Severity.P1: Severity.P2, Severity.P2: Severity.P3, Severity.P3: Severity.P3}


def severity_of(trouble: Trouble, *, lasting_s: float = 0.0) -> Severity:
    """The guide's severity of a trouble that has lasted so long."""
    severity, after_s = _ESCALATION[trouble]
    return severity if lasting_s >= after_s else _LOWER[severity]
