"""Supervision: one detached process a project that starts, watches, restarts and stops its services.

`operations` is what commands call; `client` talks to the supervisor, `control` is its side of the channel. Inside it
`core` owns one `unit` for each service, `requests` carries out what is asked, `tree` ends processes, `adoption` takes
over what an earlier supervisor left. `rotation`, `following` and `logs` keep and read what the services write.
"""
