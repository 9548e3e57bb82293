"""Prometheus, Alertmanager and Grafana for the services of a manifest: their files, and a check of them."""
