"""Photos, labels and splits."""
