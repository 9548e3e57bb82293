"""The content generator: a living document becomes a newsletter, a web update and social posts."""
