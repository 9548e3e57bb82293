"""supervisord's configuration: `[program:NAME]` sections, whose commands no shell reads."""

import configparser
import posixpath
import re
import shlex
from collections.abc import Mapping

from toombos_cli.config.imports.commands import run_as_words
from toombos_cli.config.imports.draft import ServiceDraft, SystemDraft
from toombos_cli.config.imports.expressible import Ability
from toombos_cli.config.imports.node import Foreign, Node
from toombos_cli.config.imports.ports import named_port
from toombos_cli.config.imports.shell import braced, reference

_FORMAT = re.compile(r"%(?:%|\((?P<name>\w+)\)(?P<width>0?\d{0,2})[sd])")
_HEAD = re.compile(
    r"^\[(?:program|supervisord|group|eventlistener|fcgi-program|include|inet_http_server|unix_http_server)\b", re.M
)
_POLICIES = {"true": "always", "false": "never", "unexpected": "on-failure"}
_MOST_PROCESSES = 32
_FIRST = 999
"""The priority of a program that names none."""
_HARMLESS = frozenset(
    {
        *("command", "process_name", "numprocs", "numprocs_start", "priority", "autostart", "autorestart"),
        *("startsecs", "startretries", "exitcodes", "stopsignal", "stopwaitsecs", "stopasgroup", "killasgroup"),
        *("user", "redirect_stderr", "environment", "directory", "stdout_logfile", "stdout_logfile_maxbytes"),
        *("stdout_logfile_backups", "stdout_capture_maxbytes", "stdout_events_enabled", "stdout_syslog"),
        *("stderr_logfile", "stderr_logfile_maxbytes", "stderr_logfile_backups", "stderr_capture_maxbytes"),
        *("stderr_events_enabled", "stderr_syslog", "loglevel"),
    }
)
_LEFT_OUT = {
    "include": "the files of [include] are not read: take each over by itself",
    "eventlistener": "",
    "fcgi-program": "",
}


def is_supervisord(text: str) -> bool:
    """Report whether a text has a section of supervisord."""
    return _HEAD.search(text) is not None


def read_supervisord(foreign: Foreign, base: str) -> SystemDraft:
    """Return the programs of a configuration; `base` is its directory as seen from the project."""
    root = _tree(foreign)
    system = SystemDraft()
    priorities: dict[str, int] = {}
    for name, section in root.entries().items():
        kind, _, program = name.partition(":")
        if kind == "program":
            for draft in _program(system, foreign, section, program, base):
                if section["priority"]:
                    priorities[draft.name] = _count(section["priority"], 0, 10**6)
        elif kind in _LEFT_OUT:
            system.notes.append(f"todo: {_LEFT_OUT[kind] or f'[{name}] is not taken over'}")
    for name, section in root.entries().items():
        kind, _, group = name.partition(":")
        if kind == "group":
            _group(system, section, group)
    _order(system, priorities)
    return system


def _tree(foreign: Foreign) -> Node:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # documented as the way to keep the case
    try:
        parser.read_string(foreign.text)
    except configparser.MissingSectionHeaderError as error:
        raise foreign.problem("a line stands before the first [section]", line=error.lineno) from None
    except configparser.ParsingError as error:
        at, what = error.errors[0]
        raise foreign.problem(f"not understood: {what}", line=at, hint="correct that line") from None
    except (configparser.DuplicateOptionError, configparser.DuplicateSectionError) as error:
        what = getattr(error, "option", None) or f"[{error.section}]"
        raise foreign.problem(f"{what} is there twice", line=error.lineno, hint="remove one of them") from None
    lines: dict[tuple[str | int, ...], int] = {}
    section = ""
    for number, text in enumerate(foreign.text.split("\n"), start=1):
        if found := re.match(r"\[([^\]]+)\]", text):
            section = found[1]
            lines[(section,)] = number
        elif found := re.match(r"([A-Za-z_][\w.-]*)\s*[=:]", text):
            lines[(section, found[1])] = number
    values = {name: dict(parser.items(name)) for name in parser.sections()}
    return Node(values, Foreign(foreign.path, foreign.text, lines))


def _program(system: SystemDraft, foreign: Foreign, section: Node, name: str, base: str) -> list[ServiceDraft]:
    count = _count(section["numprocs"], 1, _MOST_PROCESSES)
    first = _count(section["numprocs_start"], 0, 10**6) if section["numprocs_start"] else 0
    if not section["command"].scalar().strip():
        raise section.problem("has no command")
    drafts = []
    for number in range(first, first + count):
        draft = system.add(name if count == 1 else f"{name}-{number}")
        facts = {
            "program_name": name,
            "group_name": name,
            "process_num": str(number),
            "numprocs": str(count),
            "here": "{project}" if base == "." else f"{{project}}/{base}",
        }
        _one(draft, foreign, section, facts, base)
        drafts.append(draft)
    return drafts


