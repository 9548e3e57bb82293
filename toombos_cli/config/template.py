"""The text of `.env` and `.env.example`, made from the manifest's `[environment]` tables."""

from collections.abc import Mapping

from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.environment import Variable

SCHEMA_LINE = "#:schema toombos.schema.json"
"""The first line of a manifest: it names the schema for editors that read TOML as Taplo does."""

_INTRO = """\
# Settings of {name}. A variable in the environment overrides this file, which overrides the default.
# A line that starts with # keeps the default. Write no spaces around =. `toombos config check` checks this file;
# `toombos config show` shows where each value comes from.
"""
_FROM_ENVIRONMENT = """
# Read only from the process environment: export these variables; in this file they have no effect.
"""


def render_env(manifest: Manifest, values: Mapping[str, str]) -> str:
    """Return a complete `.env`: the given values, and every other variable as a comment with its default."""
    variables = manifest.environment.items()
    text = _INTRO.format(name=manifest.name)
    for name, variable in variables:
        if not variable.environment_only:
            text += f"\n{_comment(variable)}\n{_assignment(name, variable, values)}\n"
    outside = [(name, variable) for name, variable in variables if variable.environment_only]
    text += _FROM_ENVIRONMENT if outside else ""
    for name, variable in outside:
        text += f"\n{_comment(variable)}\n{_assignment(name, variable, {})}\n"
    return text


def render_example(manifest: Manifest) -> str:
    """Return the text of `.env.example`: dry-run mode on, secrets empty, everything else at its default."""
    return render_env(manifest, safe_mode(manifest))


def safe_mode(manifest: Manifest) -> dict[str, str]:
    """Return the documented variables that dry-run mode sets; {} for a system without dry-run mode."""
    mode = manifest.modes.get("dry_run")
    return {name: value for name, value in (mode.env if mode else {}).items() if name in manifest.environment}


def _comment(variable: Variable) -> str:
    facts = [variable.type if not variable.choices else f"{variable.type}: {'|'.join(variable.choices)}"]
    facts += [f"default {variable.default}"] if variable.default else []
    facts += ["secret"] if variable.secret else []
    facts += ["required in live mode"] if variable.required_in_live else []
    return f"# {variable.description} ({', '.join(facts)})"


def _assignment(name: str, variable: Variable, values: Mapping[str, str]) -> str:
    if name in values:
        return f"{name}={values[name]}"
    return f"#{name}={variable.default}"
