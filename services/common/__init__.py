"""What the three services share: settings, app factory, request handling, JSON logs, metrics, the server."""
