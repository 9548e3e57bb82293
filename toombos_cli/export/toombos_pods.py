"""The pods of a cluster in which toombos itself runs: the jobs of the schedule, the smoke test, and load by Locust."""

from collections.abc import Iterator

from toombos_cli.export import images
from toombos_cli.export.build import INSIDE
from toombos_cli.export.model import ExportedFile, ExportedSystem, LeftOut, plain_name
from toombos_cli.export.objects import (
    Document,
    container_security,
    kustomization,
    named_object,
    object_file,
    pod_security,
    secret_name,
)
from toombos_cli.export.yaml_text import comment, head
from toombos_cli.manifest import FILE_NAME
from toombos_cli.manifest.tables.env_files import OPTIONAL
from toombos_cli.manifest.tables.schedule import WEEKDAYS, Job

PLACE = "in-cluster"
"""The place of the manifest that has the addresses of the services as the pods see them."""
DOCKERFILE = "toombos.Dockerfile"
_WORKERS = 2
_PORT = 5557
"""Where the master of Locust listens for its workers."""


def image_of(system: ExportedSystem) -> str:
    """Return the name of the image that holds toombos and Locust."""
    return f"{system.name}-toombos"


def files_of(system: ExportedSystem) -> Iterator[ExportedFile]:
    """Yield the manifest as the pods have it, their objects, and their image; nothing if `gaps` names a reason."""
    if next(gaps(system), None) is not None:
        return
    yield object_file("base/toombos.yaml", _ABOUT_MANIFEST, [_manifest(system)])
    if system.jobs:
        yield object_file("base/schedule.yaml", _ABOUT_SCHEDULE, _cron_jobs(system))
    smoke = named_object(system, "batch/v1", "Job", f"{system.name}-smoke")
    smoke |= {"spec": _job_spec(system, ("smoke", "--wait", "60"))}
    yield object_file("smoke/job.yaml", _about_smoke(system), [smoke])
    yield kustomization("smoke", {"resources": ["job.yaml"]})
    if system.manifest.load.service is not None:
        yield object_file("load/locust.yaml", _ABOUT_LOAD, _load(system))
        yield kustomization("load", {"resources": ["locust.yaml"]})
    yield ExportedFile(path=DOCKERFILE, text=head("kubernetes") + images.toombos_image(system))
    yield images.ignored(DOCKERFILE, "kubernetes")


def gaps(system: ExportedSystem) -> Iterator[LeftOut]:
    """Yield why toombos cannot run in the cluster: its manifest holds secrets, or needs files that no pod has."""
    what = "schedule, smoke, load"
    if system.secrets_in_manifest:
        reason = f"toombos.toml holds {', '.join(system.secrets_in_manifest)}, so no pod of toombos gets it"
        yield LeftOut(what=what, reason=reason)
    needed = dict.fromkeys(name for s in system.services for name in s.env_files if not name.endswith(OPTIONAL))
    if needed:
        reason = f"no pod of toombos has {', '.join(needed)}: write {next(iter(needed))}{OPTIONAL} in toombos.toml"
        yield LeftOut(what=what, reason=reason)


_ABOUT_MANIFEST = comment(
    "The manifest for the pods of toombos. What they may do is said in the place: load = true allows `toombos load`, "
    "writes = true the steps of `toombos smoke` that write. Describe [places.in-cluster] in toombos.toml to change it."
)
_ABOUT_SCHEDULE = comment("The jobs of the schedule, by the clock of the cluster (UTC unless it is set otherwise).")
_ABOUT_LOAD = comment(
    "Load from the workers of Locust, as [load] describes it: `kubectl apply -k load`. Raise `parallelism` and "
    "--locust-workers together. The log of the master's pod is the report.",
    "Locust's master asks nobody for a password: the policy admits only its workers.",
)


def _about_smoke(system: ExportedSystem) -> str:
    job = f"job/{system.name}-smoke"
    return comment(
        "The smoke test of the system in the cluster. A Job runs once: delete it before you run it again.",
        f"  kubectl apply -k smoke && kubectl wait --for=condition=complete {job}; kubectl logs {job}",
    )


def _manifest(system: ExportedSystem) -> Document:
    text = system.manifest_text
    if PLACE not in system.manifest.places:
        text = f"{text.rstrip()}\n{_place(system)}"
    return named_object(system, "v1", "ConfigMap", f"{system.name}-toombos") | {"data": {FILE_NAME: text}}


