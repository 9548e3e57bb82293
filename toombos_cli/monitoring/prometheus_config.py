"""The documents that become `prometheus.yml` and `alertmanager.yml`."""

from typing import Any
from urllib.parse import parse_qs

from toombos_cli.base.addresses import host_port
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.alerts import REPORTED_EVERY_S
from toombos_cli.manifest.tables.service import Service
from toombos_cli.monitoring.selectors import scraped


def prometheus_document(manifest: Manifest) -> dict[str, Any]:
    """Return a configuration with one scrape job per service with metrics, labelled `service` and `role`."""
    interval_s = manifest.monitoring.scrape_interval_s
    document: dict[str, Any] = {
        "global": {
            "scrape_interval": f"{interval_s}s",
            "scrape_timeout": f"{min(interval_s, 10)}s",
            "evaluation_interval": f"{interval_s}s",
            "external_labels": {"system": manifest.name},
        },
        "rule_files": ["rules.yml"],
        "scrape_configs": [_job(service) for service in scraped(manifest)],
    }
    alertmanager = manifest.services.get("alertmanager")
    if alertmanager is not None:
        document["alerting"] = {
            "alertmanagers": [
                {
                    "scheme": alertmanager.scheme,
                    "static_configs": [{"targets": [_address(alertmanager)]}],
                }
            ]
        }
    return document


def alertmanager_document(manifest: Manifest) -> dict[str, Any]:
    """Return a configuration that passes every alert to the alert receiver, which knows the channels and limits.

    Without a receiver, alerts stay in Alertmanager. A complete failure silences the alerts of the single services.
    """
    receiver: dict[str, Any] = {"name": "toombos"}
    alerts = manifest.services.get("alerts")
    if alerts is not None:
        receiver["webhook_configs"] = [{"url": f"{alerts.url}/alertmanager", "send_resolved": True}]
    interval_s = manifest.monitoring.scrape_interval_s
    return {
        "route": {
            "receiver": "toombos",
            "group_by": ["alertname", "service"],
            "group_wait": f"{interval_s}s",
            "group_interval": f"{2 * interval_s}s",
            # Short: a restarted Alertmanager stays silent for this long about alerts it sent before, even if they
            # ended and fired again meanwhile.
            "repeat_interval": f"{max(REPORTED_EVERY_S, 4 * interval_s)}s",
        },
        "inhibit_rules": [
            {
                "source_matchers": ['alertname="AllServicesDown"'],
                "target_matchers": ['alertname=~"ServiceDown|MockDown"'],
            }
        ],
        "receivers": [receiver],
    }


def _job(service: Service) -> dict[str, Any]:
    path, _, query = (service.metrics or "").partition("?")
    return {
        "job_name": service.name,
        "scheme": service.scheme,
        "metrics_path": path,
        **({"params": parse_qs(query, keep_blank_values=True)} if query else {}),
        "static_configs": [
            {
                "targets": [_address(service)],
                "labels": {"service": service.name, "role": service.role},
            }
        ],
    }


def _address(service: Service) -> str:
    return host_port(service.host, service.port)
