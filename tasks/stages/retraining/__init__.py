"""Whether it is worth training again."""
