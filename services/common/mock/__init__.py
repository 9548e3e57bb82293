"""What the two mock services share: failures on request, answers given once per Idempotency-Key, bounded records."""
