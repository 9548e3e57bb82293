"""Reads the files of other tools (Procfile, Compose, process-compose, supervisord, PM2, npm) into a `toombos.toml`."""