def _one(draft: ServiceDraft, foreign: Foreign, section: Node, facts: Mapping[str, str], base: str) -> None:
    command = section["command"]
    run_as_words(draft, foreign, " ".join(command.scalar().split("\n")), line=command.line)
    draft.set("command", [_filled(word, facts, command) for word in draft.keys["command"]])
    if base != ".":
        draft.set("cwd", base)
    directory = _filled(braced(section["directory"].scalar()), facts, section["directory"])
    if "\x03" in directory:
        draft.todo.append(f"its directory was {section['directory'].scalar()}: write it as cwd")
    elif directory:
        is_whole = directory.startswith(("/", "{project}"))
        draft.set("cwd", directory if is_whole else posixpath.normpath(posixpath.join(base, directory)))
    _environment(draft, section["environment"], facts)
    draft.reach_unknown(named_port(draft))
    _running(draft, section)
    log = section["stdout_logfile"].scalar()
    if log and not log.startswith("/") and "%" not in log and log.upper() not in ("AUTO", "NONE", "SYSLOG"):
        draft.set("log", braced(posixpath.normpath(posixpath.join(base, log))))
    left = sorted(key for key in section.entries() if key not in _HARMLESS)
    if left:
        draft.notes.append(f"not taken over: {', '.join(left)}")


def _environment(draft: ServiceDraft, node: Node, facts: Mapping[str, str]) -> None:
    lexer = shlex.shlex(node.scalar())
    lexer.wordchars += "/.+-():%@*?&$~!|"
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:
        raise node.problem("has a quote that is not closed") from None
    while words:
        if len(words) < 3 or words[1] != "=" or (len(words) > 3 and words[3] != ","):
            raise node.problem('is not NAME="value",NAME="value"')
        name, value = words[0], words[2].strip("'\"")
        words = words[4:]
        if value == f"%(ENV_{name})s":
            continue  # it is passed on, as all variables are
        filled = _filled(value, facts, node)
        if "\x03" in filled:
            draft.prefix[name] = filled
            continue
        draft.env[name] = filled
        if "%(here)s" in value:
            draft.placeholders[name] = _filled(braced(value), facts, node)


def _filled(text: str, facts: Mapping[str, str], node: Node) -> str:
    def value(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return "%"
        if name.startswith("ENV_"):
            return reference(name.removeprefix("ENV_"))
        if name not in facts:
            raise node.problem(f"%({name})s has no meaning here")
        return facts[name].zfill(int(match["width"] or 0)) if name == "process_num" else facts[name]

    return _FORMAT.sub(value, text)


def _running(draft: ServiceDraft, section: Node) -> None:
    if section["autostart"].is_false():
        draft.set("optional", True, "autostart was off: it starts if it is named")
    policy = section["autorestart"].scalar().lower()
    if policy and policy not in _POLICIES:
        raise section["autorestart"].problem("must be true, false or unexpected")
    if policy and _POLICIES[policy] != "always":
        draft.restart("policy", _POLICIES[policy])
    signal = section["stopsignal"].scalar("TERM").upper().removeprefix("SIG")
    if signal != "TERM":
        draft.say(Ability.STOP_SIGNAL, "stop_signal", signal)
    grace_s = section["stopwaitsecs"].number()
    if grace_s and grace_s > 0:
        draft.set("grace_period_s", grace_s)
    if user := section["user"].scalar():
        draft.say(Ability.USER, "user", user)


def _group(system: SystemDraft, section: Node, group: str) -> None:
    for program in filter(None, (part.strip() for part in section["programs"].scalar().split(","))):
        for source_name, draft in system.services.items():
            if source_name == program or re.fullmatch(rf"{re.escape(program)}-\d+", source_name):
                draft.group(group)


def _order(system: SystemDraft, priorities: Mapping[str, int]) -> None:
    """Let each program that names a priority start after those of the next lower one, as supervisord does."""
    levels = sorted(set(priorities.values()))
    below = dict(zip(levels[1:], levels, strict=False))
    for source_name, draft in system.services.items():
        level = priorities.get(draft.name)
        if level is None or level not in below:
            continue
        for other_name, other in system.services.items():
            if priorities.get(other.name) == below[level] and other_name != source_name:
                draft.depends_on[other_name] = "started"


def _count(node: Node, least: int, most: int) -> int:
    text = node.scalar(str(least))
    if not text.isascii() or not text.isdecimal() or not least <= int(text[:9]) <= most:
        raise node.problem(f"must be a number from {least} to {most}")
    return int(text)
