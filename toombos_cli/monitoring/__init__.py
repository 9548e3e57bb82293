"""Prometheus, Alertmanager and Grafana for the services of a manifest: their files, and whether all of it works."""
