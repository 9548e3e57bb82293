"""The dry-run system itself: content generator, mock CRM and mock platform."""
