"""Grafana's files: settings, data source, dashboard provider; and the admin password, generated once."""

import base64
import secrets
from pathlib import Path
from typing import Any

import msgspec

from toombos_cli.base.errors import OperationError
from toombos_cli.base.files import replace_file
from toombos_cli.base.fixes import here
from toombos_cli.base.plain_files import read_plain
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.manifest.model import Manifest
from toombos_cli.monitoring.dashboards import DATASOURCE_UID
from toombos_cli.probes import Reason, endpoint_of, probe_http

ADMIN = "admin"


class _Dashboard(msgspec.Struct):
    uid: str


def password_file(project: Path) -> Path:
    """Return the file of the admin password, beside Grafana's data: Grafana stores its first password there."""
    return project / "data" / "grafana" / "admin-password"


def ensure_password(project: Path) -> Path:
    """Return the file with the admin password; create it, with 144 random bits, if there is none."""
    path = password_file(project)
    if not path.is_file():
        replace_file(path, secrets.token_urlsafe(18).encode(), durable=True)
    return path


def settings_ini(manifest: Manifest, directory: Path) -> str:
    """Return `grafana.ini`: loopback only, no sign-up, no calls home, the password read from its file."""
    grafana = manifest.services["grafana"]
    data = manifest.project / "data" / "grafana"
    sections: dict[str, dict[str, object]] = {
        "server": {"http_addr": grafana.host, "http_port": grafana.port},
        "paths": {
            "data": data,
            "logs": data / "log",
            "plugins": data / "plugins",
            "provisioning": directory / "grafana" / "provisioning",
        },
        "security": {
            "admin_user": ADMIN,
            "admin_password": f"$__file{{{password_file(manifest.project)}}}",
            "disable_gravatar": "true",
        },
        "users": {"allow_sign_up": "false"},
        "analytics": {"reporting_enabled": "false", "check_for_updates": "false", "check_for_plugin_updates": "false"},
        "dashboards": {
            "default_home_dashboard_path": directory / "grafana" / "dashboards" / "service-overview.json",
        },
        "log": {"mode": "console"},
    }
    lines = []
    for section, settings in sections.items():
        lines += [f"[{section}]", *(f"{name} = {value}" for name, value in settings.items()), ""]
    return "\n".join(lines)


def datasource_document(manifest: Manifest) -> dict[str, Any]:
    """Return the provisioned data source: the Prometheus of this system."""
    source = {
        "name": "Prometheus",
        "uid": DATASOURCE_UID,
        "type": "prometheus",
        "access": "proxy",
        "url": manifest.services["prometheus"].url,
        "isDefault": True,
        "editable": False,
        "jsonData": {"timeInterval": f"{manifest.monitoring.scrape_interval_s}s"},
    }
    return {"apiVersion": 1, "datasources": [source]}


def provider_document(directory: Path) -> dict[str, Any]:
    """Return the provider that loads the dashboards from their directory."""
    provider = {
        "name": "toombos",
        "type": "file",
        "disableDeletion": True,
        "allowUiUpdates": False,
        "options": {"path": str(directory / "grafana" / "dashboards")},
    }
    return {"apiVersion": 1, "providers": [provider]}


def provisioned_dashboards(manifest: Manifest) -> frozenset[str]:
    """Return the uids of the dashboards in the running Grafana. Raise OperationError."""
    service = manifest.services["grafana"]
    url = f"{service.url}/api/search?type=dash-db"
    try:
        password = read_plain(password_file(manifest.project)).decode()
    except OSError:
        raise OperationError("the file of the admin password cannot be read", hint=here("monitoring", "up")) from None
    credentials = base64.b64encode(f"{ADMIN}:{password}".encode()).decode()
    response = probe_http(
        url,
        headers={"authorization": f"Basic {credentials}"},
        max_body_bytes=1024 * 1024,
        endpoint=endpoint_of(service),
    )
    if response.reason is not Reason.OK:
        raise OperationError(f"Grafana does not respond: {response.detail}", where=url, hint=here("monitoring", "up"))
    try:
        return frozenset(item.uid for item in decode_untrusted(response.body, tuple[_Dashboard, ...]))
    except UntrustedError:
        raise OperationError("Grafana's response is not a list of dashboards", where=url) from None