def _place(system: ExportedSystem) -> str:
    lines = [
        "",
        f"[places.{PLACE}]",
        'title = "inside the cluster"',
        "variables = true",
        "load = false",
        "writes = false",
        f"[places.{PLACE}.services]",
    ]
    for exported in system.services:
        service = exported.service
        if service.port and not service.optional and service.role != "monitoring":
            url = f"{service.scheme}://{plain_name(service.name)}:{service.port}"
            insecure = ", insecure = true" if service.scheme == "https" else ""
            lines.append(f'"{service.name}" = {{ url = "{url}"{insecure} }}')
    return "\n".join(lines) + "\n"


def _cron_jobs(system: ExportedSystem) -> Iterator[Document]:
    for name, job in system.jobs.items():
        yield named_object(system, "batch/v1", "CronJob", f"{system.name}-{plain_name(name)}") | {
            "spec": {
                "schedule": cron_time(job),
                "concurrencyPolicy": "Forbid",
                "jobTemplate": {"spec": _job_spec(system, job.command)},
            }
        }


def cron_time(job: Job) -> str:
    """Return the times of a job that does not run at boot, as cron writes them."""
    if job.every_minutes is not None:
        return "0 * * * *" if job.every_minutes == 60 else f"*/{job.every_minutes} * * * *"
    hour, _, minute = (job.at or "").partition(":")
    return f"{int(minute)} {int(hour)} * * {WEEKDAYS.index(job.weekday) if job.weekday else '*'}"


def _job_spec(system: ExportedSystem, command: tuple[str, ...], labels: dict[str, str] | None = None) -> Document:
    """Return what runs a command of toombos once, with the manifest and the variables of the env files."""
    pod = _pod(system, ["toombos", *command, "--at", PLACE], labels or {})
    container = pod["spec"]["containers"][0]
    container["workingDir"] = str(INSIDE)
    container["envFrom"] = [{"secretRef": {"name": secret_name(system), "optional": True}}]
    container["volumeMounts"] = [{"name": "manifest", "mountPath": f"{INSIDE}/{FILE_NAME}", "subPath": FILE_NAME}]
    pod["spec"]["volumes"] = [{"name": "manifest", "configMap": {"name": f"{system.name}-toombos"}}]
    return {"backoffLimit": 0, "template": pod}


def _pod(system: ExportedSystem, words: list[str], labels: dict[str, str]) -> Document:
    """Return a pod that runs one command to its end."""
    container = {
        "name": "toombos",
        "image": image_of(system),
        "imagePullPolicy": "IfNotPresent",
        "command": words,
        "securityContext": container_security(),
    }
    spec = {"restartPolicy": "Never", "securityContext": pod_security(), "containers": [container]}
    return {"metadata": {"labels": {"app.kubernetes.io/part-of": system.name, **labels}}, "spec": spec}


def _load(system: ExportedSystem) -> Iterator[Document]:
    """Yield the master, its address, its workers, and the policy that lets only them reach it."""
    name = f"{system.name}-load"
    master, worker = ({"app.kubernetes.io/name": f"{name}-{part}"} for part in ("master", "worker"))
    asked = ("load", "--locust-workers", str(_WORKERS), "--locust-master", "0.0.0.0")  # noqa: S104  (the pod's network)
    yield named_object(system, "v1", "Service", name) | {
        "spec": {"selector": master, "ports": [{"name": "locust", "port": _PORT}]}
    }
    yield named_object(system, "networking.k8s.io/v1", "NetworkPolicy", name) | {
        "spec": {
            "podSelector": {"matchLabels": master},
            "ingress": [{"from": [{"podSelector": {"matchLabels": worker}}], "ports": [{"port": _PORT}]}],
        }
    }
    yield named_object(system, "batch/v1", "Job", f"{name}-master") | {"spec": _job_spec(system, asked, master)}
    words = ["locust", "-f", "-", "--worker", "--master-host", name, "--master-port", str(_PORT)]
    spec = {"parallelism": _WORKERS, "completions": _WORKERS, "backoffLimit": 2 * _WORKERS}
    yield named_object(system, "batch/v1", "Job", f"{name}-worker") | {
        "spec": {**spec, "template": _pod(system, words, worker)}
    }
