"""Who is notified of what, and when: repeats, limits and recoveries, and delivery to the channels."""
