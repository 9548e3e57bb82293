"""Everything that leaves the generator over HTTP: one client, one egress guard, retries, circuit breakers."""
