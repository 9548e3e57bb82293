"""The word and the colour of each verdict, the same in every view."""

from toombos_cli.base.results import Verdict

WORDS = {Verdict.PASS: "OK", Verdict.WARN: "WARN", Verdict.FAIL: "FAIL", Verdict.ERROR: "ERROR", Verdict.SKIP: "SKIP"}
STYLES = {
    Verdict.PASS: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold red",
    Verdict.SKIP: "dim",
}
