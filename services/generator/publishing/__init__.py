"""Publishing: the newsletter to the CRM, the web update and the social posts to the platform."""
