"""Features of a frozen network: computed once, kept by content."""
