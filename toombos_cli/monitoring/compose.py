"""Monitoring as containers: a compose file that uses the same generated files as the native programs."""

import os
from pathlib import Path
from typing import Any

from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Service

IMAGES = {
    "prometheus": "prom/prometheus:v3.5.0",
    "alertmanager": "prom/alertmanager:v0.28.1",
    "host": "prom/node-exporter:v1.9.1",
    "grafana": "grafana/grafana-oss:12.1.1",
}


def compose_document(manifest: Manifest, directory: Path) -> dict[str, Any]:
    """Return one container for each monitoring service that has an image.

    They share the host's network, because services and monitoring listen only on the loopback address. They run as
    this user and see the project at its own path, so that generated paths are valid inside too.
    """
    services = {
        name: _container(manifest.services[name], manifest.project, directory)
        for name in IMAGES
        if name in manifest.services
    }
    return {"name": f"{_project_name(manifest.name)}-monitoring", "services": services}


def _container(service: Service, project: Path, directory: Path) -> dict[str, Any]:
    data = project / "data" / service.name
    container: dict[str, Any] = {
        "image": IMAGES[service.name],
        "network_mode": "host",
        "user": f"{os.getuid()}:{os.getgid()}",
        "restart": "unless-stopped",
        "volumes": [f"{directory}:{directory}:ro", f"{data}:{data}"],
    }
    if service.name == "grafana":
        container["environment"] = {  # the image sets these variables, and they take precedence over the settings file
            "GF_PATHS_CONFIG": str(directory / "grafana.ini"),
            "GF_PATHS_PROVISIONING": str(directory / "grafana" / "provisioning"),
            "GF_PATHS_DATA": str(data),
            "GF_PATHS_LOGS": str(data / "log"),
            "GF_PATHS_PLUGINS": str(data / "plugins"),
        }
    elif service.name == "host":
        container |= {"pid": "host", "volumes": ["/:/host:ro,rslave"]}
        container["command"] = [*service.command[1:], "--path.rootfs=/host"]
    else:
        container["command"] = list(service.command[1:])
    return container


def _project_name(name: str) -> str:
    """Return a project name for compose: lower-case letters, digits, dashes, underscores; a letter or digit first."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in name.lower())
    return kept.lstrip("-_") or "toombos"
