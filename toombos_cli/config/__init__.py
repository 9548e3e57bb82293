"""The `config` commands: check, show, create and encrypt the settings of a project."""
