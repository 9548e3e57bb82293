"""The command lines that people, programs and the packaged schedule rely on are accepted."""

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from toombos_cli.cli.lazy_commands import load_command
from toombos_cli.cli.meant_names import _MEANT
from toombos_cli.diagnose.checks import CHECKS
from toombos_cli.main import COMMANDS, main
from toombos_cli.manifest.reading.loader import load_manifest

ROOT = Path(__file__).parents[2]
JOBS = load_manifest(Path("/nonexistent")).schedule

PROMISED = """
--project . --json --no-color --verbose --quiet status
start crm --dry-run --preview --monitoring --foreground --timeout 5
start --mode NAME --plan
exec crm --mode NAME --dry-run
stop crm
restart crm --mode NAME
run migrate --dry-run -- --plan
status --watch
logs crm -n 5 -f --errors --startup --grep RE --since 10m
health crm --watch 5 --quiet --timeout 2 --log --on-fail true --format nagios
smoke --wait 5 --repeat 2 --junit FILE --github --deep --only preview
load http://127.0.0.1/ -n 100 -c 10 --rate 5 --duration 5s --stages 5s:5 --slo p99<1s --baseline FILE --html FILE
diagnose --only GROUP --bundle FILE --html FILE --issue --incident --fix --profile crm
config check --mode NAME
config show --mode NAME
config init
config init --manifest
config encrypt
config rotate-key
config trust DIR --remove
backup
backup create
backup list
backup verify
backup prune --preview
backup prune --dry-run
backup status
restore ARCHIVE --preview
restore ARCHIVE --dry-run
restore --latest-good
monitoring up
monitoring down
monitoring restart
monitoring status
monitoring logs
monitoring reload
monitoring check
schedule show
schedule install
schedule remove
recover
"""


def with_help(words: list[str]) -> list[str]:
    """Return a command line that prints the help; what follows `--` belongs to another program."""
    end = words.index("--") if "--" in words else len(words)
    return [*words[:end], "--help"]


@pytest.mark.parametrize("line", PROMISED.strip().splitlines())
def test_a_promised_command_line_is_accepted(line, capsys):
    assert main(with_help(shlex.split(line))) == 0  # the parser refuses unknown names before it shows help
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize("name", JOBS)
def test_a_scheduled_command_exists_with_its_options(name, capsys):
    assert main([*JOBS[name].command, "--help"]) == 0
    usage = capsys.readouterr().out
    assert all(word in usage for word in JOBS[name].command if word.startswith("--"))


def all_commands():
    """Return every command with its full name, including groups and hidden commands."""
    todo = [(name, load_command(name, target)) for name, target, _ in COMMANDS]
    for name, loaded in todo:
        todo += [(f"{name} {sub}", command) for sub, command in getattr(loaded, "commands", {}).items()]
    return todo


TARGETS = [(name, target) for name, target, _ in COMMANDS]
GROUPS = [name for name, loaded in all_commands() if hasattr(loaded, "commands")]


@pytest.mark.parametrize(("name", "command"), all_commands())
def test_every_option_with_a_value_has_a_metavar_or_choices(name, command):
    valued = [option for option in command.params if not getattr(option, "is_flag", False)]
    assert [option.opts for option in valued if not (option.metavar or hasattr(option.type, "choices"))] == []


