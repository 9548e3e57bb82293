"""The smoke test: plan the steps, run rounds of requests, compare responses, clean up, and report."""
