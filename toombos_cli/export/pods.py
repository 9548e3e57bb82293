"""The pods of Kubernetes: containers, variables, probes, and init containers that wait for dependencies."""

import math
import shlex
from collections.abc import Iterator

from toombos_cli.export import images
from toombos_cli.export.build import INSIDE
from toombos_cli.export.images import Packaging, packaging_of
from toombos_cli.export.model import ExportedService, ExportedSystem, plain_name
from toombos_cli.export.objects import Document, container_security, pod_security, secret_name
from toombos_cli.export.probes import EngineProbe, curl_script, curl_words
from toombos_cli.export.secret_words import names_in, spelled

_CURL_IMAGE = "curlimages/curl:8.15.0"
_NC_IMAGE = "busybox:1.37"
_KUBECTL_IMAGE = "registry.k8s.io/kubectl:v1.33.4"


def selector_of(exported: ExportedService) -> dict[str, str]:
    """Return the label that the pods of a service alone have."""
    return {"app.kubernetes.io/name": plain_name(exported.name)}


def plain_settings(exported: ExportedService) -> dict[str, str]:
    """Return the variables of a service's `env` that refer to no secret."""
    return {name: value for name, value in exported.settings.items() if not names_in((value,))}


def claim_name(exported: ExportedService) -> str:
    """Return the name of the claim that keeps the data of a service."""
    return f"{plain_name(exported.name)}-data"


def account_name(system: ExportedSystem) -> str:
    """Return the name of the account that may read jobs, to wait for a task."""
    return f"{system.name}-waiting"


def pod_of(system: ExportedSystem, exported: ExportedService) -> Document:
    """Return the template of a service's or a task's pod."""
    service, packaging = exported.service, packaging_of(system, exported)
    annotations = {"toombos/title": service.title} if service.title else {}
    if service.metrics:
        annotations |= {
            "prometheus.io/scrape": "true",
            "prometheus.io/scheme": service.scheme,
            "prometheus.io/port": str(service.port),
            "prometheus.io/path": service.metrics,
        }
    labels = {**selector_of(exported), "app.kubernetes.io/part-of": system.name}
    labels |= {f"toombos/group-{plain_name(group)}": "true" for group in service.groups}
    metadata: Document = {"labels": labels} | ({"annotations": annotations} if annotations else {})
    spec: Document = {}
    if "completed" in waits_of(exported).values():
        spec["serviceAccountName"] = account_name(system)
    if packaging.dockerfile:
        spec["securityContext"] = pod_security()
    if init := list(_init_containers(system, exported)):
        spec["initContainers"] = init
    spec["containers"] = [_container(system, exported, packaging)]
    spec["terminationGracePeriodSeconds"] = math.ceil(service.grace_period_s)
    if volumes := _volumes(system, exported, packaging):
        spec["volumes"] = [{"name": _volume(exported, root), **source} for root, source in volumes.items()]
    return {"metadata": metadata, "spec": spec}


def _volume(exported: ExportedService, root: str) -> str:
    """Return the name of a volume; podman shares those of the same name between pods."""
    return plain_name(f"{exported.name}-{root}")


def _volumes(system: ExportedSystem, exported: ExportedService, packaging: Packaging) -> dict[str, Document]:
    """Return the volume of each directory that the container writes to: the claim for its data, else an empty one."""
    roots = images.persistent_roots(system) if packaging.dockerfile else ()
    volumes: dict[str, Document] = {root: {"emptyDir": {}} for root in roots}
    if exported.keeps_data:
        volumes["data"] = {"persistentVolumeClaim": {"claimName": claim_name(exported)}}
    return volumes


def _container(system: ExportedSystem, exported: ExportedService, packaging: Packaging) -> Document:
    service = exported.service
    container: Document = {"name": plain_name(exported.name), "image": packaging.image}
    if packaging.dockerfile:
        container["imagePullPolicy"] = "IfNotPresent"
        container["workingDir"] = service.cwd
    words = images.words_inside(exported, packaging)
    container["command" if packaging.dockerfile else "args"] = [_text(word) for word in words]
    container |= _variables(system, exported, packaging)
    container |= _probes(exported, packaging)
    if hook := _pre_stop(exported):
        container["lifecycle"] = {"preStop": {"exec": {"command": hook}}}
    if service.limits.memory_restart_mb:
        container["resources"] = {"limits": {"memory": f"{service.limits.memory_restart_mb}M"}}
    if service.stdin == "open":
        container["stdin"] = True
    if volumes := _volumes(system, exported, packaging):
        mounts = [{"name": _volume(exported, root), "mountPath": f"{INSIDE}/{root}"} for root in volumes]
        container["volumeMounts"] = mounts
    if packaging.dockerfile:
        container["securityContext"] = container_security()
    return container


