"""Rules about secrets and access: strength, placeholders, who may send requests."""

from collections.abc import Iterator

from toombos_cli.base.addresses import is_loopback, url_address
from toombos_cli.base.findings import Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import Fix, advice, toombos
from toombos_cli.base.name_lookup import is_only_local
from toombos_cli.manifest.tables.service import Service
from toombos_cli.settings.encryption import is_encrypted
from toombos_cli.settings.facts import SettingsFacts
from toombos_cli.settings.rules.env_edits import fresh_secret, in_manifest, where_set
from toombos_cli.settings.strength import weakness
from toombos_cli.settings.types import type_error

_PRODUCTION = frozenset({"production", "prod", "live"})


def secret_set(facts: SettingsFacts) -> Iterator[Finding]:
    """Secrets that are placeholders, short or not random: failures in live mode, warnings in dry-run mode."""
    answer = fail if facts.is_live else warn
    good = []
    owners: dict[str, str] = {}
    for name, variable in facts.variables.items():
        value = facts.clear.get(name)
        if not variable.secret or not value:
            continue
        weak = None if variable.type == "json" else weakness(value, minimum_length=variable.minimum_length)
        if weak:
            yield answer(f"{name} {weak}", where_set(facts, name), fix=_renewal(facts, name))
        elif value in owners:
            yield answer(
                f"{name} and {owners[value]} are the same secret",
                where_set(facts, owners[value]),
                where_set(facts, name),
                cause="anyone who learns one of them has both",
                fix=_renewal(facts, name),
            )
        else:
            owners[value] = name
            good.append(f"{name} ({len(value)} characters)")
    if good:
        yield ok("strong: " + ", ".join(good))


def _renewal(facts: SettingsFacts, name: str) -> Fix:
    if facts.variables[name].role == "encryption_key" and any(
        is_encrypted(value) for file in facts.env_files for value in file.values.values()
    ):
        return toombos(facts.manifest.project, "config", "rotate-key")
    if facts.variables[name].generate:
        return fresh_secret(facts, name) or advice("replace it with a random one of 32 characters or more")
    return advice(f"ask the issuer of {name} for a real one")


def security(facts: SettingsFacts) -> Iterator[Finding]:
    """Combinations of settings that leak secrets or expose services."""
    stages = {name: facts.clear.get(name, "") for name in facts.with_role("stage")}
    for name, stage in stages.items():
        if stage.lower() not in _PRODUCTION:
            continue
        for level in facts.with_role("log_level"):
            if facts.clear.get(level, "").upper() == "DEBUG":
                yield warn(
                    f"{level}=DEBUG with {name}={stage}",
                    where_set(facts, level),
                    cause="debug logs contain request bodies",
                    fix=advice(f"set {level}=INFO"),
                )
        if facts.is_on("dry_run"):
            yield warn(
                f"{name}={stage} while dry-run is on",
                where_set(facts, name),
                cause="monitoring and people mistake it for the live system",
                fix=advice(f"give {name} another value, or switch {next(iter(facts.with_role('dry_run')))} off"),
            )
    for name, variable in facts.with_role("live_url").items():
        url = facts.clear.get(name, "")
        keys = facts.with_role("live_key").items()
        keyed = [key for key, v in keys if v.channel == variable.channel and facts.clear.get(key)]
        plain = url.startswith("http://") and not type_error(variable, url)
        if keyed and plain and not is_loopback(url_address(url)[0]):
            yield (fail if facts.is_live else warn)(
                f"{keyed[0]} would be sent unencrypted: {name} is http://",
                where_set(facts, name),
                fix=advice("use https://"),
            )
    if not facts.is_on("dry_run"):
        for service in _exposed(facts):
            yield warn(
                f"{service.name} listens on {service.host}, open to the whole network",
                in_manifest(facts, f"[services.{service.name}] host"),
                fix=advice("listen on 127.0.0.1, behind a TLS proxy"),
            )


def dryrun_auth(facts: SettingsFacts) -> Iterator[Finding]:
    """Dry-run mode accepts requests without a key: by design on loopback, a security hole anywhere else."""
    keys = facts.with_role("access_key")
    if not keys or not facts.is_on("dry_run"):
        yield skip("dry-run mode is off" if keys else "the manifest documents no access key")
        return
    name = next(iter(keys))
    if facts.clear.get(name):
        yield ok(f"{name} is set, so dry-run mode requires it too")
        return
    exposed = _exposed(facts)
    for service in exposed:
        yield fail(
            f"{service.name} listens on {service.host} without {name}: anyone on the network can call it",
            in_manifest(facts, f"[services.{service.name}] host"),
            cause="dry-run mode accepts requests without a key",
            fix=advice(f"set {name} in .env, or listen on 127.0.0.1"),
        )
    if not exposed:
        yield ok(f"{name} is not set: dry-run mode is open by design, on the loopback address only")


def _exposed(facts: SettingsFacts) -> tuple[Service, ...]:
    services = facts.manifest.services.values()
    return tuple(s for s in services if s.role != "monitoring" and not is_only_local(s.host))
