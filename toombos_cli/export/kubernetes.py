"""Objects for a cluster in kustomize's layout: a base, and an overlay for each mode."""

import math
from collections.abc import Iterator, Mapping

from toombos_cli.base.quoting import joined
from toombos_cli.export import images, toombos_pods
from toombos_cli.export.compose import packaging_gaps
from toombos_cli.export.images import packaging_of
from toombos_cli.export.model import Exported, ExportedFile, ExportedService, ExportedSystem, LeftOut, plain_name
from toombos_cli.export.objects import Document, kustomization, named_object, object_file, secret_name
from toombos_cli.export.pods import (
    account_name,
    claim_name,
    plain_settings,
    pod_of,
    selector_of,
    wait_script,
    waits_of,
)
from toombos_cli.export.yaml_text import comment, left_out_comment
from toombos_cli.manifest.tables.env_files import OPTIONAL

_DATA_SIZE = "1Gi"


def export(system: ExportedSystem) -> Exported:
    """Return the objects, and what Kubernetes cannot say."""
    services = [service for service in system.services if service.service.role != "monitoring"]
    left_out = tuple(_left_out(system, services))
    shown = (*system.left_out, *left_out)
    files = [_of_service(system, service, shown) for service in services]
    if any("completed" in waits_of(service).values() for service in services):
        about = comment("Lets init containers ask whether a task has completed.")
        files.append(object_file("base/waiting.yaml", about, _reader_of_jobs(system)))
    if claims := [_claim(system, service) for service in services if service.keeps_data]:
        files.append(object_file("base/claims.yaml", _ABOUT_CLAIMS, claims))
    if system.clear_secrets is not None:
        secret = named_object(system, "v1", "Secret", secret_name(system)) | {"stringData": dict(system.clear_secrets)}
        files.append(object_file("base/secrets.yaml", "", [secret], private=True))
    files.append(object_file("base/mode.yaml", _ABOUT_MODE, [_mode(system, {})]))
    files += [*toombos_pods.files_of(system), *images.dockerfiles(system, "kubernetes")]
    resources = sorted(f.path.removeprefix("base/") for f in files if f.path.startswith("base/"))
    files.append(kustomization("base", {"resources": resources}))
    for mode, values in system.modes.items():
        directory = f"overlays/{plain_name(mode)}"
        files.append(object_file(f"{directory}/mode.yaml", "", [_mode(system, values)]))
        files.append(kustomization(directory, {"resources": ["../../base"], "patches": [{"path": "mode.yaml"}]}))
    return Exported(files=tuple(files), left_out=left_out, commands=tuple(_commands(system, services)))


_ABOUT_CLAIMS = comment("The data. What deletes base/services keeps it.")
_ABOUT_MODE = comment("The variables of the mode, which override all others: none here, some in each of overlays/.")


def _commands(system: ExportedSystem, services: list[ExportedService]) -> Iterator[str]:
    built = {(p.image, p.dockerfile) for s in services if (p := packaging_of(system, s)).dockerfile}
    if has_toombos := next(toombos_pods.gaps(system), None) is None:
        built.add((toombos_pods.image_of(system), toombos_pods.DOCKERFILE))
    for image, dockerfile in sorted(built):
        file = str(system.output / dockerfile)
        yield joined(("docker", "build", "-t", image, "-f", file, str(system.manifest.project)))
    if system.clear_secrets is None:
        names = dict.fromkeys(name.removesuffix(OPTIONAL) for service in services for name in service.env_files)
        present = [str(path) for name in names if (path := system.manifest.project / name).is_file()]
        files = [f"--from-env-file={path}" for path in present]
        if files:
            yield joined(("kubectl", "create", "secret", "generic", secret_name(system), *files))
    overlay = f"overlays/{plain_name(system.first_mode)}" if system.first_mode else "base"
    yield joined(("kubectl", "apply", "-k", str(system.output / overlay)))
    if has_toombos:
        yield joined(("kubectl", "apply", "-k", str(system.output / "smoke")))


def _of_service(system: ExportedSystem, exported: ExportedService, left_out: tuple[LeftOut, ...]) -> ExportedFile:
    path = f"base/services/{plain_name(exported.name)}.yaml"
    about = comment(exported.service.label) + left_out_comment(left_out, exported.name)
    documents = [*_config_maps(system, exported)]
    if exported.service.is_task:
        documents.append(_job(system, exported))
        return object_file(path, about, documents)
    if exported.service.port:
        documents.append(_service(system, exported))
    documents.append(_workload(system, exported))
    if not exported.service.optional:
        documents.append(_disruption_budget(system, exported))
    return object_file(path, about, documents)


