"""Objects for a cluster in kustomize's layout: a base, and an overlay for each mode."""

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from toombos_cli.base.quoting import joined
from toombos_cli.export import images
from toombos_cli.export.build import INSIDE
from toombos_cli.export.compose import packaging_gaps
from toombos_cli.export.images import Packaging, packaging_of
from toombos_cli.export.model import Exported, ExportedFile, ExportedService, ExportedSystem, LeftOut, plain_name
from toombos_cli.export.probes import EngineProbe, curl_words
from toombos_cli.export.secret_words import names_in, spelled
from toombos_cli.export.yaml_text import comment, dump, head, left_out_comment
from toombos_cli.manifest.tables.env_files import OPTIONAL

_CURL_IMAGE = "curlimages/curl:8.15.0"
_NC_IMAGE = "busybox:1.37"
_KUBECTL_IMAGE = "registry.k8s.io/kubectl:v1.33.4"
_USER_ID = 10001
_DATA_SIZE = "1Gi"
Document = dict[str, Any]


def export(system: ExportedSystem) -> Exported:
    """Return the objects, and what Kubernetes cannot say."""
    services = [service for service in system.services if service.service.role != "monitoring"]
    left_out = tuple(_left_out(system, services))
    shown = (*system.left_out, *left_out)
    files = [_of_service(system, service, shown) for service in services]
    if any("completed" in _waits(service).values() for service in services):
        about = comment("Lets init containers ask whether a task has completed.")
        files.append(_file("base/waiting.yaml", about, _reader_of_jobs(system)))
    if system.clear_secrets is not None:
        secret = _object(system, "v1", "Secret", _secret_name(system)) | {"stringData": dict(system.clear_secrets)}
        files.append(_file("base/secrets.yaml", "", [secret], private=True))
    files.append(_file("base/mode.yaml", _ABOUT_MODE, [_mode(system, {})]))
    files += [ExportedFile(path=name, text=text) for name, text in images.dockerfiles(system, "kubernetes")]
    kustomization = {"resources": sorted(f.path.removeprefix("base/") for f in files if f.path.startswith("base/"))}
    files.append(_kustomization("base", kustomization))
    for mode, values in system.modes.items():
        directory = f"overlays/{plain_name(mode)}"
        files.append(_file(f"{directory}/mode.yaml", "", [_mode(system, values)]))
        files.append(_kustomization(directory, {"resources": ["../../base"], "patches": [{"path": "mode.yaml"}]}))
    return Exported(files=tuple(files), left_out=left_out, commands=tuple(_commands(system, services)))


_ABOUT_MODE = comment("The variables of the mode, which override all others: none here, some in each of overlays/.")


def _commands(system: ExportedSystem, services: list[ExportedService]) -> Iterator[str]:
    built = {(p.image, p.dockerfile) for s in services if (p := packaging_of(system, s)).dockerfile}
    for image, dockerfile in sorted(built):
        file = str(system.output / dockerfile)
        yield joined(("docker", "build", "-t", image, "-f", file, str(system.manifest.project)))
    if system.clear_secrets is None:
        names = dict.fromkeys(name.removesuffix(OPTIONAL) for service in services for name in service.env_files)
        present = [str(path) for name in names if (path := system.manifest.project / name).is_file()]
        files = [f"--from-env-file={path}" for path in present]
        yield joined(("kubectl", "create", "secret", "generic", _secret_name(system), *files))
    overlay = f"overlays/{plain_name(next(iter(system.modes)))}" if system.modes else "base"
    yield joined(("kubectl", "apply", "-k", str(system.output / overlay)))


def _kustomization(directory: str, content: Document) -> ExportedFile:
    document = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **content}
    return ExportedFile(path=f"{directory}/kustomization.yaml", text=head("kubernetes") + dump(document))


def _file(path: str, about: str, documents: Iterable[Document], *, private: bool = False) -> ExportedFile:
    objects = tuple(documents)
    text = head("kubernetes") + about + "---\n".join(map(dump, objects))
    return ExportedFile(path=path, text=text, private=private, documents=objects)


def _of_service(system: ExportedSystem, exported: ExportedService, left_out: tuple[LeftOut, ...]) -> ExportedFile:
    path = f"base/{plain_name(exported.name)}.yaml"
    about = comment(exported.service.label) + left_out_comment(left_out, exported.name)
    documents = [*_config_maps(system, exported)]
    if exported.service.is_task:
        documents.append(_job(system, exported))
        return _file(path, about, documents)
    if exported.service.port:
        documents.append(_service(system, exported))
    documents.append(_workload(system, exported))
    if not exported.service.optional:
        documents.append(_disruption_budget(system, exported))
    return _file(path, about, documents)


def _object(system: ExportedSystem, version: str, kind: str, name: str, *, of: str = "") -> Document:
    labels = {"app.kubernetes.io/part-of": system.name, "app.kubernetes.io/managed-by": "toombos"}
    if of:
        labels = {"app.kubernetes.io/name": plain_name(of), **labels}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}}


def _secret_name(system: ExportedSystem) -> str:
    return f"{system.name}-env"


