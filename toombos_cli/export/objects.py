"""Objects of Kubernetes, and the files of kustomize that hold them."""

from collections.abc import Iterable
from typing import Any

from toombos_cli.export.model import ExportedFile, ExportedSystem, plain_name
from toombos_cli.export.yaml_text import dump, head

Document = dict[str, Any]
USER_ID = 10001
"""The account of every container of ours."""


def named_object(system: ExportedSystem, version: str, kind: str, name: str, *, of: str = "") -> Document:
    """Return the head of an object of the system, or of the service `of`."""
    labels = {"app.kubernetes.io/part-of": system.name, "app.kubernetes.io/managed-by": "toombos"}
    if of:
        labels = {"app.kubernetes.io/name": plain_name(of), **labels}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}}


def secret_name(system: ExportedSystem) -> str:
    """Return the name of the Secret that holds the variables of the env files."""
    return f"{system.name}-env"


def pod_security() -> Document:
    """Return the account of a pod whose images are ours."""
    numbers = {"runAsUser": USER_ID, "runAsGroup": USER_ID, "fsGroup": USER_ID}
    return {"runAsNonRoot": True, **numbers, "seccompProfile": {"type": "RuntimeDefault"}}


def container_security() -> Document:
    """Return the rights of a container, which needs none."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def object_file(path: str, about: str, documents: Iterable[Document], *, private: bool = False) -> ExportedFile:
    """Return a file of objects with a comment at its beginning."""
    objects = tuple(documents)
    text = head("kubernetes") + about + "---\n".join(map(dump, objects))
    return ExportedFile(path=path, text=text, private=private, documents=objects)


def kustomization(directory: str, content: Document) -> ExportedFile:
    """Return the file that makes a directory one for `kubectl apply -k`."""
    document = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **content}
    return ExportedFile(path=f"{directory}/kustomization.yaml", text=head("kubernetes") + dump(document))
