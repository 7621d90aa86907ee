"""Whether it pays to train again."""
