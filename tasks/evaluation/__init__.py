"""Scores, gates and statistics: NumPy in, numbers out."""
