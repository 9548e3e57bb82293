"""Who is told what, and when: repetitions, limits and recoveries, and the delivery to the channels."""
