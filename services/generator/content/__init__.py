"""Turn a document and options into content: pure functions, so equal inputs give equal content."""
