"""The text of `.env` and `.env.example`, from the manifest's `[environment]` tables."""

from collections.abc import Mapping

from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.environment import Variable

_INTRO = """\
# Settings of {name}. A name in the environment beats this file, which beats the default.
# A line that begins with # leaves the default. No blanks around =. `toombos config check` judges the file,
# `toombos config show` says where each value comes from.
"""
_FROM_ENVIRONMENT = """
# Read from the process environment alone: export these, here they have no effect.
"""


def render_env(manifest: Manifest, values: Mapping[str, str]) -> str:
    """A complete `.env`: the named values, and every other variable as a comment that shows its default."""
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
    """`.env.example`: the safe mode switched on, secrets empty, everything else at its default."""
    return render_env(manifest, safe_mode(manifest))


def safe_mode(manifest: Manifest) -> dict[str, str]:
    """The documented variables that dry-run mode sets; {} for a system without it."""
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
