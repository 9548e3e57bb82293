"""A document and options become content: pure functions of both, so equal inputs give equal content."""