def _mode(system: ExportedSystem, values: Mapping[str, str]) -> Document:
    return named_object(system, "v1", "ConfigMap", f"{system.name}-mode") | {"data": dict(values)}


def _config_maps(system: ExportedSystem, exported: ExportedService) -> Iterator[Document]:
    name = plain_name(exported.name)
    for suffix, values in (("defaults", exported.defaults), ("settings", plain_settings(exported))):
        if values:
            yield named_object(system, "v1", "ConfigMap", f"{name}-{suffix}", of=exported.name) | {"data": dict(values)}


def _service(system: ExportedSystem, exported: ExportedService) -> Document:
    """Return the name and port by which the others reach a service; no pod opens a port of the machine it runs on."""
    port = exported.service.port
    return named_object(system, "v1", "Service", plain_name(exported.name), of=exported.name) | {
        "spec": {
            "selector": selector_of(exported),
            "ports": [{"name": "main", "port": port, "targetPort": port}],
        }
    }


def _workload(system: ExportedSystem, exported: ExportedService) -> Document:
    """Return a Deployment of one process, as toombos runs it; what keeps data ends before its successor starts."""
    spec: Document = {
        "replicas": 0 if exported.service.optional and not _is_needed(system, exported) else 1,
        "selector": {"matchLabels": selector_of(exported)},
        "template": pod_of(system, exported),
    }
    if exported.keeps_data:
        spec["strategy"] = {"type": "Recreate"}
    return named_object(system, "apps/v1", "Deployment", plain_name(exported.name), of=exported.name) | {"spec": spec}


def _claim(system: ExportedSystem, exported: ExportedService) -> Document:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": _DATA_SIZE}}}
    return named_object(system, "v1", "PersistentVolumeClaim", claim_name(exported), of=exported.name) | {"spec": spec}


def _is_needed(system: ExportedSystem, exported: ExportedService) -> bool:
    return any(exported.name in other.service.depends_on for other in system.services if not other.service.optional)


def _job(system: ExportedSystem, exported: ExportedService) -> Document:
    pod = pod_of(system, exported)
    pod["spec"]["restartPolicy"] = "Never"
    spec: Document = {"backoffLimit": 0, "template": pod}
    if exported.service.timeout_s:
        spec["activeDeadlineSeconds"] = math.ceil(exported.service.timeout_s)
    return named_object(system, "batch/v1", "Job", plain_name(exported.name), of=exported.name) | {"spec": spec}


def _disruption_budget(system: ExportedSystem, exported: ExportedService) -> Document:
    return named_object(system, "policy/v1", "PodDisruptionBudget", plain_name(exported.name), of=exported.name) | {
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector_of(exported)}}
    }


def _reader_of_jobs(system: ExportedSystem) -> Iterator[Document]:
    name = account_name(system)
    rules = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch"]}]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    yield named_object(system, "v1", "ServiceAccount", name)
    yield named_object(system, "rbac.authorization.k8s.io/v1", "Role", name) | {"rules": rules}
    yield named_object(system, "rbac.authorization.k8s.io/v1", "RoleBinding", name) | {
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
        for other, when in waits_of(exported).items():
            if when == "ready" and not wait_script(system.service(other)):
                reason = f"nothing can be asked of {other} from another pod: they start together"
                yield LeftOut(what=f"services.{name}.depends_on.{other}", reason=reason)
            probe = system.service(other).probes.get("ready")
            if when == "ready" and probe is not None and probe.command and probe.port:
                reason = f"the command is in the pod of {other}: this one waits for a connection"
                yield LeftOut(what=f"services.{name}.depends_on.{other}", reason=reason)
            if service.restarts_with(other):
                reason = f"Kubernetes does not restart it with {other}"
                yield LeftOut(what=f"services.{name}.depends_on.{other}.restart", reason=reason)
        if packaging.server is not None and (files := list(images.mounted_files(system, service.command))):
            reason = f"the image {packaging.image} does not hold {', '.join(files)}: mount a ConfigMap"
            yield LeftOut(what=f"services.{name}.command", reason=reason)
    yield from toombos_pods.gaps(system)
    if len(services) < len(system.services):
        reason = "a cluster has its own Prometheus, for which the pods are annotated"
        yield LeftOut(what="monitoring", reason=reason)
