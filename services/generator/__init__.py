"""The content generator: turns a living document into a newsletter, a web update and social posts."""