def _mode(system: ExportedSystem, values: Mapping[str, str]) -> Document:
    return _object(system, "v1", "ConfigMap", f"{system.name}-mode") | {"data": dict(values)}


def _config_maps(system: ExportedSystem, exported: ExportedService) -> Iterator[Document]:
    name = plain_name(exported.name)
    for suffix, values in (("defaults", exported.defaults), ("settings", _plain_settings(exported))):
        if values:
            yield _object(system, "v1", "ConfigMap", f"{name}-{suffix}", of=exported.name) | {"data": dict(values)}


def _plain_settings(exported: ExportedService) -> dict[str, str]:
    return {name: value for name, value in exported.settings.items() if not names_in((value,))}


def _service(system: ExportedSystem, exported: ExportedService) -> Document:
    port = exported.service.port
    return _object(system, "v1", "Service", plain_name(exported.name), of=exported.name) | {
        "spec": {
            "selector": _selector(exported),
            "ports": [{"name": "main", "port": port, "targetPort": "main"}],
        }
    }


def _selector(exported: ExportedService) -> dict[str, str]:
    return {"app.kubernetes.io/name": plain_name(exported.name)}


def _workload(system: ExportedSystem, exported: ExportedService) -> Document:
    """Return a StatefulSet with a claim for what keeps data, else a Deployment; one process, as toombos runs it."""
    name = plain_name(exported.name)
    spec: Document = {
        "replicas": 0 if exported.service.optional and not _is_needed(system, exported) else 1,
        "selector": {"matchLabels": _selector(exported)},
        "template": _pod(system, exported),
    }
    if not exported.keeps_data:
        return _object(system, "apps/v1", "Deployment", name, of=exported.name) | {"spec": spec}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": _DATA_SIZE}}}
    spec |= {"serviceName": name, "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}]}
    return _object(system, "apps/v1", "StatefulSet", name, of=exported.name) | {"spec": spec}


def _is_needed(system: ExportedSystem, exported: ExportedService) -> bool:
    return any(exported.name in other.service.depends_on for other in system.services if not other.service.optional)


def _job(system: ExportedSystem, exported: ExportedService) -> Document:
    pod = _pod(system, exported)
    pod["spec"]["restartPolicy"] = "Never"
    spec: Document = {"backoffLimit": 0, "template": pod}
    if exported.service.timeout_s:
        spec["activeDeadlineSeconds"] = math.ceil(exported.service.timeout_s)
    return _object(system, "batch/v1", "Job", plain_name(exported.name), of=exported.name) | {"spec": spec}


def _disruption_budget(system: ExportedSystem, exported: ExportedService) -> Document:
    return _object(system, "policy/v1", "PodDisruptionBudget", plain_name(exported.name), of=exported.name) | {
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _selector(exported)}}
    }


def _pod(system: ExportedSystem, exported: ExportedService) -> Document:
    service, packaging = exported.service, packaging_of(system, exported)
    annotations = {"toombos/title": service.title} if service.title else {}
    if service.metrics:
        annotations |= {
            "prometheus.io/scrape": "true",
            "prometheus.io/scheme": service.scheme,
            "prometheus.io/port": str(service.port),
            "prometheus.io/path": service.metrics,
        }
    labels = {**_selector(exported), "app.kubernetes.io/part-of": system.name}
    labels |= {f"toombos/group-{plain_name(group)}": "true" for group in service.groups}
    metadata: Document = {"labels": labels} | ({"annotations": annotations} if annotations else {})
    spec: Document = {}
    if "completed" in _waits(exported).values():
        spec["serviceAccountName"] = _account(system)
    if packaging.dockerfile:
        numbers = {"runAsUser": _USER_ID, "runAsGroup": _USER_ID, "fsGroup": _USER_ID}
        spec["securityContext"] = {"runAsNonRoot": True, **numbers, "seccompProfile": {"type": "RuntimeDefault"}}
    if init := list(_init_containers(system, exported)):
        spec["initContainers"] = init
    spec["containers"] = [_container(system, exported, packaging)]
    spec["terminationGracePeriodSeconds"] = math.ceil(service.grace_period_s)
    directories = [root for root in images.persistent_roots(system) if root != "data" or not exported.keeps_data]
    if packaging.dockerfile:
        spec["volumes"] = [{"name": _volume(root), "emptyDir": {}} for root in directories]
    return {"metadata": metadata, "spec": spec}


def _volume(root: str) -> str:
    return plain_name(root)


def _container(system: ExportedSystem, exported: ExportedService, packaging: Packaging) -> Document:
    service = exported.service
    container: Document = {"name": plain_name(exported.name), "image": packaging.image}
    if packaging.dockerfile:
        container["imagePullPolicy"] = "IfNotPresent"
        container["workingDir"] = service.cwd
    words = images.words_inside(exported, packaging)
    container["command" if packaging.dockerfile else "args"] = [_text(word) for word in words]
    container |= _variables(system, exported, packaging)
    if service.port:
        container["ports"] = [{"name": "main", "containerPort": service.port}]
    container |= _probes(exported, packaging)
    if hook := _pre_stop(exported):
        container["lifecycle"] = {"preStop": {"exec": {"command": hook}}}
    if service.limits.memory_restart_mb:
        container["resources"] = {"limits": {"memory": f"{service.limits.memory_restart_mb}M"}}
    if service.stdin == "open":
        container["stdin"] = True
    roots = images.persistent_roots(system)
    mounts = roots if packaging.dockerfile else ("data",) if exported.keeps_data else ()
    if mounts:
        container["volumeMounts"] = [{"name": _volume(root), "mountPath": f"{INSIDE}/{root}"} for root in mounts]
    if packaging.dockerfile:
        container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return container


