"""Shared code of the two mock services: failures on request, one response per Idempotency-Key, bounded records."""
