"""Every row of the troubleshooting guide that belongs to diagnosis or configuration, and the check that covers it.

A row of the second table is covered by an option of the command, or by the advice of a check that is named here.
"""

import re
from importlib import import_module

import pytest

from toombos_cli.commands.diagnose import diagnose
from toombos_cli.diagnose.checks import CHECKS

BY_CHECK: dict[int, tuple[str, ...]] = {
    3: ("provenance",),
    5: ("log.startup",),
    4: ("log.errors",),
    6: ("net.refused",),
    7: ("proc.missing",),
    8: ("log.startup",),
    9: ("port.conflict",),
    10: ("py.import",),
    11: ("load",),
    12: ("deps.check",),
    13: ("port.conflict",),
    14: ("deps.missing",),
    15: ("parse", "types"),
    16: ("py.path",),
    17: ("perf.latency",),
    18: ("log.timeout",),
    19: ("perf.latency",),
    21: ("log.db",),
    23: ("perf.latency",),
    24: ("res.cpu", "res.memory", "res.disk"),
    25: ("stale",),
    26: ("perf.latency",),
    28: ("log.known",),
    29: ("net.mock_urls",),
    31: ("log.publisher",),
    32: ("dryrun",),
    33: ("net.mock_urls",),
    34: ("publisher",),
    35: ("stale",),
    36: ("net.fetcher",),
    38: ("log.publisher",),
    39: ("log.known", "log.publisher"),
    40: ("proc.missing",),
    41: ("port.conflict",),
    42: ("log.tail",),
    46: ("mock.simulated",),
    50: ("mock.trigger",),
    51: ("mock",),
    52: ("mock.simulated",),
    53: ("log.tail",),
    55: ("log.publisher",),
    56: ("log.known", "log.publisher"),
    57: ("proc.missing", "port.conflict"),
    58: ("log.tail",),
    62: ("grafana",),
    65: ("port.conflict",),
    68: ("metrics.nodata",),
    69: ("prom.targets",),
    70: ("prom.series",),
    71: ("metrics.endpoint",),
    72: ("prometheus",),
    73: ("metrics.endpoint",),
    74: ("prometheus",),
    75: ("net.tcp",),
    77: ("provenance",),
    78: ("log.known",),
    79: ("stale",),
    80: ("provenance", "shadow"),
    81: ("parse", "load"),
    82: ("parse",),
    83: ("spaces",),
    84: ("mode",),
    85: ("stale",),
    86: ("shadow",),
    87: ("extra",),
    88: ("missing",),
    89: ("load",),
    90: ("types", "missing", "secret_set"),
    91: ("missing",),
    92: ("extra",),
    93: ("types",),
    94: ("pydantic_v1",),
    95: ("net.refused",),
    96: ("port.mismatch",),
    97: ("port_clash",),
    98: ("ports",),
    99: ("port.mismatch",),
    100: ("log.startup",),
    101: ("client_urls", "port.mismatch"),
    102: ("ports",),
    103: ("port.mismatch",),
    104: ("client_urls",),
    105: ("res.cpu",),
    106: ("res.load",),
    107: ("proc.top",),
    108: ("stack",),
    110: ("res.load",),
    111: ("stack",),
    112: ("res.load",),
    113: ("res.rss_slope",),
    114: ("res.memory",),
    115: ("res.pressure",),
    116: ("log.oom",),
    117: ("proc.top",),
    118: ("res.rss_slope",),
    120: ("res.memory",),
    121: ("metrics",),
    122: ("res.rss_slope",),
    124: ("perf.latency",),
    127: ("log.db",),
    128: ("perf.latency",),
    129: ("net.refused",),
    130: ("net.timeout",),
    132: ("net.tcp",),
    133: ("net.firewall",),
    134: ("net.bind",),
    135: ("net.bind",),
    136: ("net.firewall",),
    137: ("net.docker",),
    138: ("dns",),
    139: ("dns",),
    140: ("dns",),
    141: ("dns", "net.tcp"),
    142: ("dns",),
    143: ("hosts",),
    145: ("dns",),
    146: ("hosts",),
    147: ("dns",),
    148: ("dns",),
    153: ("openapi.responses",),
    155: ("openapi.responses",),
    157: ("mock.simulated",),
    158: ("openapi.diff",),
    159: ("log.db",),
    160: ("log.db",),
    162: ("db.service",),
    163: ("db.ping",),
    164: ("log.pool",),
    165: ("db.service",),
    166: ("dsn",),
    167: ("db.perm",),
    168: ("db.pool",),
    169: ("log.auth",),
    172: ("secret_set",),
    174: ("log.auth",),
    175: ("auth.keycheck",),
    176: ("auth.middleware",),
    177: ("security",),
    182: ("log.auth",),
    183: ("security",),
    184: ("auth.middleware",),
    185: ("openapi.security",),
    186: ("dryrun_auth",),
    187: ("auth.middleware",),
    189: ("res.disk", "res.memory", "proc.top"),
    231: ("example_diff",),
    235: ("parse",),
    237: ("metrics", "metrics.endpoint"),
}
BY_OPTION: dict[int, str] = {
    109: "profile",
    123: "profile",
    126: "profile",
    209: "incident",
    230: "issue",
    234: "bundle",
}
BY_FOOTER = (228, 229)