def _variables(system: ExportedSystem, exported: ExportedService, packaging: Packaging) -> Document:
    """Return where variables come from, weakest first; those that refer to secrets come last, and override all."""
    name = plain_name(exported.name)
    sources: list[Document] = []
    if exported.defaults:
        sources.append({"configMapRef": {"name": f"{name}-defaults"}})
    sources.append({"secretRef": {"name": _secret_name(system), "optional": True}})
    if _plain_settings(exported):
        sources.append({"configMapRef": {"name": f"{name}-settings"}})
    sources.append({"configMapRef": {"name": f"{system.name}-mode"}})
    env: list[Document] = [
        {"name": secret, "valueFrom": {"secretKeyRef": {"name": _secret_name(system), "key": secret}}}
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
        return {"tcpSocket": {"port": "main"}}
    if probe.shell and packaging.has_curl:
        return {"exec": {"command": ["sh", "-c", probe.shell]}}
    get: Document = {"path": probe.path, "port": "main", "scheme": probe.scheme.upper()}
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


def _waits(exported: ExportedService) -> dict[str, str]:
    return {name: exported.service.waits_for(name) for name in exported.service.depends_on}


def _init_containers(system: ExportedSystem, exported: ExportedService) -> Iterator[Document]:
    """Yield a container for each dependency, which waits until it is what the manifest expects."""
    for name, when in _waits(exported).items():
        other = system.service(name)
        if when == "completed":
            command = ["kubectl", "wait", "--for=condition=complete", f"job/{plain_name(name)}", "--timeout=24h"]
            yield _waiter(name, _KUBECTL_IMAGE, command)
        elif when == "ready" and (script := _wait_script(other)):
            probe = other.probes["ready"]
            image = _CURL_IMAGE if probe and probe.path else _NC_IMAGE
            yield _waiter(name, image, ["sh", "-c", f"until {script}; do sleep 1; done"])


def _waiter(name: str, image: str, command: list[str]) -> Document:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {"name": f"wait-for-{plain_name(name)}", "image": image, "command": command, "securityContext": security}


def _wait_script(other: ExportedService) -> str:
    """Return what succeeds once a service is ready, as it is seen from another pod; "" if nothing can be asked."""
    probe, host = other.probes.get("ready"), plain_name(other.name)
    if probe is None or not probe.port:
        return ""
    if probe.path:
        return shlex.join(curl_words(probe, host=host, insecure=probe.scheme == "https"))
    return f"nc -z {host} {probe.port}"


def _account(system: ExportedSystem) -> str:
    return f"{system.name}-waiting"


def _reader_of_jobs(system: ExportedSystem) -> Iterator[Document]:
    name = _account(system)
    rules = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch"]}]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    yield _object(system, "v1", "ServiceAccount", name)
    yield _object(system, "rbac.authorization.k8s.io/v1", "Role", name) | {"rules": rules}
    yield _object(system, "rbac.authorization.k8s.io/v1", "RoleBinding", name) | {
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": name}],
    }


def _left_out(system: ExportedSystem, services: list[ExportedService]) -> Iterator[LeftOut]:
    for exported in services:
        service, name = exported.service, exported.name
        packaging = packaging_of(system, exported)
        yield from (gap for gap in packaging_gaps(exported, packaging) if not gap.what.endswith(".ready"))
        if service.live is not None and not service.restart_when_unhealthy:
            reason = "Kubernetes would restart it, and toombos does not: set restart_when_unhealthy = true"
            yield LeftOut(what=f"services.{name}.live", reason=reason)
        if exported.keeps_data:
            reason = f"its claim of {_DATA_SIZE} begins empty, and no other pod sees it: copy what is there"
            yield LeftOut(what=f"services.{name}: data", reason=reason)
        for other, when in _waits(exported).items():
            if when == "ready" and not _wait_script(system.service(other)):
                reason = f"nothing can be asked of {other} from another pod: they start together"
                yield LeftOut(what=f"services.{name}.depends_on.{other}", reason=reason)
            if service.restarts_with(other):
                reason = f"Kubernetes does not restart it with {other}"
                yield LeftOut(what=f"services.{name}.depends_on.{other}.restart", reason=reason)
        if packaging.server is not None and (files := list(images.mounted_files(system, service.command))):
            reason = f"the image {packaging.image} does not hold {', '.join(files)}: mount a ConfigMap"
            yield LeftOut(what=f"services.{name}.command", reason=reason)
    if len(services) < len(system.services):
        reason = "a cluster has its own Prometheus, for which the pods are annotated"
        yield LeftOut(what="monitoring", reason=reason)
