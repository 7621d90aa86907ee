"""Features of a frozen network: computed once, stored by content."""
