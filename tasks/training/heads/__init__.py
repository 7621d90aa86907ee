"""Heads on stored features: fitting one, and the search for its settings."""