def _variables(system: ExportedSystem, exported: ExportedService, packaging: Packaging) -> Document:
    """Return where variables come from, weakest first; those that refer to secrets come last, and override all."""
    name = plain_name(exported.name)
    sources: list[Document] = []
    if exported.defaults:
        sources.append({"configMapRef": {"name": f"{name}-defaults"}})
    sources.append({"secretRef": {"name": secret_name(system), "optional": True}})
    if plain_settings(exported):
        sources.append({"configMapRef": {"name": f"{name}-settings"}})
    sources.append({"configMapRef": {"name": f"{system.name}-mode"}})
    env: list[Document] = [
        {"name": secret, "valueFrom": {"secretKeyRef": {"name": secret_name(system), "key": secret}}}
        for secret in exported.secrets
    ]
    referring = {key: value for key, value in exported.settings.items() if names_in((value,)) not in ((), (key,))}
    env += [{"name": key, "value": _text(value)} for key, value in referring.items()]
    words = exported.service.command
    if packaging.program == "postgres" and "-D" in words[:-1]:
        env.append({"name": "PGDATA", "value": _text(words[words.index("-D") + 1])})
    return {"envFrom": sources} | ({"env": env} if env else {})


def _text(text: str) -> str:
    """Return a text in which the kubelet fills in the references and nothing else."""
    return spelled(text, plain=lambda part: part.replace("$(", "$$("), secret=lambda name: f"$({name})")


def _probes(exported: ExportedService, packaging: Packaging) -> Document:
    """Return the probes: one at the start, readiness, and liveness only where the manifest restarts what is unwell."""
    service = exported.service
    probes: Document = {}
    ready = _handler(exported.probes.get("ready"), packaging)
    period_s = max(1, round(service.probe_interval_s))
    if ready:
        times = max(1, math.ceil(service.startup_timeout_s / period_s))
        common = {"periodSeconds": period_s, "timeoutSeconds": max(1, math.ceil(service.probe_timeout_s))}
        probes["startupProbe"] = {**ready, **common, "failureThreshold": times}
        probes["readinessProbe"] = {**ready, **common, "failureThreshold": service.unhealthy_after}
        live = _handler(exported.probes.get("live"), packaging)
        if live and service.restart_when_unhealthy:
            probes["livenessProbe"] = {**live, **common, "failureThreshold": service.unhealthy_after}
    return probes


def _handler(probe: EngineProbe | None, packaging: Packaging) -> Document | None:
    if probe is None:
        return None
    if probe.command:
        return {"exec": {"command": _hook(probe.command)}}
    if not probe.path:
        return {"tcpSocket": {"port": probe.port}}
    if probe.shell and packaging.has_curl:
        return {"exec": {"command": ["sh", "-c", probe.shell]}}
    get: Document = {"path": probe.path, "port": probe.port, "scheme": probe.scheme.upper()}
    headers = [{"name": name, "value": value} for name, value in probe.headers if "${" not in value]
    return {"httpGet": get | ({"httpHeaders": headers} if headers else {})}


def _hook(words: tuple[str, ...]) -> list[str]:
    """Return a command that the kubelet runs in a container: only a shell fills in its references."""
    if not names_in(words):
        return list(words)
    line = " ".join(spelled(word, plain=shlex.quote, secret=lambda name: f'"${{{name}}}"') for word in words)
    return ["sh", "-c", f"exec {line}"]


def _pre_stop(exported: ExportedService) -> list[str]:
    """Return the command that asks the service to end if it is not the signal TERM, [] if it is."""
    service = exported.service
    if service.stop_command:
        return _hook(service.stop_command)
    if service.stop_signal == "TERM":
        return []
    return ["sh", "-c", f"kill -{service.stop_signal} 1; while kill -0 1 2>/dev/null; do sleep 0.2; done"]


def waits_of(exported: ExportedService) -> dict[str, str]:
    """Return `started`, `ready` or `completed` by the name of each dependency."""
    return {name: exported.service.waits_for(name) for name in exported.service.depends_on}


def _init_containers(system: ExportedSystem, exported: ExportedService) -> Iterator[Document]:
    """Yield a container for each dependency, which waits until it is what the manifest expects.

    An image of ours has curl and nc, so that no other is needed.
    """
    own = packaging_of(system, exported)
    for name, when in waits_of(exported).items():
        other = system.service(name)
        if when == "completed":
            command = ["kubectl", "wait", "--for=condition=complete", f"job/{plain_name(name)}", "--timeout=24h"]
            yield _waiter(name, _KUBECTL_IMAGE, command)
        elif when == "ready" and (script := wait_script(other)):
            probe = other.probes["ready"]
            published = _CURL_IMAGE if probe and probe.path else _NC_IMAGE
            waiter = _waiter(
                name, own.image if own.dockerfile else published, ["sh", "-c", f"until {script}; do sleep 1; done"]
            )
            if probe and any("${" in value for _, value in probe.headers):
                waiter["envFrom"] = [{"secretRef": {"name": secret_name(system)}}]
            yield waiter


def _waiter(name: str, image: str, command: list[str]) -> Document:
    container = {"name": f"wait-for-{plain_name(name)}", "image": image, "imagePullPolicy": "IfNotPresent"}
    return {**container, "command": command, "securityContext": container_security()}


def wait_script(other: ExportedService) -> str:
    """Return what succeeds once a service is ready, as it is seen from another pod; "" if nothing can be asked."""
    probe, host = other.probes.get("ready"), plain_name(other.name)
    if probe is None or not probe.port:
        return ""
    if probe.shell:
        return f"({curl_script(other.service, other.service.expectation('ready'), host=host)})"
    if probe.path:
        return shlex.join(curl_words(probe, host=host, insecure=probe.scheme == "https"))
    return f"nc -z {host} {probe.port}"
