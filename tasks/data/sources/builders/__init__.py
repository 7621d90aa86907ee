"""TFDS builders that ship here; the source `tfds` finds them by the file's name."""