# The rows of the checklist whose answer starts with D or C, or names one of them next to another command.
ROWS = (
    *range(3, 20), 21, *range(23, 27), 28, 29, *range(31, 37), *range(38, 43), 46, *range(50, 54), *range(55, 59),
    62, 65, *range(68, 76), *range(77, 119), *range(120, 125), *range(126, 131), *range(132, 144),
    *range(145, 149), 153, 155, 157, 158, 159, 160, *range(162, 170), 172, *range(174, 178), *range(182, 188), 189,
    209, *range(228, 232), 234, 235, 237,
)  # fmt: skip
IDS = {check.id for check in CHECKS}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_covered_by_a_check_an_option_or_the_footer(row: int):
    assert (row in BY_CHECK) + (row in BY_OPTION) + (row in BY_FOOTER) == 1


@pytest.mark.parametrize(("row", "names"), BY_CHECK.items())
def test_every_check_named_by_a_row_exists(row: int, names: tuple[str, ...]):
    assert set(names) <= IDS


@pytest.mark.parametrize(("row", "option"), BY_OPTION.items())
def test_every_option_named_by_a_row_exists(row: int, option: str):
    assert option in diagnose.__signature__.parameters  # type: ignore[attr-defined]  # set by @command


def test_every_check_covers_a_row_or_is_listed_as_our_own():
    own = {
        "not_found", "owner", "duplicates", "portability", "live", "alerts", "system.stopped", "proc.stopped",
        "proc.crash_loop", "proc.restarts", "proc.supervision", "proc.mode", "proc.running", "proc.seen", "net.proxy",
        "ready", "http.status", "log.missing_module", "log.stray", "writers", "log.port", "log.disk", "log.network",
        "task.failed", "backup_gaps", "excludes", "proc.descriptors", "proc.traced", "proc.waiting",
        "proc.zombies", "proc.removed", "proc.memory", "proc.limits", "net.local_ports", "clock.others", "clock.own",
        "res.group", "proc.environment",
        "res.places", "tls.dates", "db.locks", "redis.password", "redis.memory", "redis.role", "redis.saves",
        "redis.clients", "backup.interrupted",
    }  # fmt: skip
    assert IDS - {name for names in BY_CHECK.values() for name in names} == own


def test_check_ids_are_unique():
    assert len(IDS) == len(CHECKS)


def test_causes_come_before_the_checks_that_follow_from_them():
    order = {check.id: number for number, check in enumerate(CHECKS)}
    wrong = [(c.id, f) for c in CHECKS for f in c.follows if f not in order or order[f] > order[c.id]]
    assert wrong == []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_every_check_has_an_id_a_title_and_a_group_that_the_only_option_accepts(check):
    assert re.fullmatch(r"[a-z][a-z0-9_.]*", check.id)
    assert check.title
    assert check.group.isalpha()


def test_fact_names_are_unique():
    facts = import_module("toombos_cli.diagnose.facts").FACTS
    assert len({fact.name for fact in facts}) == len(facts)
