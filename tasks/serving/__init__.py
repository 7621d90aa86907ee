"""What is inside a registered version."""
