"""Every alert has its section in the runbook, with a first command that exists."""

import re
import shlex
from pathlib import Path

import pytest

from toombos_cli.base.pages import page_path
from toombos_cli.main import COMMANDS
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.monitoring.rules import RUNBOOK, alert_rules, rules_document

TEXT = Path(page_path(RUNBOOK)).read_text()
SECTIONS = {part.splitlines()[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}
RULES = {rule.name: rule for rule in alert_rules(load_manifest(Path("/nonexistent")))}


def test_an_alert_links_to_an_existing_section():
    for group in rules_document(load_manifest(Path("/nonexistent")))["groups"]:
        for rule in group["rules"]:
            page, _, section = rule["annotations"]["runbook"].partition("#")
            assert Path(page).is_absolute()
            assert f"## {rule['alert']}\n" in Path(page).read_text()
            assert section == rule["alert"].lower()


def test_the_runbook_has_exactly_one_section_per_alert():
    assert SECTIONS.keys() == RULES.keys()


@pytest.mark.parametrize("name", RULES)
def test_a_section_has_a_severity_a_first_command_and_likely_causes(name):
    section = SECTIONS[name]
    assert f"**{RULES[name].severity}.**" in section
    assert "\nLikely causes: " in section
    (command,) = re.findall(r"^First command: `(.+)`$", section, flags=re.MULTILINE)
    program, subcommand, *_ = shlex.split(command)
    assert program == "toombos"
    assert subcommand in {name for name, *_ in COMMANDS} | {"diagnose", "smoke"}  # registered by their own features


@pytest.mark.parametrize("name", RULES)
def test_an_alert_names_the_first_command_of_its_section_for_its_service(name):
    named = RULES[name].command.replace("{{ $labels.service }}", "SERVICE")
    (command,) = re.findall(r"^First command: `(.+)`$", SECTIONS[name], flags=re.MULTILINE)
    assert named == re.sub(r"\b(crm|generator)\b", "SERVICE", command) or named == command
