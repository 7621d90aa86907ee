"""Tables and folders of derived data, addressed by content."""