NAMED = {
    "SERVICE": "shop",
    "TASK": "migrate",
    "STEP": "front",
    "GROUP|ID": "config",
    "ARCHIVE": "toombos-20261123T234656Z-7d50.tar.zst",
    "JOB": "nightly",
    "NAME": None,
    "PATH": "data",
    "TOPIC": "manifest",
    "P0|P1|P2|P3": "P2",
    "VARIABLE": "TOOMBOS_TEST_OF_COMPLETION",
    "PLACE": "staging",
    "HOST,": "web1",
}
"""What a shell offers for each kind of name in the project below; a NAME is a mode, a secret, or made up."""
COMPLETED = [
    (f"{name} {option.metavar if option.param_type_name == 'argument' else option.opts[0]}", name, option)
    for name, command in all_commands()
    for option in command.params
    if (option.metavar or "").strip("[].") in NAMED and (name, option.name) != ("alert send", "key")
]


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A project with one name of each kind."""
    (tmp_path / "toombos.toml").write_text(
        '[services.shop]\ncommand = ["x"]\nport = 1\ngroups = ["shops"]\n[services.migrate]\ncommand = ["x"]\n'
        'kind = "task"\n[modes.test]\n[[smoke]]\nname = "front"\nservice = "shop"\npath = "/"\n'
        '[schedule.nightly]\ncommand = ["health"]\nat = "02:00"\n'
        '[places.staging]\nhost = "10.0.0.5"\n[hosts.web1]\naddress = "10.0.0.1"\n[hosts.web2]\naddress = "10.0.0.2"\n'
    )
    (tmp_path / ".env").write_text("TEST_API_KEY=x\n")
    for name in ("data", "backups"):
        (tmp_path / name).mkdir()
    (tmp_path / "backups" / "toombos-20261123T234656Z-7d50.tar.zst").touch()
    monkeypatch.setenv("TOOMBOS_TEST_OF_COMPLETION", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(name, option, begun):
    context = SimpleNamespace(command=dict(all_commands())[name], params={})
    return [item.value for item in option.shell_complete(context, begun)]


@pytest.mark.parametrize(("name", "option"), [row[1:] for row in COMPLETED], ids=[row[0] for row in COMPLETED])
def test_the_shell_completes_every_option_and_argument_that_takes_a_name(name, option, shop):
    whole = NAMED[option.metavar.strip("[].")]
    if whole is None:
        whole = "test" if option.opts[0] == "--mode" else "TEST_API_KEY"
    assert whole in offered(name, option, whole[:2])
    assert [value for value in offered(name, option, whole[:2]) if not value.startswith(whole[:2])] == []


def test_the_shell_completes_the_last_of_several_hosts(shop):
    del shop
    option = next(o for o in dict(all_commands())["status"].params if o.name == "hosts")
    assert offered("status", option, "web1,we") == ["web1,web1", "web1,web2"]


def test_completion_covers_the_options_that_a_person_types_by_name():
    assert {row[0] for row in COMPLETED} >= {
        "smoke --only",
        "diagnose --only",
        "restore [ARCHIVE]",
        "restore --only",
        "schedule run JOB",
        "backup verify [ARCHIVE]...",
        "backup drill [ARCHIVE]",
        "backup pin ARCHIVE",
        "alert send --severity",
        "help [TOPIC]...",
    }


def test_completion_offers_groups_and_further_steps(shop):
    options = {row[0]: row[1:] for row in COMPLETED}
    assert offered(*options["start [SERVICE]..."], "@") == ["@shops"]
    assert offered(*options["smoke --only"], "health") == ["health-shop"]
    assert "system.stopped" in offered(*options["diagnose --only"], "system.")


def test_an_archive_that_is_typed_as_a_path_is_completed_as_one(shop):
    options = {row[0]: row[1:] for row in COMPLETED}
    assert offered(*options["backup verify [ARCHIVE]..."], "./da") == ["./data"]


def test_completion_is_for_the_project_that_the_line_names(shop, monkeypatch):
    monkeypatch.chdir("/")
    options = {row[0]: row[1:] for row in COMPLETED}
    _, option = options["smoke --only"]
    outer = SimpleNamespace(command=None, params={"project": shop})
    context = SimpleNamespace(command=dict(all_commands())["smoke"], params={}, parent=outer)
    assert [item.value for item in option.shell_complete(context, "fr")] == ["front"]


def test_completion_offers_nothing_if_the_manifest_is_broken(shop):
    (shop / "toombos.toml").write_text("[services")
    assert [offered(name, option, "") for _, name, option in COMPLETED if option.metavar == "STEP"] == [[]]


@pytest.mark.parametrize("group", GROUPS)
def test_a_misspelt_subcommand_exits_2_with_the_nearest_name(group, capsys):
    subcommands = load_command(group, dict(TARGETS)[group]).commands
    known = max((name for name, subcommand in subcommands.items() if not subcommand.hidden), key=len)
    assert main([group, known[:-1] + "X"]) == 2
    assert f"Did you mean {known!r}?\nhint: toombos {group} --help" in capsys.readouterr().err


@pytest.mark.parametrize("group", GROUPS)
def test_a_word_that_is_not_a_subcommand_is_refused(group, capsys):
    assert main([group, "frob"]) == 2
    assert "No such command 'frob'." in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ["config --json show", "backup --json list", "--json schedule show", "alert status --json"]
)
def test_global_options_may_come_before_between_or_after_the_names(line, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 0
    envelope = json.loads(capsys.readouterr().out)
    assert envelope["command"] == line.replace("--json", "").replace("  ", " ").strip()


def test_the_option_nearest_to_the_command_wins(tmp_path, capsys):
    argv = ["--project", "/nonexistent", "config", "--project", str(tmp_path), "--json", "show"]
    assert main(argv) == 0
    assert json.loads(capsys.readouterr().out)["data"]["env_file"] == str(tmp_path / ".env")


COMMAND_LINE = re.compile(r"""(?:^|[\s'])(toombos [a-z][^|;&>#'"…]*(?:'[^']*'[^|;&>#'"…]*)*)""")


def documented():
    """Return each toombos command line in the code of the documents, without shell syntax."""
    found = {}
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        code = [line for block in blocks for line in block.splitlines()]
        code += re.findall(r"`(toombos [a-z][^`]*)`", page.read_text())
        code += re.findall(r"^    (?:.*\s)?(toombos [a-z].*)$", page.read_text(), flags=re.MULTILINE)
        for text in code:
            for words in COMMAND_LINE.findall(text):
                found[f"{page.name}: {words.strip()}"] = words
    return found


DOCUMENTED = documented()


def test_the_documents_contain_command_lines():
    assert len(DOCUMENTED) > 80


@pytest.mark.parametrize("place", DOCUMENTED)
def test_a_documented_command_line_is_accepted(place, capsys):
    _, *words = shlex.split(DOCUMENTED[place].replace("\\", " "), comments=True)
    assert main(with_help(words)) == 0
    assert "Usage" in capsys.readouterr().out


MEANT = {
    "stat": "'status'",
    "ps": "'status'",
    "ls": "'status'",
    "up": "'start'",
    "down": "'stop'",
    "init": "'config init'",
    "doctor": "'diagnose'",
    "reload": "'restart'",
    "version": "'--version'",
    "test": "'smoke'",
    "tail": "'logs -f'",
    "verify": "'backup verify'",
    "drill": "'backup drill'",
    "rotate-key": "'config rotate-key'",
    "check": "'health' or 'config check'",
    "strat": "'start'",
    "sta": "'start'",
    "RESTRAT": "'restart'",
    "backup ls": "'list'",
    "config validate": "'check'",
    "monitoring start": "'up'",
    "schedule list": "'show'",
}


@pytest.mark.parametrize(("typed", "meant"), MEANT.items(), ids=MEANT)
def test_a_command_of_another_tool_leads_to_ours(typed, meant, capsys):
    assert main(typed.split()) == 2
    assert f"Did you mean {meant}?" in capsys.readouterr().err


def test_every_command_that_is_suggested_is_accepted(capsys):
    for group, words in _MEANT.items():
        for meant in words.values():
            for line in meant:
                assert main(with_help(f"{group} {line}".split())) == 0, line


def test_no_word_that_leads_elsewhere_is_a_command_of_ours():
    assert not set(_MEANT[""]) & {name for name, *_ in COMMANDS}
    for group in GROUPS:
        assert not set(_MEANT.get(group, ())) & load_command(group, dict(TARGETS)[group]).commands.keys()


def test_documented_checks_and_groups_exist():
    known = {name for check in CHECKS for name in (check.id, check.group)}
    named = re.findall(r"diagnose --only (\S+?)(?=[`\s|]|$)", "\n".join(DOCUMENTED.values()))
    assert named
    assert set(named) <= known | {"GROUP"}
