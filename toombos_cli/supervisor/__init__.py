"""Supervision: one detached process per project that starts, watches, restarts and stops its services.

Commands call `operations`; `client` talks to the supervisor, and `control` is the supervisor's side of the channel.
Inside the supervisor, `core` owns one `unit` per service, `handle_requests` carries out requests, `tree` ends
processes, and `project.own_processes` finds what an earlier supervisor left running.
"""
