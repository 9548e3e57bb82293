"""The severity of each kind of trouble: the guide's escalation rules."""

from enum import StrEnum

from toombos_cli.manifest.tables.alerts import Severity


class Trouble(StrEnum):
    """The kinds of trouble in the guide's escalation table."""

    COMPLETE_FAILURE = "complete-failure"
    DATA_CORRUPTION = "data-corruption"
    SECURITY_BREACH = "security-breach"
    ALERT_STORM = "alert-storm"
    DEGRADATION = "degradation"
    MOCK_FAILURE = "mock-failure"
    MONITORING_FAILURE = "monitoring-failure"
    CONFIGURATION = "configuration"


# The severity, and the seconds after which it applies; before that, the next lower one applies.
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
    """Return the guide's severity of a trouble that has lasted `lasting_s` seconds."""
    severity, after_s = _ESCALATION[trouble]
    return severity if lasting_s >= after_s else _LOWER[severity]
