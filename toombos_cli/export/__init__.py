"""The manifest as files for systemd, Compose and Kubernetes, with a list of what they cannot say."""
